//! Pages of `testdata/check`, each with the remarks that it must get.
//!
//! `=== NAME` begins a page, and `--- LINE:COLUMN TEXT` stands behind it for each remark. In the pages `␄` says that the
//! last line has no line feed, and `␀`, `␉` and `␍` stand for a zero byte, a tab and a carriage return.

use super::{REMARKS_MAX, Severity, check};
use crate::exposition::Format;

/// Checks each page of a file: its remarks of `severity` are those listed, and it has a fault only if these are.
fn check_file(text: &str, format: Format, severity: Severity) {
    for case in text.split("=== ").skip(1) {
        let (name, rest) = case.split_once('\n').expect("a name ends with its line");
        let page_end = if rest.starts_with("--- ") { 0 } else { rest.find("\n--- ").map_or(rest.len(), |at| at + 1) };
        let (page, expected) = rest.split_at(page_end);
        let expected: Vec<&str> = expected.lines().map(|line| line.trim_start_matches("--- ")).collect();
        let page = page.replace("␄\n", "").replace('␀', "\0").replace('␉', "\t").replace('␍', "\r");
        let remarks = check(page.as_bytes(), format);
        let found: Vec<String> = remarks
            .iter()
            .filter(|remark| remark.severity == severity)
            .map(|remark| format!("{}:{} {}", remark.line, remark.column, remark.text))
            .collect();
        assert_eq!(found, expected, "{name}");
        let has_fault = remarks.iter().any(|remark| remark.severity == Severity::Fault);
        assert_eq!(has_fault, severity == Severity::Fault && !expected.is_empty(), "{name}: {remarks:?}");
    }
}

#[test]
fn well_formed_pages_have_no_fault() {
    let open_metrics = include_str!("../../../testdata/check/openmetrics.good");
    check_file(open_metrics, Format::OpenMetrics, Severity::Fault);
    check_file(include_str!("../../../testdata/check/prometheus.good"), Format::Text, Severity::Fault);
}

#[test]
fn each_fault_is_told_with_its_place() {
    check_file(include_str!("../../../testdata/check/openmetrics.bad"), Format::OpenMetrics, Severity::Fault);
    check_file(include_str!("../../../testdata/check/prometheus.bad"), Format::Text, Severity::Fault);
}

#[test]
fn bad_style_is_no_fault() {
    check_file(include_str!("../../../testdata/check/openmetrics.style"), Format::OpenMetrics, Severity::Style);
    check_file(include_str!("../../../testdata/check/prometheus.style"), Format::Text, Severity::Style);
}

#[test]
fn bytes_that_are_not_utf_8_are_a_fault_of_their_line() {
    for format in [Format::Text, Format::OpenMetrics] {
        let remarks = check(b"# HELP a \xc3\xa9\xff\na{b=\"\xbd\"} 1\n# EOF\n", format);
        let places: Vec<_> = remarks.iter().map(|remark| (remark.line, remark.column, &*remark.text)).collect();
        assert_eq!(places, [(1, 11, "this is not UTF-8"), (2, 6, "this is not UTF-8")]);
    }
}

#[test]
fn remarks_have_a_limit_that_hides_no_fault() {
    let page = "# TYPE b gauge\n".repeat(REMARKS_MAX + 2) + "a\n";
    let remarks = check(page.as_bytes(), Format::Text);
    assert_eq!(remarks.len(), REMARKS_MAX + 1);
    let last = &remarks[REMARKS_MAX];
    assert_eq!((last.severity, last.text.ends_with("more remarks are left out")), (Severity::Fault, true));
}

proptest::proptest! {
    #[test]
    fn no_page_makes_the_check_panic(page in "([aA_:\"{}=,# 1\\\\\n\u{e9}]|# TYPE a |# EOF\n|counter\n|histogram\n|le=\"\\+Inf\"|_total|_bucket){0,30}") {
        for format in [Format::Text, Format::OpenMetrics] {
            check(page.as_bytes(), format);
        }
    }

    #[test]
    fn what_is_well_formed_the_scraper_takes(page in "((a|b_total|c_bucket|\\{\"d e\"\\})( |\\{x=\"y\"\\} |\\{le=\"1\",\\} )[0-9]{1,2}( [0-9]| # \\{\\} 1)?\n|# TYPE (a|b|c) (gauge|counter|info|summary)\n|# HELP (a|b) x\n){0,6}(# EOF\n)?") {
        for format in [Format::Text, Format::OpenMetrics] {
            let is_well_formed = check(page.as_bytes(), format).iter().all(|remark| remark.severity == Severity::Style);
            if is_well_formed {
                crate::exposition::parse(page.as_bytes(), format).unwrap_or_else(|error| panic!("{page:?}: {error}"));
            }
        }
    }
}
