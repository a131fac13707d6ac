//! Whole requests against a handful of series in memory.

use std::convert::Infallible;

use axum::body::to_bytes;
use axum::http::Request;
use firetower_model::{Labels, Matcher, STALE, Sample, Select, Series, TimeRange, Timestamp};
use firetower_query::Local;
use firetower_topology::QueryLimits;
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
    with_limits(Local(Arc::new(fake())), Clock::starting_at(Timestamp::from_millis(1_000_500)), limits)
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
        let (status, text) = ask(router(Limits::of(QueryLimits::default())), get_query(query)).await;
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
        ask(router(Limits::of(QueryLimits::default())), form("query=m%7Binstance%3D%22a%22%7D&time=1000&timeout=1m"))
            .await;
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
    let all = Limits::of(QueryLimits::default());
    let unsupported = "histogram_sum, which is of native histograms, is not answered by this release";
    check("histogram_sum(m)", all, 400, "bad_data", unsupported).await;
    check("rate(m)", all, 400, "bad_data", "expected type matrix in call to function 'rate', got vector").await;
    let same = "vector cannot contain metrics with the same labelset";
    check("label_replace(m, \"instance\", \"\", \"\", \"\")", all, 422, "execution", same).await;
    check(
        "m&timeout=>soon",
        all,
        400,
        "bad_data",
        "parameter \"timeout\": \"soon\" is not a duration of at least 1 ms: seconds, or like 1h30m",
    )
    .await;
    let few = "the query needs more than 1 samples: ask for less";
    check("m + m", Limits { samples: 1, ..all }, 422, "execution", few).await;
    check("", all, 400, "bad_data", "parameter \"query\" is missing").await;
    let time = "parameter \"time\": \"noon\" is not a time: RFC 3339, or seconds since the unix epoch";
    check("m&time=>noon", all, 400, "bad_data", time).await;
    let samples = "the answer has more than 3 samples: ask for less";
    check("m[1m]", Limits { samples: 3, ..all }, 422, "execution", samples).await;
    let series = "the answer has more than 1 series: ask for less";
    check("m", Limits { series: 1, ..all }, 422, "execution", series).await;
}

#[tokio::test]
async fn expressions_are_evaluated() {
    let check = async |query: &str, expected: Value| {
        let (status, text) = ask(router(Limits::of(QueryLimits::default())), get_query(query)).await;
        let body: Value = serde_json::from_str(&text.unwrap()).unwrap();
        assert_eq!((status, body), (200, expected), "{query}");
    };
    let data =
        |kind: &str, result: Value| json!({ "status": "success", "data": { "resultType": kind, "result": result } });
    check("1 + 1&time=>10", data("scalar", json!([10, "2"]))).await;
    check("\"a\\\"b\"&time=>10", data("string", json!([10, "a\"b"]))).await;
    check("sum(m)&time=>1000", data("vector", json!([{ "metric": {}, "value": [1000, "100"] }]))).await;
    check("m[20s:10s]&time=>800&limit=>1", {
        let metric = json!({ "__name__": "m", "instance": "a" });
        let result = json!([{ "metric": metric, "values": [[790, "39.5"], [800, "40"]] }]);
        json!({
            "status": "success",
            "data": { "resultType": "matrix", "result": result },
            "warnings": ["results truncated due to limit"],
        })
    })
    .await;
    check("old&time=>1000&lookback_delta=>10m&limit=>5", {
        let metric = json!({ "__name__": "old", "instance": "a" });
        data("vector", json!([{ "metric": metric, "value": [1000, "1"] }]))
    })
    .await;
    let info = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"m\"";
    let result = json!([{ "metric": { "instance": "b" }, "value": [1000, "0.05"] }]);
    let mut rate = data("vector", result);
    rate["infos"] = json!([info]);
    check("rate(m{instance=\"b\"}[1m])&time=>1000", rate).await;
}

#[tokio::test]
async fn a_range_query_answers_a_matrix() {
    let get_range = |query: &str| {
        let request = get_query(query);
        let uri = request.uri().to_string().replace("/query?", "/query_range?");
        Request::get(uri).body(Body::empty()).unwrap()
    };
    let check = async |query: &str, expected: Value| {
        let (status, text) = ask(router(Limits::of(QueryLimits::default())), get_range(query)).await;
        let body: Value = serde_json::from_str(&text.unwrap()).unwrap();
        let expected = json!({ "status": "success", "data": { "resultType": "matrix", "result": expected } });
        assert_eq!((status, body), (200, expected), "{query}");
    };
    let times = "start=>980&end=>1000&step=>10";
    check(&format!("sum(m)&{times}"), json!([{ "metric": {}, "values": [[980, "98"], [990, "99"], [1000, "100"]] }]))
        .await;
    check(&format!("gone&{times}"), {
        json!([{ "metric": { "__name__": "gone", "instance": "a" }, "values": [[980, "1"]] }])
    })
    .await;
    check(
        &format!("time()&{times}"),
        json!([{ "metric": {}, "values": [[980, "980"], [990, "990"], [1000, "1000"]] }]),
    )
    .await;

    let refused = async |query: &str, expected: &str| {
        let (status, text) = ask(router(Limits::of(QueryLimits::default())), get_range(query)).await;
        let body: Value = serde_json::from_str(&text.unwrap()).unwrap();
        assert_eq!((status, body["errorType"].as_str()), (400, Some("bad_data")), "{query}");
        assert!(body["error"].as_str().unwrap().contains(expected), "{query}: {body}");
    };
    refused(&format!("m[1m]&{times}"), "invalid expression type \"range vector\" for range query").await;
    refused("m&start=>1&end=>0&step=>1", "at or after the start").await;
    refused("m&start=>0&end=>11000&step=>1", "more than 11,000 points").await;
    refused("m&start=>0&end=>1&step=>0", "\"step\": \"0\" is not a duration").await;
    refused("m&start=>0&end=>1", "parameter \"step\" is missing").await;
}

#[tokio::test]
async fn stats_are_told_when_asked_for() {
    let (_, text) = ask(router(Limits::of(QueryLimits::default())), get_query("sum(m)&time=>1000&stats=>all")).await;
    let body: Value = serde_json::from_str(&text.unwrap()).unwrap();
    let stats = &body["data"]["stats"];
    // 5 minutes of two series, open at the left.
    assert_eq!(stats["samples"]["totalQueryableSamples"], 60, "{stats}");
    assert!(stats["timings"]["evalTotalTime"].is_f64(), "{stats}");
}

#[tokio::test]
async fn a_query_is_written_best() {
    let request = Request::get("/api/v1/format_query?query=sum(rate(m[5m]))by(a)").body(Body::empty()).unwrap();
    let (status, text) = ask(router(Limits::of(QueryLimits::default())), request).await;
    let expected = r#"{"data":"sum by (a) (rate(m[5m]))","status":"success"}"#;
    assert_eq!((status, text.unwrap().as_str()), (200, expected));
}

#[tokio::test]
async fn large_answers_are_streamed_and_cut_when_they_fail() {
    let streaming = Limits { sorted_samples: 1, chunk_bytes: 1, ..Limits::of(QueryLimits::default()) };
    let (status, text) = ask(router(streaming), get_query("{instance=~\".+\"}[10m]")).await;
    let body: Value = serde_json::from_str(&text.unwrap()).unwrap();
    assert_eq!((status, body["data"]["result"].as_array().unwrap().len()), (200, 5));

    // The first two series are on their way when the third is one too many.
    let too_many = Limits { series: 2, ..streaming };
    let (status, text) = ask(router(too_many), get_query("{instance=~\".+\"}[10m]")).await;
    assert_eq!((status, text.is_err()), (200, true), "cut, not ended");
}
