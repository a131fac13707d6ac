//! A look at messages before they are unpacked: two bytes on the wire can be a hundred in memory, so what a message
//! repeats is counted first.

use std::marker::PhantomData;

use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

use crate::codec::walk::for_each;
use crate::error::Error;
use crate::limits::{
    DROPPED_LABELS_MAX, MATCHERS_MAX, NOTES_MAX, PIECE_ENTRIES_MAX, ROW_KEYS_MAX, SELECTORS_MAX, STATUS_NODES_MAX,
    TARGETS_MAX, TEXTS_MAX, within,
};
use crate::proto;

/// A message with limits on how often its fields may be there.
pub(crate) trait Screened {
    /// What is counted, the numbers of the fields that lead to it, and how many there may be.
    const LIMITS: &'static [(&'static str, &'static [u32], usize)];

    /// Fails if there is more of anything in `message`, or it is malformed.
    fn screen(message: &[u8]) -> Result<(), Error> {
        for (what, path, max) in Self::LIMITS {
            count(what, message, path, &mut 0, *max)?;
        }
        Ok(())
    }
}

fn count(what: &'static str, message: &[u8], path: &[u32], counted: &mut usize, max: usize) -> Result<(), Error> {
    let Some((field, rest)) = path.split_first() else {
        *counted += 1;
        return within(what, *counted, max);
    };
    for_each(what, message, *field, |inside| count(what, inside, rest, counted, max))
}

impl Screened for proto::ChildControl {
    const LIMITS: &'static [(&'static str, &'static [u32], usize)] = &[];
}

impl Screened for proto::ParentControl {
    const LIMITS: &'static [(&'static str, &'static [u32], usize)] = &[
        ("targets", &[3, 4], TARGETS_MAX),
        ("labels of targets", &[3, 4, 2], TEXTS_MAX),
        ("dropped labels", &[12, 1], DROPPED_LABELS_MAX),
        ("matchers", &[11, 5, 1], MATCHERS_MAX),
        ("selectors", &[11, 6, 3], SELECTORS_MAX),
        ("matchers", &[11, 6, 3, 1], MATCHERS_MAX),
    ];
}

impl Screened for proto::FrameUp {
    const LIMITS: &'static [(&'static str, &'static [u32], usize)] =
        &[("row keys", &[2, 2], ROW_KEYS_MAX), ("labels of row keys", &[2, 2, 1], TEXTS_MAX)];
}

impl Screened for proto::FrameDown {
    const LIMITS: &'static [(&'static str, &'static [u32], usize)] = &[];
}

impl Screened for proto::AnswerUp {
    const LIMITS: &'static [(&'static str, &'static [u32], usize)] = &[];
}

impl Screened for proto::AnswerDown {
    const LIMITS: &'static [(&'static str, &'static [u32], usize)] = &[];
}

impl Screened for proto::AnswerPiece {
    const LIMITS: &'static [(&'static str, &'static [u32], usize)] = &[
        ("curves", &[1], PIECE_ENTRIES_MAX),
        ("labels of curves", &[1, 1], TEXTS_MAX),
        ("groups", &[2], PIECE_ENTRIES_MAX),
        ("labels of groups", &[2, 1], TEXTS_MAX),
        ("series", &[3], PIECE_ENTRIES_MAX),
        ("labels of series", &[3, 1], TEXTS_MAX),
        ("label sets", &[4], PIECE_ENTRIES_MAX),
        ("labels of label sets", &[4, 1], TEXTS_MAX),
        ("texts", &[5], TEXTS_MAX),
        ("metrics", &[6], PIECE_ENTRIES_MAX),
        ("loose series", &[9], PIECE_ENTRIES_MAX),
        ("labels of loose series", &[9, 1], TEXTS_MAX),
        ("missing nodes", &[8, 3], STATUS_NODES_MAX),
        ("warnings", &[8, 4], NOTES_MAX),
        ("infos", &[8, 5], NOTES_MAX),
    ];
}

/// Protobuf, with what comes in screened.
pub(crate) struct ScreenedCodec<E, D>(PhantomData<(E, D)>);

impl<E, D> Default for ScreenedCodec<E, D> {
    fn default() -> ScreenedCodec<E, D> {
        ScreenedCodec(PhantomData)
    }
}

impl<E, D> Codec for ScreenedCodec<E, D>
where
    E: prost::Message + Send + 'static,
    D: prost::Message + Screened + Default + Send + 'static,
{
    type Encode = E;
    type Decode = D;
    type Encoder = <ProstCodec<E, D> as Codec>::Encoder;
    type Decoder = ScreenedDecoder<<ProstCodec<E, D> as Codec>::Decoder>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<E, D>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        ScreenedDecoder(ProstCodec::<E, D>::default().decoder())
    }
}

/// Unpacks what passes.
pub(crate) struct ScreenedDecoder<D>(D);

impl<D> Decoder for ScreenedDecoder<D>
where
    D: Decoder<Error = Status>,
    D::Item: Screened,
{
    type Item = D::Item;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<D::Item>, Status> {
        D::Item::screen(prost::bytes::Buf::chunk(buffer)).map_err(|error| Status::out_of_range(error.to_string()))?;
        self.0.decode(buffer)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn what_is_repeated_too_often_is_refused_before_it_is_unpacked() {
        let check = |keys: usize, labels: usize, expected: Option<&str>| {
            let labels = proto::LabelSet { labels: vec![String::new(); labels] };
            let row_keys = proto::RowKeys { first_id: 0, keys: vec![labels; keys] };
            let message = proto::FrameUp { content: Some(proto::frame_up::Content::RowKeys(row_keys)) };
            let error = proto::FrameUp::screen(&message.encode_to_vec()).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), expected, "{keys}");
        };
        check(ROW_KEYS_MAX, 1, None);
        check(ROW_KEYS_MAX + 1, 0, Some("row keys of size 65537 is over the limit of 65536"));
        check(1, TEXTS_MAX + 1, Some("labels of row keys of size 1048577 is over the limit of 1048576"));
        let half = proto::RowKeys { first_id: 0, keys: vec![proto::LabelSet::default(); ROW_KEYS_MAX] };
        let content = |row_keys: &proto::RowKeys| {
            proto::FrameUp { content: Some(proto::frame_up::Content::RowKeys(row_keys.clone())) }.encode_to_vec()
        };
        let joined: Vec<u8> = [&half, &half].into_iter().flat_map(content).collect();
        assert!(proto::FrameUp::screen(&joined).is_err(), "what is there twice is joined by whoever unpacks it");
        assert!(proto::FrameUp::screen(&[0x12, 0x80]).is_err());
    }
}
