//! Values as whole numbers over a power of ten.

/// Powers of ten by which decimals are scaled, in the order in which they are tried.
pub(crate) const SCALES: [f64; 4] = [1e2, 1e3, 1e6, 1e9];

/// Largest whole number, exclusive, that is treated as one: every smaller one is exact in an `f64`.
const WHOLE_LIMIT: u64 = 1 << 53;

/// Returns `value` as a whole number under 2⁵³, if converting it back gives the same bits.
#[inline]
pub(crate) fn whole(value: f64) -> Option<i64> {
    let number = value as i64;
    let is_exact = (number as f64).to_bits() == value.to_bits() && number.unsigned_abs() < WHOLE_LIMIT;
    is_exact.then_some(number)
}

/// Returns the whole number that divided by `scale` gives exactly `value`.
#[inline]
pub(crate) fn scaled(value: f64, scale: f64) -> Option<i64> {
    let number = (value * scale + f64::copysign(0.5, value)) as i64;
    let is_exact = number.unsigned_abs() < WHOLE_LIMIT && (number as f64 / scale).to_bits() == value.to_bits();
    is_exact.then_some(number)
}
