//! Payloads of frames, after decompression; what reads is written and read again.
#![no_main]

use firetower_model::Sequence;
use firetower_wire::{decode_assignment, decode_frame, decode_kept, encode_frame, kind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let _ = (decode_assignment(rest), decode_kept(rest), decode_frame(Sequence(1), 0, u32::from(first % 6), rest));
    let payload = zstd::bulk::compress(rest, 1).unwrap();
    let Ok(frame) = decode_frame(Sequence(1), 7, u32::from(first % 6), &payload) else { return };
    // What one release reads it may pass on, where it fits.
    if let Ok(again) = encode_frame(&frame.body) {
        let read = decode_frame(Sequence(1), 7, kind(&frame.body), &again).unwrap();
        // Doubles may be NaN, which is not equal to itself.
        assert_eq!(format!("{:?}", read.body), format!("{:?}", frame.body));
    }
});
