//! Durations with more digits than the parser holds mean what they say.

use std::time::Duration;

use firetower_model::Timestamp;
use firetower_promql::Query;

#[test]
fn long_durations_read() {
    let check = |text: &str, end_ms: i64, length_ms: i64| {
        let query = Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let selection = query.as_selection().unwrap();
        let range = selection.samples_range(Timestamp::from_millis(0), Duration::from_secs(300));
        let found = (range.end.as_millis() - 1, range.end.as_millis() - range.start.as_millis());
        assert_eq!(found, (end_ms, length_ms), "{text}");
    };
    check("m @ 1795824120000ms", 1_795_824_120_000, 300_000);
    check("m offset 1795824120001ms", -1_795_824_120_001, 300_000);
    check("m[10000000001ms] @ 1795824120s", 1_795_824_120_000, 10_000_000_001);
    check("m[1d] offset -2h", 7_200_000, 86_400_000);
    assert!(Query::parse("m[99999999999999999999ms]").is_err());
    assert!(Query::parse("quantile_over_time(0.5, m[2m1s:30s] @ 1795824120000ms)").is_ok());
}
