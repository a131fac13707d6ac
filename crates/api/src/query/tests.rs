//! Whole requests against a handful of series in memory.

use std::convert::Infallible;

use axum::body::to_bytes;
use axum::http::Request;
use firetower_model::{Labels, Matcher, STALE, Sample, Series, TimeRange, Timestamp};
use serde_json::Value;
use tower::ServiceExt;

use super::*;

/// Series in memory, two to a batch.
struct Fake(Vec<Series>);

impl Select for Fake {
    type Error = Infallible;

    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Infallible>>, Infallible> {
        let mut found: Vec<Series> = Vec::new();
        for series in
            self.0.iter().filter(|series| matchers.iter().all(|matcher| matcher.is_match_labels(&series.labels)))
        {
            let samples: Vec<Sample> =
                series.samples.iter().copied().filter(|sample| range.contains(sample.at)).collect();
            if !samples.is_empty() {
                found.push(Series { labels: series.labels.clone(), samples });
            }
        }
        let batches: Vec<Vec<Series>> = found.chunks(2).map(<[Series]>::to_vec).collect();
        Ok(batches.into_iter().map(Ok))
    }
}

/// Series `m` on b and a, every 10 s until 1000 s; `gone`, which ended at 990 s; `special`, with what is no number.
fn fake() -> Fake {
    let series = |name: &str, instance: &str, samples: &[(i64, f64)]| Series {
        labels: Labels::new([("__name__", name), ("instance", instance)]),
        samples: samples.iter().map(|(at, value)| Sample { at: Timestamp::from_millis(*at), value: *value }).collect(),
    };
    let regular: Vec<(i64, f64)> = (60..=100).map(|at| (at * 10_000, at as f64 / 2.0)).collect();
    Fake(vec![
        series("m", "b", &regular),
        series("m", "a", &regular),
        series("gone", "a", &[(980_000, 1.0), (990_000, STALE)]),
        series("special", "a", &[(999_000, f64::NAN), (1_000_000, f64::INFINITY)]),
        series("old", "a", &[(700_000, 1.0)]),
    ])
}

fn router(limits: Limits) -> Router {
    with_limits(Arc::new(fake()), Clock::starting_at(Timestamp::from_millis(1_000_500)), limits)
}

async fn ask(router: Router, request: Request<Body>) -> (u16, Result<String, axum::Error>) {
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await;
    (status, body.map(|body| String::from_utf8(body.to_vec()).unwrap()))
}

fn get_query(query: &str) -> Request<Body> {
    let query: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query.split('&').map(|pair| pair.split_once("=>").unwrap_or(("query", pair))))
        .finish();
    Request::get(format!("/api/v1/query?{query}")).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn selectors_are_answered_as_prometheus_does() {
    let check = async |query: &str, kind: &str, expected: &str| {
        let (status, text) = ask(router(Limits::PROMETHEUS), get_query(query)).await;
        let text = text.unwrap();
        let whole = format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":[{expected}]}}}}"#);
        assert_eq!((status, &text), (200, &whole), "{query}");
        serde_json::from_str::<Value>(&text).unwrap();
    };
    let value = |name: &str, instance: &str, value: &str| {
        format!(r#"{{"metric":{{"__name__":"{name}","instance":"{instance}"}},{value}}}"#)
    };
    let (a, b) = (value("m", "a", r#""value":[1000.500,"50"]"#), value("m", "b", r#""value":[1000.500,"50"]"#));
    check("m", "vector", &format!("{a},{b}")).await;
    check("m{instance!~\"b\"}&time=>985", "vector", &value("m", "a", r#""value":[985,"49"]"#)).await;
    check("m{instance=\"a\"}&time=>1970-01-01T00:16:25Z", "vector", &value("m", "a", r#""value":[985,"49"]"#)).await;
    check("m{instance=\"a\"} offset 100s&time=>1000", "vector", &value("m", "a", r#""value":[1000,"45"]"#)).await;
    check("m{instance=\"a\"}[20s]&time=>1000", "matrix", &value("m", "a", r#""values":[[990,"49.5"],[1000,"50"]]"#))
        .await;
    check("special[10s]", "matrix", &value("special", "a", r#""values":[[999,"NaN"],[1000,"+Inf"]]"#)).await;
    check("gone", "vector", "").await;
    check("gone[1m]", "matrix", &value("gone", "a", r#""values":[[980,"1"]]"#)).await;
    check("gone&time=>989", "vector", &value("gone", "a", r#""value":[989,"1"]"#)).await;
    check("old&time=>999.999", "vector", &value("old", "a", r#""value":[999.999,"1"]"#)).await;
    check("old&time=>1000", "vector", "").await;
    check("old[300s]&time=>1000", "matrix", "").await;
    check("nobody", "vector", "").await;
}

#[tokio::test]
async fn a_form_is_read_like_a_url() {
    let form = |text: &'static str| {
        let request = Request::post("/api/v1/query").header("content-type", "application/x-www-form-urlencoded");
        request.body(Body::from(text)).unwrap()
    };
    let (status, text) =
        ask(router(Limits::PROMETHEUS), form("query=m%7Binstance%3D%22a%22%7D&time=1000&timeout=1m")).await;
    assert_eq!((status, text.unwrap().contains(r#""value":[1000,"50"]"#)), (200, true));
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let check = async |query: &str, limits: Limits, status: u16, kind: &str, error: &str| {
        let (found, text) = ask(router(limits), get_query(query)).await;
        let body: Value = serde_json::from_str(&text.unwrap()).unwrap();
        let expected = json!({ "status": "error", "errorType": kind, "error": error });
        assert_eq!((found, body), (status, expected), "{query}");
    };
    let all = Limits::PROMETHEUS;
    let unsupported = "only plain selectors and range selectors are answered by this release, not an aggregation";
    check("sum(m)", all, 400, "bad_data", unsupported).await;
    check("", all, 400, "bad_data", "parameter \"query\" is missing").await;
    let time = "parameter \"time\": \"noon\" is not a time: RFC 3339, or seconds since the unix epoch";
    check("m&time=>noon", all, 400, "bad_data", time).await;
    let samples = "the answer has more than 3 samples: ask for less";
    check("m[1m]", Limits { samples: 3, ..all }, 422, "execution", samples).await;
    let series = "the answer has more than 1 series: ask for less";
    check("m", Limits { series: 1, ..all }, 422, "execution", series).await;
}

#[tokio::test]
async fn large_answers_are_streamed_and_cut_when_they_fail() {
    let streaming = Limits { sorted_samples: 1, chunk_bytes: 1, ..Limits::PROMETHEUS };
    let (status, text) = ask(router(streaming), get_query("{instance=~\".+\"}[10m]")).await;
    let body: Value = serde_json::from_str(&text.unwrap()).unwrap();
    assert_eq!((status, body["data"]["result"].as_array().unwrap().len()), (200, 5));

    // The first two series are on their way when the third is one too many.
    let too_many = Limits { series: 2, ..streaming };
    let (status, text) = ask(router(too_many), get_query("{instance=~\".+\"}[10m]")).await;
    assert_eq!((status, text.is_err()), (200, true), "cut, not ended");
}
