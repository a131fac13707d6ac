//! The ways in which a float stands for a whole number: most values are counts of something small.
//!
//! Exporters turn counts into seconds by dividing or by multiplying, and the last bit tells which. A form is used where
//! the same arithmetic gives back the same bits.

/// The number itself.
pub(crate) const WHOLE: u8 = 0;
/// How many forms there are.
pub(crate) const FORMS: u8 = 9;

/// Largest whole number, exclusive, that is treated as one: every smaller one is exact in an `f64`.
const WHOLE_LIMIT: u64 = 1 << 53;
/// Numbers on either side of zero up to here are those that [`number_of`] finds for what they stand for, in every form.
pub(crate) const KNOWN_LIMIT: i64 = 1 << 40;
/// A moment of this century in nanoseconds is a multiple of this, once it is a float.
const CLOCK_STEP: f64 = 256.0;

/// By what a value is multiplied to find its number, by form.
const FACTORS: [f64; FORMS as usize] = [1.0, 1e2, 1e3, 1e3, 1e6, 1e6, 1e6, 1e9, 1e9 / CLOCK_STEP];

/// Returns the value that `number` stands for. Forms that do not exist are taken for the last.
#[inline]
pub(crate) fn value_of(form: u8, number: i64) -> f64 {
    let number = number as f64;
    match form {
        WHOLE => number,
        1 => number / 1e2,
        2 => number / 1e3,
        3 => number * 1e-3,
        4 => number / 1e6,
        5 => number / 1e3 / 1e3,
        6 => number * 1e-6,
        7 => number / 1e9,
        _ => number * CLOCK_STEP / 1e9,
    }
}

/// Returns the number under 2⁵³ that stands for exactly `value`.
#[inline]
pub(crate) fn number_of(form: u8, value: f64) -> Option<i64> {
    let is_exact =
        |number: &i64| number.unsigned_abs() < WHOLE_LIMIT && value_of(form, *number).to_bits() == value.to_bits();
    if form == WHOLE {
        return Some(value as i64).filter(is_exact);
    }
    let number = (value * FACTORS[usize::from(form)] + f64::copysign(0.5, value)) as i64;
    if form + 1 < FORMS || is_exact(&number) {
        return Some(number).filter(is_exact);
    }
    // So large that the product itself is rounded.
    [number.saturating_sub(1), number.saturating_add(1)].into_iter().find(is_exact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn exporters_arithmetic_is_undone() {
        let check = |form: u8, value: f64, number: i64| {
            let found = (WHOLE..FORMS).find_map(|form| Some((form, number_of(form, value)?)));
            assert_eq!(found, Some((form, number)), "{value}");
        };
        check(WHOLE, 8.338436096e9, 8_338_436_096);
        check(1, 12345.67, 1_234_567);
        check(2, 1234.567, 1_234_567);
        check(3, 1_234_572.0 * 1e-3, 1_234_572);
        check(4, 0.000_017, 17);
        check(5, 123_456_792.0 / 1e3 / 1e3, 123_456_792);
        check(6, 1_234_574.0 * 1e-6, 1_234_574);
        check(7, 0.000_136_071, 136_071);
        check(8, 1_795_382_075_428_165_376i64 as f64 / 1e9, 7_013_211_232_141_271);
        assert!((WHOLE..FORMS).all(|form| number_of(form, 1.0 / 3.0).is_none()));
        assert!((WHOLE..FORMS).all(|form| number_of(form, -0.0).is_none()));
    }

    proptest! {
        #[test]
        fn small_numbers_are_found_again(number in -KNOWN_LIMIT..KNOWN_LIMIT, form in WHOLE..FORMS) {
            assert_eq!(number_of(form, value_of(form, number)), Some(number));
        }

        #[test]
        fn a_number_found_stands_for_its_value(bits in any::<u64>(), small in -1e6..1e6f64) {
            for (form, value) in (WHOLE..FORMS).flat_map(|form| [(form, f64::from_bits(bits)), (form, small)]) {
                if let Some(number) = number_of(form, value) {
                    assert_eq!(value_of(form, number).to_bits(), value.to_bits());
                }
            }
        }
    }
}
