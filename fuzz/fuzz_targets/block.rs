//! Blocks of samples and of spans, rows, and windows' rows, as they lie in the store.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    firetower_store::read_hostile(bytes);
});
