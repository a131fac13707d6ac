use std::collections::HashMap;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use firetower_model::labels::NAME;
use firetower_model::{Kind, Labels};
use firetower_query::visit_entries;
use tower::ServiceExt;

use super::*;

/// Three series: two until 1000 s, one from then on.
fn router() -> Router {
    let series = |name: &str, labels: &[(&str, &str)], at: i64| {
        let labels = labels.iter().copied().chain([(NAME, name)]);
        (Labels::new(labels), Timestamp::from_millis(at))
    };
    let all = vec![
        series("m", &[("job", "b"), ("dotted.name", "x")], 999_000),
        series("m", &[("job", "a")], 999_000),
        series("n", &[("job", "c")], 2_000_000),
    ];
    let kinds = [("m_bucket", Kind::Histogram), ("m_sum", Kind::Histogram), ("n", Kind::Counter), ("o", Kind::Unknown)];
    let kinds = kinds.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    lists(Arc::new(Fake { all, kinds }))
}

struct Fake {
    all: Vec<(Labels, Timestamp)>,
    kinds: HashMap<String, Kind>,
}

impl Lister for Fake {
    fn list(
        &self,
        what: &Listing,
        selected: &[Vec<Matcher>],
        range: TimeRange,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> Result<Option<Answered>, firetower_query::Error> {
        let is_match = |labels: &Labels| {
            let mut lists = selected.iter();
            selected.is_empty() || lists.any(|list| list.iter().all(|matcher| matcher.is_match_labels(labels)))
        };
        let inside = self.all.iter().filter(|(labels, at)| range.contains(*at) && is_match(labels));
        inside.for_each(|(labels, _)| visit_entries(what, labels, visit));
        Ok(None)
    }

    fn kinds(&self) -> Result<(HashMap<String, Kind>, Option<Answered>), firetower_query::Error> {
        Ok((self.kinds.clone(), None))
    }
}

#[tokio::test]
async fn lists_are_prometheuss() {
    let check = async |path: &str, status: u16, expected: Value| {
        let request = Request::get(format!("/api/v1/{path}")).body(Body::empty()).unwrap();
        let response = router().oneshot(request).await.unwrap();
        let found = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (found, &body["data"], &body["warnings"]),
            (status, &expected["data"], &expected["warnings"]),
            "{path}: {body}"
        );
    };
    let (a, b) = (json!({ "__name__": "m", "job": "a" }), json!({ "__name__": "m", "job": "b", "dotted.name": "x" }));
    let c = json!({ "__name__": "n", "job": "c" });
    check("series?match[]=m", 200, json!({ "data": [b, a] })).await;
    check("series?match[]=m&match[]={job=~%22a|c%22}", 200, json!({ "data": [b, a, c] })).await;
    check("series?match[]=m&limit=1", 200, json!({ "data": [b], "warnings": [TRUNCATED] })).await;
    check("series?match[]=m&limit=2", 200, json!({ "data": [b, a] })).await;
    check("series?match[]={job=~%22.%2B%22}&start=1000&end=2000", 200, json!({ "data": [c] })).await;
    check("series", 400, json!({})).await;
    check("series?match[]=m{", 400, json!({})).await;
    check("series?match[]=m&limit=x", 400, json!({})).await;
    check("series?match[]=m&start=yesterday", 400, json!({})).await;
    check("labels", 200, json!({ "data": ["__name__", "dotted.name", "job"] })).await;
    check("labels?match[]=n", 200, json!({ "data": ["__name__", "job"] })).await;
    check("labels?end=1&limit=5", 200, json!({ "data": [] })).await;
    check("labels?limit=1", 200, json!({ "data": ["__name__"], "warnings": [TRUNCATED] })).await;
    check("label/job/values", 200, json!({ "data": ["a", "b", "c"] })).await;
    check("label/job/values?match[]=m", 200, json!({ "data": ["a", "b"] })).await;
    check("label/U__dotted_2e_name/values", 200, json!({ "data": ["x"] })).await;
    check("label/nobody/values", 200, json!({ "data": [] })).await;
    let of = |kind: &str| json!([{ "type": kind, "help": "", "unit": "" }]);
    check("metadata", 200, json!({ "data": { "m": of("histogram"), "n": of("counter") } })).await;
    check("metadata?limit=1", 200, json!({ "data": { "m": of("histogram") } })).await;
    check("metadata?metric=n", 200, json!({ "data": { "n": of("counter") } })).await;
}
