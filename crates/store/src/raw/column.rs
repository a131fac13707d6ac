//! The values of one series in a block: two codes are tried, the smaller is kept.

use firetower_model::STALE;
use firetower_model::sample::STALE_BITS;

use crate::raw::bytes::{Reader, put_varint, zigzag};
use crate::raw::code::{self, Code};
use crate::raw::form::{FORMS, WHOLE, number_of, value_of};
use crate::raw::residual::{Scratch, best_predictor, put_residuals, read_residuals};

/// Codec, and head, of a column that never changes.
pub(crate) const CONSTANT: u8 = 0;
const CHANGES: u8 = 1;
const NUMBERS: u8 = 2;
const CODEC_MASK: u8 = 0x0f;
const HAS_ENDS: u8 = 0x10;

/// Instead of a form: the numbers are the values' bits.
const BITS: u8 = 15;
const FORM_MASK: u8 = 0x0f;
const PREDICTOR_SHIFT: u8 = 4;

/// With so few changes nothing is smaller than a list of them.
const CHANGES_FEW: usize = 2;
/// A list of changes is tried where at most one value in so many changes.
const CHANGES_RARE: usize = 8;

/// Of a metric's columns, the first few and then one in so many find their predictor; others take the last found.
const TRIALS_FIRST: u32 = 2;
const TRIAL_EVERY: u32 = 16;

/// Which predictor suited the columns of a metric so far: neighbours are alike.
#[derive(Default)]
pub(crate) struct Trial {
    columns: u32,
    predictor: u8,
}

/// Writes columns, and reuses its memory from one to the next.
#[derive(Default)]
pub(crate) struct ColumnWriter {
    values: Vec<f64>,
    numbers: Vec<i64>,
    candidate: Vec<u8>,
    scratch: Scratch,
}

impl ColumnWriter {
    /// Appends the column of `values`, staleness markers among them.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, values: &[f64], trial: &mut Trial) {
        let head = out.len();
        out.push(0);
        self.values.clear();
        self.values.extend(values.iter().filter(|value| value.to_bits() != STALE_BITS));
        if self.values.len() < values.len() {
            out[head] |= HAS_ENDS;
            put_ends(out, values);
        }
        out[head] |= self.put_values(out, trial);
    }

    /// Appends `self.values` by the smallest code, and returns which.
    fn put_values(&mut self, out: &mut Vec<u8>, trial: &mut Trial) -> u8 {
        let first = self.values.first().copied().unwrap_or(0.0);
        let changes = self.values.windows(2).filter(|pair| pair[0].to_bits() != pair[1].to_bits()).count();
        if changes == 0 {
            code::put_value(out, 0.0, first);
            return CONSTANT;
        }
        if changes <= CHANGES_FEW {
            put_changes(out, &self.values);
            return CHANGES;
        }
        if changes * CHANGES_RARE > self.values.len() {
            put_numbers(out, &self.values, &mut self.numbers, trial, &mut self.scratch);
            return NUMBERS;
        }
        let start = out.len();
        put_changes(out, &self.values);
        self.candidate.clear();
        put_numbers(&mut self.candidate, &self.values, &mut self.numbers, trial, &mut self.scratch);
        if self.candidate.len() >= out.len() - start {
            return CHANGES;
        }
        out.truncate(start);
        out.extend_from_slice(&self.candidate);
        NUMBERS
    }
}

/// Reads the column of `count` values into `values`. `None` if the bytes are none.
pub(crate) fn read_column(column: &[u8], count: usize, values: &mut Vec<f64>) -> Option<()> {
    let mut from = Reader(column);
    let head = from.byte()?;
    if head & !(CODEC_MASK | HAS_ENDS) != 0 {
        return None;
    }
    let ends = if head & HAS_ENDS != 0 { read_ends(&mut from, count)? } else { Vec::new() };
    values.clear();
    read_values(head & CODEC_MASK, from, count - ends.len(), values)?;
    if !ends.is_empty() {
        let mut present = std::mem::take(values).into_iter();
        let mut ends = ends.into_iter().peekable();
        for at in 0..count {
            values.push(if ends.next_if_eq(&at).is_some() { STALE } else { present.next()? });
        }
    }
    Some(())
}

fn read_values(codec: u8, mut from: Reader<'_>, count: usize, values: &mut Vec<f64>) -> Option<()> {
    match codec {
        CONSTANT => {
            let Code::Value(value) = code::read_code(&mut from, 0.0)? else { return None };
            values.resize(count, value);
            from.0.is_empty().then_some(())
        }
        CHANGES => read_changes(from, count, values),
        NUMBERS => read_numbers(from, count, values),
        _ => None,
    }
}

fn put_ends(out: &mut Vec<u8>, values: &[f64]) {
    let is_end = |value: &f64| value.to_bits() == STALE_BITS;
    put_varint(out, values.iter().filter(|value| is_end(value)).count() as u64);
    let mut next = 0;
    for (at, _) in values.iter().enumerate().filter(|(_, value)| is_end(value)) {
        put_varint(out, (at - next) as u64);
        next = at + 1;
    }
}

fn read_ends(from: &mut Reader<'_>, count: usize) -> Option<Vec<usize>> {
    let mut next = 0usize;
    (0..from.count(count)?)
        .map(|_| {
            let at = next.checked_add(from.count(count)?).filter(|at| *at < count)?;
            next = at + 1;
            Some(at)
        })
        .collect()
}

/// Appends (how many stay the same, what the next one is) pairs.
fn put_changes(out: &mut Vec<u8>, values: &[f64]) {
    let (mut previous, mut same) = (0.0f64, 0);
    for value in values {
        if value.to_bits() == previous.to_bits() {
            same += 1;
            continue;
        }
        put_varint(out, same);
        code::put_value(out, previous, *value);
        (previous, same) = (*value, 0);
    }
}

fn read_changes(mut from: Reader<'_>, count: usize, values: &mut Vec<f64>) -> Option<()> {
    let mut previous = 0.0;
    while !from.0.is_empty() {
        let same = from.count(count - values.len())?;
        values.resize(values.len() + same, previous);
        let Code::Value(value) = code::read_code(&mut from, previous)? else { return None };
        if values.len() == count {
            return None;
        }
        values.push(value);
        previous = value;
    }
    values.resize(count, previous);
    Some(())
}

/// Appends `values`, of which there is at least one, as whole numbers.
fn put_numbers(out: &mut Vec<u8>, values: &[f64], numbers: &mut Vec<i64>, trial: &mut Trial, scratch: &mut Scratch) {
    let form = find_numbers(values, numbers);
    let first = numbers.first().copied().unwrap_or(0);
    let divisor = spread(numbers, first);
    let steps = numbers.get(1..).unwrap_or_default();
    if trial.columns < TRIALS_FIRST || trial.columns.is_multiple_of(TRIAL_EVERY) {
        trial.predictor = best_predictor(steps);
    }
    trial.columns += 1;
    out.push(form | trial.predictor << PREDICTOR_SHIFT);
    put_varint(out, zigzag(first));
    put_varint(out, divisor as u64);
    put_residuals(out, steps, trial.predictor, scratch);
}

fn read_numbers(mut from: Reader<'_>, count: usize, values: &mut Vec<f64>) -> Option<()> {
    let head = from.byte()?;
    let (form, predictor) = (head & FORM_MASK, head >> PREDICTOR_SHIFT);
    let (first, divisor) = (from.signed()?, from.varint()? as i64);
    let mut numbers = Vec::new();
    numbers.push(0);
    read_residuals(from, count.checked_sub(1)?, predictor, &mut numbers)?;
    let numbers = numbers.into_iter().map(|number| first.wrapping_add(number.wrapping_mul(divisor)));
    match form {
        BITS => values.extend(numbers.map(|number| f64::from_bits(unsorted(number)))),
        WHOLE => values.extend(numbers.map(|number| number as f64)),
        _ if form < FORMS => values.extend(numbers.map(|number| value_of(form, number))),
        _ => return None,
    }
    Some(())
}

/// Fills `numbers` with what `values` stand for, and returns in which form.
fn find_numbers(values: &[f64], numbers: &mut Vec<i64>) -> u8 {
    for form in WHOLE..FORMS {
        numbers.clear();
        numbers.extend(values.iter().map_while(|value| number_of(form, *value)));
        if numbers.len() == values.len() {
            return form;
        }
    }
    numbers.clear();
    numbers.extend(values.iter().map(|value| sorted(value.to_bits())));
    BITS
}

/// Turns a float's bits into a number that grows with it.
fn sorted(bits: u64) -> i64 {
    let number = bits as i64;
    number ^ ((number >> 63) & i64::MAX)
}

/// Undoes [`sorted`].
fn unsorted(number: i64) -> u64 {
    (number ^ ((number >> 63) & i64::MAX)) as u64
}

/// Replaces each number by its distance from `first` over the largest number that divides them all, and returns that.
fn spread(numbers: &mut [i64], first: i64) -> i64 {
    let mut divisor = 0u64;
    for number in numbers.iter_mut() {
        *number = number.wrapping_sub(first);
        if divisor != 1 {
            divisor = common_divisor(number.unsigned_abs(), divisor);
        }
    }
    let divisor = i64::try_from(divisor).unwrap_or(1).max(1);
    if divisor > 1 {
        numbers.iter_mut().for_each(|number| *number /= divisor);
    }
    divisor
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    fn check(values: &[f64]) -> (u8, usize) {
        let (mut out, mut back) = (Vec::new(), Vec::new());
        ColumnWriter::default().put(&mut out, values, &mut Trial::default());
        read_column(&out, values.len(), &mut back).unwrap();
        assert!(back.iter().map(|v| v.to_bits()).eq(values.iter().map(|v| v.to_bits())), "{values:?} became {back:?}");
        (out[0], out.len())
    }

    fn random(n: i64) -> i64 {
        ((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as i64
    }

    #[test]
    fn each_kind_of_series_finds_its_code() {
        let series = |value: &dyn Fn(i64) -> f64| (0..480).map(value).collect::<Vec<_>>();
        assert_eq!(check(&series(&|_| 1.5)), (CONSTANT, 4));
        assert_eq!(check(&series(&|n| (n / 200) as f64)).0, CHANGES);
        assert_eq!(check(&series(&|n| (n * 15) as f64)), (NUMBERS, 9));
        assert_eq!(check(&series(&|n| (n * 15) as f64 / 100.0)), (NUMBERS, 9));
        assert_eq!(check(&series(&|n| (n * 15) as f64 / 7.0)).0, NUMBERS);
        assert_eq!(check(&series(&|n| (random(n) % 1000 * 4096) as f64)).1 / 480, 1);
        assert!(check(&series(&|n| if n == 3 { STALE } else { random(n) as f64 })).0 & HAS_ENDS != 0);
        assert_eq!(check(&[]), (CONSTANT, 2));
        assert_eq!(check(&[STALE; 3]).0, CONSTANT | HAS_ENDS);
    }

    fn any_values() -> impl Strategy<Value = Vec<f64>> {
        let one = |what: u8| match what {
            0 => any::<u64>().prop_map(f64::from_bits).boxed(),
            1 => (0..50i64).prop_map(|n| n as f64).boxed(),
            2 => (0..50_000_000i64).prop_map(|n| n as f64 / 1e3).boxed(),
            _ => prop_oneof![Just(STALE), Just(-0.0), Just(f64::NAN), Just(f64::INFINITY), any::<f64>(), 0.0..1.0]
                .boxed(),
        };
        (0..4u8).prop_flat_map(move |what| proptest::collection::vec(one(what), 0..300))
    }

    proptest! {
        #[test]
        fn any_values_read_back(values in any_values()) {
            check(&values);
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(mut bytes in any::<Vec<u8>>(), count in 0..200usize) {
            if let Some(head) = bytes.first_mut() {
                *head &= CODEC_MASK | HAS_ENDS;
            }
            read_column(&bytes, count, &mut Vec::new());
        }
    }
}
