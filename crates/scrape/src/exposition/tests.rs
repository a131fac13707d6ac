use std::collections::HashSet;
use std::path::Path;

use super::{Format, PageError, parse};
use crate::exposition::value::{normalize_float, parse_float, short_decimal};

/// Checks that `page` gives the samples of `expected`, written `name{label=value,…} value @timestamp`.
fn check(page: &str, format: Format, expected: &[&str]) {
    let samples = parse(page.as_bytes(), format).unwrap_or_else(|error| panic!("{page:?}: {error}"));
    let written: Vec<String> = samples
        .iter()
        .map(|sample| {
            let labels: Vec<String> =
                sample.labels[1..].iter().map(|(name, value)| format!("{name}={value}")).collect();
            let at = sample.timestamp.map_or(String::new(), |at| format!(" @{at}"));
            format!("{}{{{}}} {}{at}", sample.labels[0].1, labels.join(","), sample.value)
        })
        .collect();
    assert_eq!(written, expected, "{page:?}");
}

#[test]
fn takes_what_prometheus_takes() {
    let text = |page, expected: &[&str]| check(page, Format::Text, expected);
    text("", &[]);
    text(" \t\n\n  a 1\n", &["a{} 1"]);
    text("a 1", &["a{} 1"]);
    text("a\t{ b = \"c\" , } \t-2.5e3  17\t\n", &["a{b=c} -2500 @17"]);
    text("a{b=\"c\" d=\"e\"}1", &["a{b=c,d=e} 1"]);
    text("a-1\na.5\n", &["a{} -1", "a{} 0.5"]);
    text("a{b=\"x\ny\"} 1", &["a{b=x\ny} 1"]);
    text(r#"a{b="\"\\\n\t"} 1"#, &["a{b=\"\\\n\\t} 1"]);
    text("{\"a.b\",\"c d\"=\"e\"} +Inf\n{x=\"y\",\"z\"} -inf\n", &["a.b{c d=e} inf", "z{x=y} -inf"]);
    text("a NaN\nb infinity\n", &["a{} NaN", "b{} inf"]);
    text("# HELP a\n# HELP b \n# TYPE a counter\n#TYPE a b\n#\n# HELPa\n# \tTYPE b gauge\na 1", &["a{} 1"]);
    text("# HELP \"a b\" text\n# TYPE \"a b\" counter\n", &[]);
    text("a 1\n\0 whatever", &["a{} 1"]);
    text(
        "a{le=\"1\"} 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2",
        &["a{le=1} 1", "h_bucket{le=1.0} 1", "h_bucket{le=+Inf} 2"],
    );
    let open = |page, expected: &[&str]| check(page, Format::OpenMetrics, expected);
    open("# EOF", &[]);
    open(
        "# TYPE a counter\na_total 1 2.5 # {x=\"y\"} 3 4\na_created 5\n# EOF\n",
        &["a_total{} 1 @2500", "a_created{} 5"],
    );
    open("a{b=\"c\",} 1 # {} 1\n# UNIT x_s s\n# EOF\n", &["a{b=c} 1"]);
}

#[test]
fn refuses_what_prometheus_refuses_and_says_where() {
    let check = |page: &str, format, line, word: &str| {
        let PageError { line: found, reason } = parse(page.as_bytes(), format).expect_err(page);
        assert_eq!(found, line, "{page:?}: {reason}");
        assert!(reason.contains(word), "{page:?}: {reason}");
    };
    #[rustfmt::skip]
    let text = [
        ("a 1\nb", 2, "value"), ("a 1\r\n", 1, "number"), ("a 1_0", 1, "number"), ("a 0x1p3", 1, "number"), ("a 1e999", 1, "range"),
        ("a 1 -5", 1, "timestamp"), ("a 1 2 3", 1, "end"), ("a 1 9999999999999999999", 1, "timestamp"), ("a{b=\"c\"", 1, "label name"),
        ("a{,} 1", 1, "label name"), ("a{b=\"c\",,} 1", 1, "label name"), ("a{b} 1", 1, "equals"), ("a{\"b\"} 1", 1, "already"),
        ("{\"a\",\"b\"} 1", 1, "already"), ("{b=\"c\"} 1", 1, "no metric name"), ("{\"\"} 1", 1, "empty"), ("a{\"\"=\"\"} 1", 1, "empty"),
        ("a{b=\"\",b=\"c\"} 1", 1, "unique"), ("a{__name__=\"b\"} 1", 1, "unique"), ("\n9 1", 2, "begin"), ("a{b=\"\\\n\"} 1", 1, "quoted"),
        ("# TYPE a blob\n", 1, "type"), ("# TYPE a counter \n", 1, "type"), ("# HELP 9\n", 1, "name"), ("a\0 1", 1, "value"),
        ("a +nan", 1, "number"), ("a {b=\"c\"} {d=\"e\"} 1", 1, "value"), ("{\"a\0\"} 1", 1, "label name"),
    ];
    for (page, line, word) in text {
        check(page, Format::Text, line, word);
    }
    #[rustfmt::skip]
    let open = [
        ("a 1\n", 2, "# EOF"), ("# EOF\n\n", 2, "after"), ("\n# EOF", 1, "begin"), ("a  1\n# EOF", 1, "value"), ("a 1 \n# EOF", 1, "timestamp"),
        ("# free\n# EOF", 1, "comment"), ("# HELP a\n# EOF", 1, "text"), ("# TYPE a untyped\n# EOF", 1, "type"),
        ("# UNIT a s\n# EOF", 1, "unit"), ("a{b=\"c\"d=\"e\"} 1\n# EOF", 1, "comma"), ("a 1 NaN\n# EOF", 1, "finite"),
        ("a 1 # {b} 1\n# EOF", 1, "equals"), ("a 1 # {} x\n# EOF", 1, "number"), ("a 1 # {}\n# EOF", 1, "value"),
        ("# TYPE a info\na_info 1 # {} 1\n# EOF", 2, "exemplar"), ("# TYPE a histogram\na_sum 1 # {} 1\n# EOF", 2, "exemplar"), ("a 1 2 3\n# EOF", 1, "end"),
    ];
    for (page, line, word) in open {
        check(page, Format::OpenMetrics, line, word);
    }
    let bytes = |page: &[u8], word: &str| {
        let error = parse(page, Format::Text).expect_err("must be refused");
        assert!(error.reason.contains(word), "{page:?}: {error}");
    };
    bytes(b"a{b=\"\xff\"} 1", "UTF-8");
    bytes(b"{\"\xff\"} 1", "UTF-8");
    bytes(b"# HELP a \xff\n", "UTF-8");
}

#[test]
fn types_make_kinds_of_members() {
    use firetower_model::Kind::{Counter, Gauge, Histogram, Summary, Unknown};
    let page = "# TYPE c counter\n# TYPE h histogram\n# TYPE s summary\n# TYPE g gauge\n# TYPE g_count counter\n";
    #[rustfmt::skip]
    let cases = [
        ("c", Counter), ("c_total", Counter), ("c_created", Gauge), ("c_sum", Unknown), ("h", Unknown), ("h_bucket", Histogram),
        ("h_sum", Histogram), ("h_count", Histogram), ("s", Summary), ("s_sum", Summary), ("s_bucket", Unknown), ("g", Gauge),
        ("g_sum", Unknown), ("g_count", Counter), ("other", Unknown),
    ];
    for (name, kind) in cases {
        let samples = parse(format!("{page}{name} 1\n").as_bytes(), Format::Text).unwrap();
        assert_eq!(samples[0].kind, kind, "{name}");
    }
}

#[test]
fn bounds_are_written_as_prometheus_writes_them() {
    #[rustfmt::skip]
    let cases = [
        ("1", "1.0"), ("0.5", "0.5"), ("+Inf", "+Inf"), ("1e6", "1e+06"), ("123456", "123456.0"), ("1234567", "1.234567e+06"),
        ("0.0001", "0.0001"), ("0.00001", "1e-05"), ("-0", "0.0"), ("-2", "-2.0"), ("NaN", "NaN"), ("1e100", "1e+100"),
    ];
    for (text, normal) in cases {
        assert_eq!(normalize_float(text).as_deref(), Some(normal), "{text}");
    }
    assert_eq!(normalize_float("x"), None);
}

#[test]
fn negative_zero_keeps_its_sign() {
    assert!(parse_float(b"-0").unwrap().is_sign_negative());
}

proptest::proptest! {
    #[test]
    fn short_decimals_round_as_the_standard_library_does(text in r"-?[0-9]{0,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?") {
        if let Some((value, length)) = short_decimal(text.as_bytes()) {
            let expected: f64 = text[..length].parse().unwrap();
            assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
        }
        let exact: Option<f64> = text.parse().ok().filter(|value: &f64| value.is_finite());
        assert_eq!(parse_float(text.as_bytes()).ok().map(f64::to_bits), exact.map(f64::to_bits), "{text}");
    }

    #[test]
    fn no_page_makes_the_parser_panic(page in proptest::collection::vec(0u8..=127, 0..60)) {
        let _ = (parse(&page, Format::Text), parse(&page, Format::OpenMetrics));
    }

    #[test]
    fn no_page_of_likely_bytes_makes_the_parser_panic(page in "[a{}=\",# \\\\\n\0TYPEHL1.e]{0,40}") {
        let _ = (parse(page.as_bytes(), Format::Text), parse(page.as_bytes(), Format::OpenMetrics));
    }
}

/// Runs the peers' own cases from the folder named by `CONFORMANCE`; says that it ran none if there is no such folder.
#[test]
fn agrees_with_prometheus_on_the_cases_of_the_conformance_folder() {
    let Some(folder) = std::env::var_os("CONFORMANCE") else {
        eprintln!("CONFORMANCE is not set: 0 cases judged");
        return;
    };
    let folder = Path::new(&folder).join("exposition/cases");
    let mut judged = 0;
    let mut failed = Vec::new();
    for case in std::fs::read_dir(&folder).expect("CONFORMANCE must name a folder with exposition/cases") {
        let case = case.unwrap().path();
        let about: serde_json::Value = serde_json::from_slice(&std::fs::read(case.join("case.json")).unwrap()).unwrap();
        let Some(is_accepted) = expected(&about) else { continue };
        let format = if about["format"] == "prometheus" { Format::Text } else { Format::OpenMetrics };
        let page = std::fs::read(case.join("page")).unwrap();
        judged += 1;
        if let Err(why) = judge(&parse(&page, format), is_accepted, &about["samples"]) {
            failed.push(format!("{}: {why}", case.display()));
        }
    }
    eprintln!("{judged} cases judged");
    assert!(judged > 0, "no case in {}", folder.display());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Returns whether the scraper must accept the page of a case; `None` if that is not judged.
fn expected(about: &serde_json::Value) -> Option<bool> {
    match (about["prometheus"].as_str(), about["openmetrics"].as_str(), about["prometheus_2_42"].as_str()) {
        (Some(verdict), _, _) => Some(verdict == "accept"),
        (None, Some("accept"), _) => Some(true),
        (None, Some("reject"), Some("reject")) => Some(false),
        _ => None,
    }
}

fn judge(
    parsed: &Result<Vec<super::PageSample>, PageError>,
    is_accepted: bool,
    samples: &serde_json::Value,
) -> Result<(), String> {
    let parsed = match parsed {
        Err(_) if !is_accepted => return Ok(()),
        Err(error) => return Err(format!("refused: {error}")),
        Ok(_) if !is_accepted => return Err("accepted".into()),
        Ok(parsed) => parsed,
    };
    let Some(samples) = samples.as_array() else { return Ok(()) };
    let written = |labels: Vec<(String, String)>, value: f64| {
        let mut labels: Vec<(String, String)> = labels
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| {
                let number = if name == "le" || name == "quantile" { normalize_float(&value) } else { None };
                (name, number.unwrap_or(value))
            })
            .collect();
        labels.sort();
        format!("{labels:?} {value:?}")
    };
    // Of two samples of one series the first counts; the cases list some of the others too.
    let mut seen = HashSet::new();
    let mut is_first = |sample: &String| seen.insert(sample.rsplit_once(' ').map(|(labels, _)| labels.to_owned()));
    let mut found: Vec<String> =
        parsed.iter().map(|sample| written(sample.labels.clone(), sample.value)).filter(&mut is_first).collect();
    let mut seen = HashSet::new();
    let mut is_first = |sample: &String| seen.insert(sample.rsplit_once(' ').map(|(labels, _)| labels.to_owned()));
    let mut wanted: Vec<String> = samples
        .iter()
        .map(|sample| {
            let labels = sample[0].as_object().unwrap().iter();
            let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
            let value =
                sample[1].as_f64().unwrap_or_else(|| parse_float(sample[1].as_str().unwrap().as_bytes()).unwrap());
            written(labels, value)
        })
        .filter(&mut is_first)
        .collect();
    found.sort();
    wanted.sort();
    if found == wanted { Ok(()) } else { Err(format!("samples differ: {found:?}\nnot {wanted:?}")) }
}
