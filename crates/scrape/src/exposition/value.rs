//! Numbers as Go's `strconv.ParseFloat` reads them, without the forms that Prometheus refuses.

/// The NaN that every NaN of a page becomes.
///
/// Source: Prometheus `model/value/value.go`, `NormalNaN`.
const NORMAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// Powers of ten that a float holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Integers up to this one are exact as floats.
const EXACT_MOST: u64 = 1 << 53;

/// Reads the number that `text` begins with, if it is short and plain; returns it with its length.
///
/// The result has correct rounding: digits and power of ten are both exact, so their one multiplication or division
/// rounds once. `None` for whatever is not known to be so; what follows the number is not looked at.
///
/// Source: Clinger, "How to read floating point numbers accurately" (1990).
#[inline]
pub(crate) fn short_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let mut at = usize::from(text.first() == Some(&b'-'));
    let is_negative = at == 1;
    let mut mantissa = 0u64;
    let first = at;
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    let mut digits = at - first;
    let mut scale = 0i32;
    if text.get(at) == Some(&b'.') {
        at += 1;
        let first = at;
        while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
        digits += at - first;
        scale = -((at - first) as i32);
    }
    if digits == 0 || digits > 19 || mantissa > EXACT_MOST {
        return None;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let (exponent, length) = short_exponent(&text[at + 1..])?;
        scale += exponent;
        at += 1 + length;
    }
    let power = *EXACT_POWERS.get(scale.unsigned_abs() as usize)?;
    let value = mantissa as f64;
    let value = if scale < 0 { value / power } else { value * power };
    Some((if is_negative { -value } else { value }, at))
}

/// Reads an exponent of at most three digits; returns it with its length.
#[inline]
fn short_exponent(text: &[u8]) -> Option<(i32, usize)> {
    let signs = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let digits = text[signs..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) {
        return None;
    }
    let exponent = text[signs..signs + digits].iter().fold(0, |sum, byte| sum * 10 + i32::from(byte - b'0'));
    Some((if text[0] == b'-' { -exponent } else { exponent }, signs + digits))
}

/// Reads `token`, all of it, as a number.
pub(super) fn parse_float(token: &[u8]) -> Result<f64, &'static str> {
    if let Some((value, length)) = short_decimal(token)
        && length == token.len()
    {
        return Ok(value);
    }
    let (is_negative, unsigned) = match token.first() {
        Some(b'-') => (true, &token[1..]),
        Some(b'+') => (false, &token[1..]),
        _ => (false, token),
    };
    if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
        return Ok(if is_negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if token.eq_ignore_ascii_case(b"nan") {
        return Ok(NORMAL_NAN);
    }
    if !is_decimal(unsigned) {
        return Err("the value is not a number");
    }
    let value: f64 = fast_float2::parse(unsigned).map_err(|_| "the value is not a number")?;
    if value.is_infinite() {
        return Err("the value is out of range");
    }
    Ok(if is_negative { -value } else { value })
}

/// Tells whether `text` is digits with at most one point among them, and perhaps an exponent.
fn is_decimal(text: &[u8]) -> bool {
    let count = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = count(text);
    let mut rest = &text[whole..];
    let mut fraction = 0;
    if rest.first() == Some(&b'.') {
        fraction = count(&rest[1..]);
        rest = &rest[1 + fraction..];
    }
    if let Some(b'e' | b'E') = rest.first() {
        rest = &rest[1..];
        rest = &rest[usize::from(matches!(rest.first(), Some(b'+' | b'-')))..];
        let digits = count(rest);
        return whole + fraction > 0 && digits > 0 && digits == rest.len();
    }
    whole + fraction > 0 && rest.is_empty()
}

/// Writes a number as Prometheus writes the values of `le` and `quantile`, or returns `None` if `text` is none.
///
/// Source: Prometheus 3 `model/textparse/openmetricsparse.go`, `formatOpenMetricsFloat`; Go's `strconv` format `g`.
pub(super) fn normalize_float(text: &str) -> Option<String> {
    let value = parse_float(text.as_bytes()).ok()?;
    if value.is_nan() {
        return Some("NaN".into());
    }
    if value.is_infinite() {
        return Some(if value < 0.0 { "-Inf" } else { "+Inf" }.into());
    }
    if value == 0.0 {
        return Some("0.0".into());
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return Some(format!("{mantissa}e{sign}{:02}", exponent.abs()));
    }
    let plain = format!("{value}");
    Some(if plain.contains('.') { plain } else { format!("{plain}.0") })
}
