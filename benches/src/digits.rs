//! Numbers as node_exporter writes them, which is as Go's `%g` does.

/// From here on a number is written with an exponent.
const EXPONENT_FROM: u64 = 1_000_000;

/// Appends `number`.
pub(crate) fn write_integer(number: u64, page: &mut Vec<u8>) {
    let mut buffer = [0u8; 20];
    let digits = digits(number, &mut buffer);
    if number < EXPONENT_FROM { page.extend_from_slice(digits) } else { write_exponent(digits, digits.len() - 1, page) }
}

/// Appends a hundredth of `number`.
pub(crate) fn write_hundredths(number: u64, page: &mut Vec<u8>) {
    let mut buffer = [0u8; 20];
    if number >= EXPONENT_FROM * 100 {
        let digits = digits(number, &mut buffer);
        return write_exponent(digits, digits.len() - 3, page);
    }
    page.extend_from_slice(digits(number / 100, &mut buffer));
    let (tenths, hundredths) = ((number / 10 % 10) as u8, (number % 10) as u8);
    match (tenths, hundredths) {
        (0, 0) => {}
        (_, 0) => page.extend_from_slice(&[b'.', b'0' + tenths]),
        _ => page.extend_from_slice(&[b'.', b'0' + tenths, b'0' + hundredths]),
    }
}

fn write_exponent(digits: &[u8], exponent: usize, page: &mut Vec<u8>) {
    let significant = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    page.push(digits[0]);
    if significant > 1 {
        page.push(b'.');
        page.extend_from_slice(&digits[1..significant]);
    }
    page.extend_from_slice(&[b'e', b'+', b'0' + (exponent / 10) as u8, b'0' + (exponent % 10) as u8]);
}

/// Returns the decimal digits of `number`, which stand at the end of `buffer`.
fn digits(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let check = |write: fn(u64, &mut Vec<u8>), number: u64, expected: &str| {
            let mut text = Vec::new();
            write(number, &mut text);
            assert_eq!(std::str::from_utf8(&text), Ok(expected));
        };
        check(write_integer, 0, "0");
        check(write_integer, 999_999, "999999");
        check(write_integer, 1_000_000, "1e+06");
        check(write_integer, 8_338_436_096, "8.338436096e+09");
        check(write_integer, 1_200_000_000_000, "1.2e+12");
        check(write_hundredths, 0, "0");
        check(write_hundredths, 7, "0.07");
        check(write_hundredths, 1_250, "12.5");
        check(write_hundredths, 99_999_999, "999999.99");
        check(write_hundredths, 100_000_000, "1e+06");
        check(write_hundredths, 123_456_789, "1.23456789e+06");
    }
}
