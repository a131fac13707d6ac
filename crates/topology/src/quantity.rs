//! Durations and sizes as Prometheus writes them.

use std::time::Duration;

/// Milliseconds of each unit of a duration, in the order in which they must be written.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration: `15s`, `1h30m`, `250ms`, `0`.
///
/// # Errors
/// A sentence about what is wrong with it.
///
/// Source: Prometheus `common/model/time.go`, `ParseDuration`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} needs a unit, such as {text}s"));
    }
    let malformed = || format!("{text:?} is not a duration such as 15s, 1h30m or 250ms");
    let (mut rest, mut total_ms, mut units) = (text, 0u64, UNITS.iter());
    while !rest.is_empty() {
        let (number, unit, after) = split_quantity(rest).ok_or_else(malformed)?;
        let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or_else(malformed)?;
        total_ms = number.checked_mul(*unit_ms).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(malformed)?;
        rest = after;
    }
    let is_whole = !text.is_empty() && total_ms <= i64::MAX as u64;
    if is_whole { Ok(Duration::from_millis(total_ms)) } else { Err(malformed()) }
}

/// Writes a duration as Prometheus would: `1m30s`, weeks and years only where they come out even.
pub fn format_duration(duration: Duration) -> String {
    let mut rest_ms = duration.as_millis() as u64;
    let mut text = String::new();
    for (unit, unit_ms) in UNITS {
        let is_skipped = matches!(unit, "y" | "w") && !rest_ms.is_multiple_of(unit_ms);
        if !is_skipped && rest_ms >= unit_ms {
            text += &format!("{}{unit}", rest_ms / unit_ms);
            rest_ms %= unit_ms;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// Reads a size in bytes: `200GB`, `10MiB`, `512B`, `0`; `KB` and `KiB` are both 1024, as in Prometheus.
///
/// # Errors
/// A sentence about what is wrong with it.
pub fn parse_size(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} needs a unit, such as {text}GB, {text}MiB or {text}B"));
    }
    let malformed = || format!("{text:?} is not a size such as 200GB, 10MiB or 512B");
    let (number, unit, rest) = split_quantity(text).ok_or_else(malformed)?;
    let power = match unit {
        "B" => 0,
        "KB" | "KiB" => 1,
        "MB" | "MiB" => 2,
        "GB" | "GiB" => 3,
        "TB" | "TiB" => 4,
        "PB" | "PiB" => 5,
        "EB" | "EiB" => 6,
        _ => return Err(malformed()),
    };
    if rest.is_empty() { number.checked_mul(1 << (10 * power)).ok_or_else(malformed) } else { Err(malformed()) }
}

/// Writes a size with one decimal in the largest unit that it fills.
pub(crate) fn format_size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let power = (bytes.max(1).ilog2() as usize / 10).min(units.len());
    match power.checked_sub(1) {
        None => format!("{bytes} B"),
        Some(unit) => format!("{:.1} {}", bytes as f64 / 1024f64.powi(power as i32), units[unit]),
    }
}

/// Splits off a whole number and the letters after it.
fn split_quantity(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at(digits);
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    Some((number.parse().ok()?, unit, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_prometheus_own() {
        let cases = [
            ("0", Some(0), "0s"),
            ("0w", Some(0), "0s"),
            ("0s", Some(0), "0s"),
            ("324ms", Some(324), "324ms"),
            ("3s", Some(3_000), "3s"),
            ("5m", Some(300_000), "5m"),
            ("1h", Some(3_600_000), "1h"),
            ("1h30m", Some(5_400_000), "1h30m"),
            ("90s", Some(90_000), "1m30s"),
            ("4d", Some(345_600_000), "4d"),
            ("4d1h", Some(349_200_000), "4d1h"),
            ("14d", Some(1_209_600_000), "2w"),
            ("3w2d1h", Some(1_990_800_000), "23d1h"),
            ("1y", Some(31_536_000_000), "1y"),
            ("1y1d", Some(31_622_400_000), "366d"),
            ("", None, ""),
            ("1", None, ""),
            ("1y1m1d", None, ""),
            ("-1w", None, ""),
            ("1.5d", None, ""),
            ("d", None, ""),
            ("10Y", None, ""),
            ("1s1s", None, ""),
            ("99999999999999999999s", None, ""),
        ];
        for (text, millis, written) in cases {
            let duration = parse_duration(text).ok();
            assert_eq!(duration.map(|d| d.as_millis() as u64), millis, "{text}");
            if let (Some(duration), false) = (duration, written.is_empty()) {
                assert_eq!(format_duration(duration), written, "{text}");
            }
        }
        assert_eq!(parse_duration("15").unwrap_err(), "\"15\" needs a unit, such as 15s");
    }

    #[test]
    fn sizes_count_in_1024() {
        let cases = [
            ("0", Some(0)),
            ("512B", Some(512)),
            ("10MB", Some(10 << 20)),
            ("10MiB", Some(10 << 20)),
            ("200GB", Some(200 << 30)),
            ("2TiB", Some(2 << 40)),
            ("200", None),
            ("", None),
            ("GB", None),
            ("1G", None),
            ("1GB5", None),
            ("1EB", Some(1 << 60)),
            ("99999999PB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text).ok(), bytes, "{text}");
        }
        let written =
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (200 << 30, "200.0 GiB"), (3 << 50, "3072.0 TiB")];
        for (bytes, expected) in written {
            assert_eq!(format_size(bytes), expected);
        }
    }
}
