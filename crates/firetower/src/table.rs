//! Tables and the numbers in them, plain text without colour.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;
use time::OffsetDateTime;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Text, to the left.
    Text(&'static str),
    /// A number, to the right.
    Number(&'static str),
}

/// Returns the rows under their heads, aligned, without trailing blanks.
pub(crate) fn table(columns: &[Column], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(head) | Column::Number(head) => *head,
    }));
    table.add_rows(rows);
    for (column, at) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if matches!(at, Column::Number(_)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns a whole number as written in JSON, `-` for none.
pub(crate) fn count(value: &Value) -> String {
    value
        .as_i64()
        .map_or_else(|| value.as_u64().map_or("-".into(), |count| count.to_string()), |count| count.to_string())
}

/// Returns a number with one decimal, `-` for none.
pub(crate) fn decimal(value: &Value) -> String {
    value.as_f64().map_or("-".into(), |number| format!("{number:.1}"))
}

/// Returns text, `-` for none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}

/// Returns bytes in a unit that keeps them short.
pub(crate) fn bytes(value: &Value) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let Some(mut size) = value.as_f64() else { return "-".into() };
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{size:.0} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// Returns reported slots of expected ones in percent, never rounded up to 100.
pub(crate) fn coverage(value: &Value) -> String {
    let (Some(expected), Some(reported)) = (value["expected"].as_u64(), value["reported"].as_u64()) else {
        return "-".into();
    };
    match expected {
        0 => "-".into(),
        _ if reported >= expected => "100%".into(),
        _ => {
            let hundredths = u128::from(reported) * 10_000 / u128::from(expected);
            format!("{}.{:02}%", hundredths / 100, hundredths % 100)
        }
    }
}

/// Returns how long before `now` (both in seconds since the unix epoch) `at` was.
pub(crate) fn age(at: &Value, now: &Value) -> String {
    match (at.as_f64(), now.as_f64()) {
        (Some(at), Some(now)) => format!("{:.1}s", (now - at).max(0.0)),
        _ => "-".into(),
    }
}

/// Returns seconds since the unix epoch as a time of day in UTC.
pub(crate) fn time_of_day(at: &Value) -> String {
    let moment = at.as_f64().and_then(|at| OffsetDateTime::from_unix_timestamp(at.floor() as i64).ok());
    moment.map_or("-".into(), |at| format!("{:02}:{:02}:{:02} UTC", at.hour(), at.minute(), at.second()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["dub", "5"], ["ams-west", "12000"]].map(|row| row.map(str::to_owned).to_vec()).to_vec();
        let expected = "NAME      TARGETS\ndub             5\nams-west    12000\n";
        assert_eq!(table(&[Column::Text("NAME"), Column::Number("TARGETS")], rows), expected);
        assert_eq!(table(&[Column::Text("NAME"), Column::Number("TARGETS")], Vec::new()), "NAME  TARGETS\n");
    }

    #[test]
    fn coverage_is_never_rounded_up() {
        let check = |expected: u64, reported: u64, text: &str| {
            assert_eq!(coverage(&json!({ "expected": expected, "reported": reported })), text);
        };
        check(0, 0, "-");
        check(3, 3, "100%");
        check(3, 2, "66.66%");
        check(1_000_000, 999_999, "99.99%");
        check(5, 0, "0.00%");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [bytes(&json!(0)), bytes(&json!(1023)), bytes(&json!(1536)), bytes(&json!(null))],
            ["0 B", "1023 B", "1.5 KiB", "-"]
        );
        assert_eq!([count(&json!(7)), count(&json!(-7)), count(&json!(null))], ["7", "-7", "-"]);
        assert_eq!(age(&json!(10.5), &json!(12.0)), "1.5s");
        assert_eq!(time_of_day(&json!(1_700_000_000.25)), "22:13:20 UTC");
    }
}
