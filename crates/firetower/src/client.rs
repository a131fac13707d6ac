//! Asking a monitor.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::access::Access;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How large an answer may be.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// A monitor's HTTP API.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    url: String,
    /// What stands in `Authorization`.
    authorization: Option<String>,
}

impl Client {
    /// Asks as `access` says.
    ///
    /// # Errors
    /// If a file that it names cannot be read.
    pub(crate) fn new(access: &Access) -> anyhow::Result<Client> {
        Client::with_timeout(access, TIMEOUT)
    }

    /// Asks as `access` says, and gives up after `timeout`.
    ///
    /// # Errors
    /// If a file that it names cannot be read.
    pub(crate) fn with_timeout(access: &Access, timeout: Duration) -> anyhow::Result<Client> {
        let mut config = Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false);
        if access.url.starts_with("https:") {
            let roots = RootCerts::from(authorities(access.ca.as_deref())?);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Client {
            agent: config.build().into(),
            url: access.url.trim_end_matches('/').to_owned(),
            authorization: access.token()?.map(|token| format!("Bearer {token}")),
        })
    }

    /// Returns the status code and the text at `path`.
    ///
    /// # Errors
    /// If nobody answers.
    pub(crate) fn text(&self, path: &str, params: &[(&str, &str)]) -> anyhow::Result<(u16, String)> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{query}", self.url);
        let mut request = self.agent.get(&url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.call().with_context(|| format!("ask {url}"))?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        Ok((response.status().as_u16(), body.with_context(|| format!("read the answer of {url}"))?))
    }

    /// Posts `body` to `path`, and returns the JSON that comes back.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let mut request = self.agent.post(&url).header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.send(body.to_string()).with_context(|| format!("ask {url}"))?;
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.with_context(|| format!("read the answer of {url}"))?;
        self.answer(path, response.status().as_u16(), &text)
    }

    /// Returns the JSON at `path`.
    ///
    /// # Errors
    /// If nobody answers, or with an error, whose own words it has then.
    pub(crate) fn json(&self, path: &str, params: &[(&str, &str)]) -> anyhow::Result<Value> {
        let (status, text) = self.text(path, params)?;
        self.answer(path, status, &text)
    }

    fn answer(&self, path: &str, status: u16, text: &str) -> anyhow::Result<Value> {
        let body: Option<Value> = serde_json::from_str(text).ok();
        match body {
            Some(body) if status == 200 => Ok(body),
            Some(body) => {
                let error = body["error"].as_str().unwrap_or(text);
                let advice = match status {
                    401 | 403 => "; give --topology FILE, or --token-file FILE",
                    400 if error.contains("TLS only") => {
                        "; give --topology FILE, or --url https://HOST:PORT and --ca FILE"
                    }
                    _ => "",
                };
                bail!("{}{path} answers {status}: {error}{advice}", self.url)
            }
            None if status == 404 => bail!("{} does not serve {path}: is it another kind of monitor?", self.url),
            None => bail!("{}{path} answers {status}, not JSON: {}", self.url, text.lines().next().unwrap_or_default()),
        }
    }
}

/// Reads the authorities in a file, or else those of the system.
fn authorities(ca: Option<&Path>) -> anyhow::Result<Vec<Certificate<'static>>> {
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs().certs;
        return Ok(found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect());
    };
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.with_context(|| format!("read {}", path.display()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(certificates)
}
