//! Asking a monitor.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use ureq::Agent;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How large an answer may be.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// A monitor's HTTP API.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    /// Asks at `url`, such as `http://127.0.0.1:6110`.
    pub(crate) fn new(url: &str) -> Client {
        Client::with_timeout(url, TIMEOUT)
    }

    /// Asks at `url` and gives up after `timeout`.
    pub(crate) fn with_timeout(url: &str, timeout: Duration) -> Client {
        let config = Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).build();
        Client { agent: config.into(), url: url.trim_end_matches('/').to_owned() }
    }

    /// Returns the status code and the text at `path`.
    ///
    /// # Errors
    /// If nobody answers.
    pub(crate) fn text(&self, path: &str, params: &[(&str, &str)]) -> anyhow::Result<(u16, String)> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{query}", self.url);
        let mut response = self.agent.get(&url).call().with_context(|| format!("ask {url}"))?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        Ok((response.status().as_u16(), body.with_context(|| format!("read the answer of {url}"))?))
    }

    /// Returns the JSON at `path`.
    ///
    /// # Errors
    /// If nobody answers, or with an error, whose own words it has then.
    pub(crate) fn json(&self, path: &str, params: &[(&str, &str)]) -> anyhow::Result<Value> {
        let (status, text) = self.text(path, params)?;
        let body: Option<Value> = serde_json::from_str(&text).ok();
        match body {
            Some(body) if status == 200 => Ok(body),
            Some(body) => bail!("{}{path} answers {status}: {}", self.url, body["error"].as_str().unwrap_or(&text)),
            None if status == 404 => bail!("{} does not serve {path}: is it another kind of monitor?", self.url),
            None => bail!("{}{path} answers {status}, not JSON: {}", self.url, text.lines().next().unwrap_or_default()),
        }
    }
}
