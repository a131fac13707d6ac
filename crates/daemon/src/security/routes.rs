//! Requests that only bearers of tokens may make.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::Security;
use super::tokens::Right;

/// Whoever watches that a process lives needs no token.
const OPEN: [&str; 2] = ["/-/healthy", "/-/ready"];
/// What is asked by `POST` where a question is too long for a URL, and changes nothing.
const QUESTIONS: [&str; 6] = [
    "/api/v1/query",
    "/api/v1/query_range",
    "/api/v1/format_query",
    "/api/v1/spans",
    "/api/v1/series",
    "/api/v1/labels",
];

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    NoToken,
    UnknownToken,
    NotAllowed,
}

impl Denial {
    pub(super) const ALL: [Denial; 3] = [Denial::NoToken, Denial::UnknownToken, Denial::NotAllowed];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Denial::NoToken => "no_token",
            Denial::UnknownToken => "unknown_token",
            Denial::NotAllowed => "not_allowed",
        }
    }

    /// Returns the status, the word for the kind of error, what to do, and the challenge of RFC 6750, 3.
    fn answer(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            Denial::NoToken => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "a bearer token is needed: Authorization: Bearer TOKEN",
                r#"Bearer realm="firetower""#,
            ),
            Denial::UnknownToken => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "the bearer token is not known here",
                r#"Bearer realm="firetower", error="invalid_token""#,
            ),
            Denial::NotAllowed => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "the bearer token may only read: this takes one that may operate",
                r#"Bearer realm="firetower", error="insufficient_scope""#,
            ),
        }
    }
}

/// Counts refused requests by reason.
#[derive(Debug, Default)]
pub(super) struct Denials([AtomicU64; Denial::ALL.len()]);

impl Denials {
    pub(super) fn get(&self, denial: Denial) -> u64 {
        self.0[denial as usize].load(Ordering::Relaxed)
    }
}

pub(super) fn protect(router: Router, security: Security) -> Router {
    router.layer(from_fn_with_state(security, check))
}

async fn check(State(security): State<Security>, request: Request, next: Next) -> Response {
    let right = needed(request.method(), request.uri().path());
    match right.map_or(Ok(()), |right| security.allow(request.headers(), right)) {
        Ok(()) => next.run(request).await,
        Err(denial) => {
            security.0.denials.0[denial as usize].fetch_add(1, Ordering::Relaxed);
            tracing::debug!(reason = denial.as_str(), path = request.uri().path(), "request refused");
            let (status, kind, text, challenge) = denial.answer();
            let body = format!(r#"{{"status":"error","errorType":"{kind}","error":"{text}"}}"#);
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::WWW_AUTHENTICATE, challenge)];
            (status, headers, body).into_response()
        }
    }
}

/// Returns the right that a request takes; `None` if anybody may make it.
fn needed(method: &Method, path: &str) -> Option<Right> {
    let is_question = method == Method::POST && QUESTIONS.contains(&path);
    if is_question || method == Method::GET || method == Method::HEAD {
        if OPEN.contains(&path) { None } else { Some(Right::Read) }
    } else {
        Some(Right::Operate)
    }
}

impl Security {
    fn allow(&self, headers: &HeaderMap, needed: Right) -> Result<(), Denial> {
        let Some(tokens) = &self.0.tokens else { return Ok(()) };
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        let right = tokens.current().right_of(shown.ok_or(Denial::NoToken)?).ok_or(Denial::UnknownToken)?;
        if needed <= right { Ok(()) } else { Err(Denial::NotAllowed) }
    }
}

/// Returns the token of `Bearer TOKEN`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_are_for_those_who_read() {
        let check =
            |method: Method, path: &str, expected| assert_eq!(needed(&method, path), expected, "{method} {path}");
        check(Method::GET, "/-/healthy", None);
        check(Method::HEAD, "/-/ready", None);
        check(Method::GET, "/metrics", Some(Right::Read));
        check(Method::GET, "/-/ready/", Some(Right::Read));
        check(Method::POST, "/api/v1/query", Some(Right::Read));
        check(Method::POST, "/api/v1/series", Some(Right::Read));
        check(Method::POST, "/api/v1/query_range", Some(Right::Read));
        check(Method::POST, "/api/v1/write", Some(Right::Operate));
        check(Method::POST, "/-/reload", Some(Right::Operate));
        check(Method::POST, "/-/ready", Some(Right::Operate));
        check(Method::DELETE, "/api/v1/query", Some(Right::Operate));
        check(Method::PUT, "/api/v1/anything", Some(Right::Operate));
    }

    #[test]
    fn a_bearer_shows_its_token() {
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(bearer(value.as_bytes()), expected.map(str::as_bytes), "{value}");
        };
        check("Bearer abc", Some("abc"));
        check("bearer  abc ", Some("abc"));
        check("Bearer ", None);
        check("Bearer", None);
        check("Basic abc", None);
    }
}
