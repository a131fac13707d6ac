//! What is sent, ready to be sent again and again: bytes of its own for each target, the rest shared.

use std::collections::HashSet;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use firetower_daemon::Stream;
use firetower_model::HttpAccess;
use tokio::io::AsyncWriteExt;

use super::access::{Access, Keys};
use super::proxy::Proxy;
use super::url::Url;

/// What is wanted of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) url: &'a str,
    pub(crate) http: &'a HttpAccess,
    /// The value of `Accept`.
    pub(crate) accept: &'a str,
    /// Whether the answer may be compressed.
    pub(crate) is_compressed: bool,
    /// Tells the server about a time, of which the seconds are sent under this name.
    pub(crate) notice: (&'static str, Duration),
    pub(crate) timeout: Duration,
}

impl Wanted<'_> {
    /// Returns the header lines that are the same for all targets of a job.
    fn lines(&self) -> String {
        let (version, (name, time)) = (env!("CARGO_PKG_VERSION"), self.notice);
        let encoding = if self.is_compressed { "gzip" } else { "identity" };
        format!(
            "User-Agent: Firetower/{version}\r\nAccept: {}\r\nAccept-Encoding: {encoding}\r\n{name}: {}\r\n",
            self.accept,
            time.as_secs_f64(),
        )
    }
}

/// Header lines that requests share; clones share them too.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedLines(Arc<Mutex<HashSet<Arc<str>>>>);

impl SharedLines {
    pub(super) fn of(&self, wanted: &Wanted<'_>) -> Arc<str> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = wanted.lines();
        if let Some(shared) = known.get(lines.as_str()) {
            return Arc::clone(shared);
        }
        known.retain(|lines| Arc::strong_count(lines) > 1);
        let shared: Arc<str> = lines.into();
        known.insert(Arc::clone(&shared));
        shared
    }
}

/// What stands between here and the server.
#[derive(Clone, Debug)]
pub(super) enum Route {
    Direct,
    /// The proxy asks the server itself.
    Forward(Arc<Proxy>),
    /// The proxy connects, and sees nothing of what is said.
    Tunnel(Arc<Proxy>),
}

/// A request, ready to be sent again and again.
#[derive(Debug)]
pub(crate) struct Request {
    pub(super) url: Url,
    pub(super) route: Route,
    pub(super) access: Arc<Access>,
    pub(super) timeout: Duration,
    /// The request line and what else only this target's requests have.
    head: Box<[u8]>,
    pub(super) shared: Arc<str>,
    /// Whether the server is the one that secrets are for.
    is_trusted: bool,
}

impl Request {
    pub(super) fn new(url: Url, access: Arc<Access>, shared: Arc<str>, timeout: Duration) -> Request {
        let route = match access.proxies.of(&url) {
            None => Route::Direct,
            Some(proxy) if url.is_tls() => Route::Tunnel(Arc::clone(proxy)),
            Some(proxy) => Route::Forward(Arc::clone(proxy)),
        };
        let (path, authority) = (url.path(), url.authority());
        let head = match &route {
            Route::Forward(proxy) => {
                format!("GET http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\n{}", proxy.authorization)
            }
            Route::Direct | Route::Tunnel(_) => format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n"),
        };
        let head = head.into_bytes().into_boxed_slice();
        Request { url, route, access, timeout, head, shared, is_trusted: true }
    }

    /// Returns the request that a redirect asks for. Once it has led to another host, no secret goes with it.
    pub(super) fn redirected(&self, url: Url, first: &Url) -> Request {
        let is_trusted = self.is_trusted && url.is_trusted_like(first);
        let next = Request::new(url, Arc::clone(&self.access), Arc::clone(&self.shared), self.timeout);
        Request { is_trusted, ..next }
    }

    /// Sends it.
    pub(super) async fn send(&self, stream: &mut Stream, keys: &Keys) -> io::Result<()> {
        let confidential = if self.is_trusted { &keys.confidential[..] } else { &[] };
        let parts = [&self.head[..], self.shared.as_bytes(), confidential, &keys.headers, b"\r\n"];
        let mut parts = parts.map(IoSlice::new);
        let mut parts = &mut parts[..];
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match stream.write_vectored(parts).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut parts, count),
            }
        }
        stream.flush().await
    }
}
