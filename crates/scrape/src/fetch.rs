//! Gets a page over HTTP/1.1, with buffers that belong to workers: a kept connection costs its socket and no more.
//!
//! Source: RFC 9112; what is asked for and accepted follows Prometheus 3 `scrape/scrape.go`.

mod gzip;
mod response;
mod tls;
mod url;

use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use firetower_daemon::{Connector, Stream};
use tokio::io::AsyncWriteExt;

pub(crate) use gzip::Inflater;
pub(crate) use response::{Body, Fetched};
pub use tls::Tls;
pub(crate) use url::Url;

use self::response::{Exchange, read_response};
use crate::buffers::Buffers;
use crate::error::Error;

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 10;

/// Gets pages; clones share the configuration.
#[derive(Clone, Debug)]
pub struct Client {
    connector: Connector,
    tls: Tls,
}

/// A request, ready to be sent again and again.
#[derive(Debug)]
pub(crate) struct Request {
    url: Url,
    bytes: Vec<u8>,
    accept: Arc<str>,
    timeout: Duration,
}

impl Request {
    /// Makes one for what `accept` asks for.
    pub(crate) fn new(url: Url, accept: Arc<str>, timeout: Duration) -> Request {
        let mut head = String::new();
        let (version, seconds) = (env!("CARGO_PKG_VERSION"), timeout.as_secs_f64());
        write!(
            head,
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Firetower/{version}\r\nAccept: {accept}\r\n\
             Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: {seconds}\r\n\r\n",
            url.path(),
            url.authority(),
        )
        .expect("writing to a string cannot fail");
        Request { url, bytes: head.into_bytes(), accept, timeout }
    }
}

impl Client {
    /// Makes a client of a way to connect and a way to check certificates.
    pub fn new(connector: Connector, tls: Tls) -> Client {
        Client { connector, tls }
    }

    /// Gets a page of at most `limit` bytes, inflated, within the request's timeout.
    ///
    /// Uses the connection in `kept` and leaves one there if it can be used again. A kept connection that turns out
    /// dead is replaced once.
    pub(crate) async fn get(
        &self,
        kept: &mut Option<Stream>,
        request: &Request,
        limit: usize,
        buffers: &Buffers,
    ) -> Result<Fetched, Error> {
        let timeout = request.timeout;
        tokio::time::timeout(timeout, self.follow(kept, request, limit, buffers))
            .await
            .unwrap_or(Err(Error::Timeout { timeout }))
    }

    async fn follow(
        &self,
        kept: &mut Option<Stream>,
        request: &Request,
        limit: usize,
        buffers: &Buffers,
    ) -> Result<Fetched, Error> {
        let (mut exchange, stream) = self.exchange(kept.take(), request, limit, buffers).await?;
        *kept = stream;
        let mut hop;
        let mut url = &request.url;
        for _ in 0..REDIRECTS_MAX {
            let Some(location) = exchange.location.take() else { return exchange.finish(limit) };
            hop = Request::new(url.join(&location)?, Arc::clone(&request.accept), request.timeout);
            drop(exchange);
            (exchange, _) = self.exchange(None, &hop, limit, buffers).await?;
            url = &hop.url;
        }
        if exchange.location.is_some() { Err(Error::Redirects { most: REDIRECTS_MAX }) } else { exchange.finish(limit) }
    }

    /// Sends a request over the kept connection or a new one, and reads the answer.
    async fn exchange(
        &self,
        kept: Option<Stream>,
        request: &Request,
        limit: usize,
        buffers: &Buffers,
    ) -> Result<(Exchange, Option<Stream>), Error> {
        if let Some(stream) = kept {
            match send(stream, request, limit, buffers).await {
                Err(Error::Closed { .. }) => {}
                result => return result,
            }
        }
        let stream = self.connect(&request.url).await?;
        send(stream, request, limit, buffers).await
    }

    async fn connect(&self, url: &Url) -> Result<Stream, Error> {
        let address = url.address();
        let stream = self
            .connector
            .connect(address)
            .await
            .map_err(|source| Error::Connect { address: address.into(), source })?;
        if url.is_tls() { self.tls.connect(url.host(), stream).await } else { Ok(stream) }
    }
}

/// Sends a request and reads the answer; hands the connection back if it can be used again.
async fn send(
    mut stream: Stream,
    request: &Request,
    limit: usize,
    buffers: &Buffers,
) -> Result<(Exchange, Option<Stream>), Error> {
    let closed = |source: io::Error| Error::Closed { source };
    stream.write_all(&request.bytes).await.map_err(closed)?;
    stream.flush().await.map_err(closed)?;
    let exchange = read_response(&mut stream, limit, buffers).await?;
    let stream = exchange.is_reusable.then_some(stream);
    Ok((exchange, stream))
}

#[cfg(test)]
mod tests;
