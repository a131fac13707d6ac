//! Whole requests against a handful of spans in memory.

use std::convert::Infallible;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use firetower_model::labels::NAME;
use firetower_model::{Labels, Sample};
use tower::ServiceExt;

use super::*;

struct Fake;

impl SelectSpans for Fake {
    type Error = Infallible;

    fn select_spans(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        tier: SpanTier,
    ) -> Result<impl Iterator<Item = Result<Vec<SpanSeries>, Infallible>>, Infallible> {
        let mut span = Span::EMPTY;
        for (at, value) in [(1, 2.5), (16, f64::NAN), (31, 4.0)] {
            span.push(Sample { at: Timestamp::from_millis(at * 1_000), value });
        }
        let special = Span { samples: 1, special: 1, ..Span::EMPTY };
        let next = Timestamp::from_millis(tier.step().as_millis() as i64);
        let spans = [(Timestamp::from_millis(0), span), (next, special)];
        let spans: Vec<_> = spans.into_iter().filter(|(start, _)| range.contains(*start)).collect();
        let series = ["m", "k"].map(|name| SpanSeries { labels: Labels::new([(NAME, name)]), spans: spans.clone() });
        let is_match = |series: &SpanSeries| matchers.iter().all(|matcher| matcher.is_match_labels(&series.labels));
        Ok([Ok(series.into_iter().filter(is_match).collect())].into_iter())
    }
}

async fn ask(query: &str) -> (u16, String) {
    let router = with_limit(Arc::new(Fake), Clock::system(), 3);
    let request = Request::get(format!("/api/v1/spans?{query}")).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn spans_are_answered_in_order_and_limited() {
    let m = r#"{"metric":{"__name__":"m"},"spans":[{"start":0,"samples":3,"special":1,"first_t":1,"last_t":31,"first":2.5,"last":4,"sum":6.5,"min":2.5,"max":4,"increase":1.5,"resets":0}]}"#;
    let k = m.replace("\"m\"", "\"k\"");
    let whole = |step: &str, result: &str| {
        (200, format!(r#"{{"status":"success","data":{{"step":"{step}","result":[{result}]}}}}"#))
    };
    assert_eq!(ask("match[]=m&step=5m&start=0&end=300").await, whole("5m", m));
    assert_eq!(ask("match[]=m&match[]=k&step=1h&start=0&end=300").await, whole("1h", &format!("{k},{m}")));
    let special = r#"{"metric":{"__name__":"m"},"spans":[{"start":3600,"samples":1,"special":1}]}"#;
    assert_eq!(ask("match[]=m&step=1h&start=10&end=4000").await, whole("1h", special));
    let refused = [
        ("match[]=m&start=0&end=300", 400, "step"),
        ("step=5m", 400, "match[]"),
        ("match[]=m&step=15s", 400, "5m or 1h"),
        ("match[]=m[5m]&step=5m", 400, "a range"),
        ("match[]=m&step=5m&from=0", 400, "from"),
        ("match[]=m&match[]=k&step=5m&start=0&end=4000", 422, "more than 3 spans"),
    ];
    for (query, status, word) in refused {
        let found = ask(query).await;
        assert!(found.0 == status && found.1.contains(word), "{query}: {found:?}");
    }
}
