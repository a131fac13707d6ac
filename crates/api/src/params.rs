//! Parameters of a request, from its URL and its form.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode, header};
use axum::response::IntoResponse;
use firetower_model::{TimeRange, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;

use crate::error::Error;

/// How long a form may take to come.
const FORM_LIMIT: Duration = Duration::from_secs(10);

/// The parameters of one request; of two with one name the first counts, an empty one counts as absent.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `a=1&b=2`, in the URL's own encoding.
    pub(crate) fn parse(text: &str) -> Params {
        Params(form_urlencoded::parse(text.as_bytes()).into_owned().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// Returns the value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(at, _)| at == name).map(|(_, value)| value.as_str())
    }

    /// Returns all values of `name`.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(at, _)| at == name).map(|(_, value)| value.as_str())
    }

    /// Refuses parameters that are not among `known`: a misspelt filter must not look like an answer.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Error> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(Error::UnknownParameter { name: name.clone(), known: known.join(", ") }),
        }
    }

    /// Returns the moment under `name`: RFC 3339 or seconds since the unix epoch.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<Timestamp>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let expected = "a time: RFC 3339, or seconds since the unix epoch";
        parse_time(value).map(Some).ok_or_else(|| Error::Parameter { name, value: value.into(), expected })
    }

    /// Returns the duration under `name`, at least 1 ms: seconds, or as in a query, like `1h30m`.
    pub(crate) fn duration(&self, name: &'static str) -> Result<Option<Duration>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let expected = "a duration of at least 1 ms: seconds, or like 1h30m";
        let duration = parse_duration(value).filter(|duration| duration.as_millis() > 0);
        duration.map(Some).ok_or_else(|| Error::Parameter { name, value: value.into(), expected })
    }

    /// Returns the range from `start` to `end`, `end` not inside; without them the last `length` before `now`.
    pub(crate) fn range(&self, now: Timestamp, length: Duration) -> Result<TimeRange, Error> {
        let end = self.time("end")?.unwrap_or(now);
        let start = self.time("start")?.unwrap_or(end - length);
        if start < end {
            return Ok(TimeRange { start, end });
        }
        let value = self.get("start").unwrap_or_default().into();
        Err(Error::Parameter { name: "start", value, expected: "before the end" })
    }

    /// Returns the whole number under `name`, at most `most`.
    pub(crate) fn count(&self, name: &'static str, default: usize, most: usize) -> Result<usize, Error> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let count = value.parse().ok().filter(|count| *count <= most);
        count.ok_or_else(|| Error::Parameter {
            name,
            value: value.into(),
            expected: "a whole number that is not too large",
        })
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = axum::response::Response;

    /// Reads the URL's parameters, and in front of them those of a POSTed form.
    async fn from_request(request: Request, state: &S) -> Result<Params, Self::Rejection> {
        let in_url = request.uri().query().unwrap_or_default().to_owned();
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_form = content_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
        if request.method() != Method::POST || !is_form {
            return Ok(Params::parse(&in_url));
        }
        let form = timeout(FORM_LIMIT, String::from_request(request, state)).await;
        let form = form.map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the form took too long\n").into_response())?;
        let form = form.map_err(IntoResponse::into_response)?;
        Ok(Params::parse(&format!("{form}&{in_url}")))
    }
}

/// Reads RFC 3339 or seconds since the unix epoch.
fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = (seconds * 1e3).round();
        return (millis.abs() < 9e15).then_some(Timestamp::from_millis(millis as i64));
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Timestamp::from_millis)
}

/// Reads seconds, or numbers with units, largest first.
fn parse_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok().filter(|duration| duration.as_secs() < 1 << 40);
    }
    firetower_topology::parse_duration(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_seconds_or_with_units() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse_duration(text), expected.map(Duration::from_millis), "{text}");
        };
        check("15", Some(15_000));
        check("0.25", Some(250));
        check("1h30m", Some(5_400_000));
        check("1m500ms", Some(60_500));
        check("1d", Some(86_400_000));
        check("30m1h", None);
        check("1h1h", None);
        check("5", Some(5_000));
        check("m", None);
        check("-5", None);
        check("1e300", None);
    }

    #[test]
    fn times_read_as_seconds_or_rfc_3339() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(parse_time(text), expected.map(Timestamp::from_millis), "{text}");
        };
        check("1700000000", Some(1_700_000_000_000));
        check("1700000000.1234", Some(1_700_000_000_123));
        check("-1.5", Some(-1_500));
        check("2023-11-14T22:13:20Z", Some(1_700_000_000_000));
        check("2023-11-14T23:13:20.25+01:00", Some(1_700_000_000_250));
        check("NaN", None);
        check("inf", None);
        check("1e300", None);
        check("yesterday", None);
    }

    #[test]
    fn ranges_end_now_unless_told() {
        let check = |text: &str, expected: Option<(i64, i64)>| {
            let range = Params::parse(text).range(Timestamp::from_millis(1_000_000), Duration::from_secs(300)).ok();
            assert_eq!(range.map(|range| (range.start.as_millis(), range.end.as_millis())), expected, "{text}");
        };
        check("", Some((700_000, 1_000_000)));
        check("end=800", Some((500_000, 800_000)));
        check("start=10&end=20", Some((10_000, 20_000)));
        check("start=20&end=20", None);
        check("start=x", None);
    }

    #[test]
    fn an_unknown_parameter_is_named() {
        let error = Params::parse("datacentre=dub").only(&["datacenter", "limit"]).unwrap_err();
        assert_eq!(error.to_string(), "parameter \"datacentre\" is not known here: known are datacenter, limit");
    }
}
