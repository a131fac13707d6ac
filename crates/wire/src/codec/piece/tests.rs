use firetower_model::STALE;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![any::<u64>().prop_map(f64::from_bits), Just(STALE), Just(-0.0), (0..1_000u32).prop_map(f64::from)]
}

fn any_labels() -> impl Strategy<Value = Labels> {
    vec((".{0,6}", ".{0,6}"), 0..4).prop_map(Labels::new)
}

fn any_columns() -> impl Strategy<Value = Vec<Column>> {
    let column = (any_labels(), vec(any_double(), 0..6)).prop_map(|(labels, values)| Column { labels, values });
    vec(column, 1..4)
}

fn any_series() -> impl Strategy<Value = Vec<Series>> {
    let samples = vec((1i64..1 << 40, any_double()), 0..6).prop_map(|deltas| {
        let mut at = -(1_i64 << 41);
        let sample = |(delta, value): (i64, f64)| {
            at += delta;
            Sample { at: Timestamp::from_millis(at), value }
        };
        deltas.into_iter().map(sample).collect()
    });
    vec((any_labels(), samples).prop_map(|(labels, samples)| Series { labels, samples }), 1..4)
}

fn any_piece() -> impl Strategy<Value = Piece> {
    let kind = (0..5u8).prop_map(|kind| Kind::from_byte(kind).unwrap());
    prop_oneof![
        any_columns().prop_map(Piece::Curves),
        any_columns().prop_map(Piece::Groups),
        any_series().prop_map(Piece::Samples),
        any_series().prop_map(Piece::Loose),
        vec(any_labels(), 1..4).prop_map(Piece::LabelSets),
        vec(".{0,6}", 1..4).prop_map(Piece::Texts),
        vec((".{0,6}", kind), 1..4).prop_map(Piece::Kinds),
        vec(any::<u64>(), 0..4).prop_map(Piece::Moved),
    ]
}

fn any_ending() -> impl Strategy<Value = Ending> {
    let missing = (".{0,6}", option::of(any::<u64>()), ".{0,6}");
    let missing = missing.prop_map(|(node, targets, reason)| Missing { node, targets, reason });
    let notes = || vec(".{0,6}", 0..3);
    (any::<[u64; 4]>(), vec(missing, 0..3), notes(), notes()).prop_map(|(counts, missing, warnings, infos)| {
        let [expected, answered, series, samples] = counts;
        Ending { answered: Answered { expected, answered, missing }, warnings, infos, series, samples }
    })
}

/// Doubles by their bits: NaN equals nothing.
fn written(piece: &Piece) -> String {
    let columns = |columns: &[Column]| {
        let bits = |column: &Column| column.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        format!("{:?}", columns.iter().map(|column| (&column.labels, bits(column))).collect::<Vec<_>>())
    };
    match piece {
        Piece::Curves(curves) => format!("curves {}", columns(curves)),
        Piece::Groups(groups) => format!("groups {}", columns(groups)),
        other => format!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn pieces_come_back_to_the_bit(piece in any_piece()) {
        let (read, ending) = decode(&encode(&piece).unwrap()).unwrap();
        prop_assert_eq!(ending, None);
        prop_assert_eq!(read.iter().map(written).collect::<Vec<_>>(), [written(&piece)]);
        if matches!(piece, Piece::Samples(_) | Piece::Loose(_)) {
            prop_assert_eq!(read, [piece]);
        }
    }

    #[test]
    fn endings_come_back(ending in any_ending()) {
        prop_assert_eq!(decode(&encode_ending(&ending).unwrap()).unwrap(), (Vec::new(), Some(ending)));
    }

    #[test]
    fn what_is_cut_short_is_refused(piece in any_piece(), at in 0.0..1.0f64) {
        let whole = encode(&piece).unwrap();
        prop_assert!(decode(&whole[..(whole.len() as f64 * at) as usize]).is_err());
    }

    #[test]
    fn whatever_comes_does_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = decode(&zstd::bulk::compress(&bytes, 1).unwrap());
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let check = |message: proto::AnswerPiece, expected: &str| {
        let error = decode(&zstd::bulk::compress(&message.encode_to_vec(), 1).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    let none = proto::AnswerPiece::default;
    let samples = |deltas: &[i64], values: usize| {
        let series = proto::SampledSeries { labels: vec![], time_deltas_ms: deltas.into(), values: vec![0.5; values] };
        proto::AnswerPiece { samples: vec![series], ..none() }
    };
    check(samples(&[5, 1], 1), "samples must have as many times as values");
    check(samples(&[5, 0], 2), "times of samples must rise");
    check(samples(&[i64::MAX, 1], 2), "times of samples must rise");
    let labels = |labels: &[&str]| {
        let labels = labels.iter().map(|text| (*text).to_owned()).collect();
        proto::AnswerPiece { label_sets: vec![proto::LabelSet { labels }], ..none() }
    };
    check(labels(&["a"]), "label set must have a value for each name");
    check(labels(&["b", "1", "a", "2"]), "label set must be sorted by name");
    let curves = vec![proto::Column::default(); PIECE_ENTRIES_MAX + 1];
    check(proto::AnswerPiece { curves, ..none() }, "curves of size 65537 is over the limit");
    check(proto::AnswerPiece { texts: vec![String::new(); TEXTS_MAX + 1], ..none() }, "texts of size 1048577");
    check(
        proto::AnswerPiece { moved: Some(proto::MovedTargets { targets: vec![0; MOVED_MAX + 1] }), ..none() },
        "moved targets of size 131073",
    );
    let ending = proto::Ending { warnings: vec![String::new(); NOTES_MAX + 1], ..proto::Ending::default() };
    check(proto::AnswerPiece { ending: Some(ending), ..none() }, "warnings of size 257");

    let bomb = zstd::bulk::compress(&vec![0; PIECE_BYTES_MAX + 1], 1).unwrap();
    assert!(matches!(decode(&bomb), Err(Error::TooLarge { what: "piece of an answer", .. })));
    let falling = Series {
        labels: Labels::empty(),
        samples: [2, 1].map(|at| Sample { at: Timestamp::from_millis(at), value: 0.0 }).into(),
    };
    assert!(encode(&Piece::Samples(vec![falling])).is_err(), "refused at the sender");
    let wide = Column { labels: Labels::empty(), values: vec![0.0; PIECE_BYTES_MAX / 8] };
    assert!(encode(&Piece::Curves(vec![wide])).is_err(), "refused at the sender");
}

#[test]
fn the_end_of_an_answer_is_cut_to_what_is_taken() {
    let ending = Ending { warnings: vec!["é".repeat(TEXT_BYTES_MAX); NOTES_MAX + 1], ..Ending::default() };
    let (_, read) = decode(&encode_ending(&ending).unwrap()).unwrap();
    let read = read.unwrap().warnings;
    assert_eq!((read.len(), read[0].len()), (NOTES_MAX, TEXT_BYTES_MAX));
}
