use super::*;
use crate::raw::coder::{Decoder, Encoder};
use crate::tiers::pieces::{cut, roll_up};
use firetower_model::Timestamp;
use proptest::prelude::{any, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};

fn check(values: &[f64]) -> usize {
    let times: Vec<i64> = (0..values.len() as i64).map(|n| n * 15_000).collect();
    let mut five = Vec::new();
    cut(&times, values, 300_000, &mut five);
    let mut hours = Vec::new();
    roll_up(&five, 300_000, 3_600_000, &mut hours);
    [five, hours].map(|pieces| {
        let spans: Vec<Span> = pieces.iter().map(|piece| piece.span).collect();
        let spans: Vec<Span> = spans.into_iter().filter(|span| span.samples > span.special).collect();
        let mut bits = Encoder::new(Vec::new(), Vec::new());
        SpanValues::new(1).put(&mut bits, 0, &mut spans.clone());
        let out = bits.finish();
        let blank = |span: &Span| Span {
            samples: span.samples,
            special: span.special,
            first_t: span.first_t,
            last_t: span.last_t,
            ..Span::EMPTY
        };
        let mut found: Vec<Span> = spans.iter().map(blank).collect();
        SpanValues::new(1).get(&mut Decoder::new(&out), 0, &mut found).unwrap();
        for (found, span) in found.iter().zip(&spans) {
            let bits =
                |span: &Span| [span.first, span.last, span.sum, span.min, span.max, span.increase].map(f64::to_bits);
            assert_eq!((bits(found), found.resets), (bits(span), span.resets), "{found:?} {span:?}");
        }
        out.len()
    })[0]
}

#[test]
fn common_series_are_short() {
    let series = |value: &dyn Fn(u64) -> f64| check(&(0..480).map(value).collect::<Vec<_>>());
    let random = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
    let bytes = [
        series(&|_| 1.5),
        series(&|n| (n * 15) as f64),
        series(&|n| (n * 15 + random(n) % 4) as f64 / 100.0),
        series(&|n| random(n) as f64),
        series(&|n| (4096 * (random(n) >> 12)) as f64),
    ];
    assert!(bytes.iter().zip([4, 13, 47, 378, 176]).all(|(bytes, most)| *bytes <= most), "{bytes:?}");
    assert_eq!(Timestamp::MIN, Span::EMPTY.last_t);
}

fn any_values() -> impl Strategy<Value = Vec<f64>> {
    let one = |what: u8| match what {
        0 => any::<u64>().prop_map(f64::from_bits).boxed(),
        1 => (0..50i64).prop_map(|n| n as f64).boxed(),
        2 => (0..50_000_000i64).prop_map(|n| n as f64 / 1e3).boxed(),
        3 => (-1_000_000_000_000_000i64..9_000_000_000_000_000).prop_map(|n| n as f64).boxed(),
        _ => prop_oneof![Just(-0.0), Just(0.0), Just(f64::NAN), Just(f64::INFINITY), any::<f64>(), 0.0..1.0].boxed(),
    };
    (0..5u8, any::<bool>()).prop_flat_map(move |(what, is_rising)| {
        proptest::collection::vec(one(what), 0..300).prop_map(move |mut values| {
            if is_rising {
                values.sort_by(f64::total_cmp);
            }
            values
        })
    })
}

proptest! {
    #[test]
    fn any_spans_read_back(values in any_values()) {
        check(&values);
    }

    #[test]
    fn rubbish_is_refused_without_a_panic(bytes in any::<Vec<u8>>(), count in 0..50usize) {
        let mut spans = vec![Span { samples: 20, ..Span::EMPTY }; count];
        SpanValues::new(1).get(&mut Decoder::new(&bytes), 0, &mut spans);
    }
}
