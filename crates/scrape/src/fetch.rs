//! Gets a page over HTTP/1.1, with buffers that belong to workers: a kept connection costs its socket and no more.
//!
//! Source: RFC 9112; what is asked for and accepted follows Prometheus 3 `scrape/scrape.go`.

mod access;
mod count;
mod files;
mod gzip;
mod proxy;
mod request;
mod response;
mod tls;
mod tunnel;
mod url;

use std::io;
use std::path::PathBuf;

use firetower_daemon::{Connector, Stream};

pub(crate) use count::PageLimits;
pub(crate) use files::Stamp;
pub(crate) use gzip::Inflater;
pub use proxy::EnvironmentProxies;
pub(crate) use request::{Request, Wanted};
pub(crate) use response::{Body, Fetched};
pub use tls::Tls;
pub(crate) use url::Url;

use self::access::{Accesses, Keys};
use self::request::{Route, SharedLines};
use self::response::{Exchange, read_response};
use crate::buffers::Buffers;
use crate::error::Error;

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 10;

/// Gets pages; clones share the configuration.
#[derive(Clone, Debug)]
pub struct Client {
    connector: Connector,
    accesses: Accesses,
    shared_lines: SharedLines,
}

/// A connection that is kept for the next request.
pub(crate) struct Connection {
    stream: Stream,
    /// Of the certificates and keys that it was made with.
    tls_version: u64,
}

impl Client {
    /// Makes a client of a way to connect and a way to check certificates.
    pub fn new(connector: Connector, tls: Tls) -> Client {
        Client::of_folder(connector, tls, PathBuf::new(), EnvironmentProxies::default())
    }

    /// Makes a client that looks for files of secrets under `folder`, and knows the proxies of an environment.
    pub fn of_folder(connector: Connector, tls: Tls, folder: PathBuf, environment: EnvironmentProxies) -> Client {
        let accesses = Accesses::new(tls, folder, environment);
        Client { connector, accesses, shared_lines: SharedLines::default() }
    }

    /// Makes a request ready to be sent; it shares with others what it can.
    pub(crate) fn prepare(&self, wanted: &Wanted<'_>) -> Result<Request, Error> {
        let url = Url::parse(wanted.url)?;
        let access = self.accesses.of(wanted.http)?;
        Ok(Request::new(url, access, self.shared_lines.of(wanted), wanted.timeout))
    }

    /// Gets a page within `limits` and the request's timeout.
    ///
    /// Uses the connection in `kept` and leaves one there if it can be used again. A kept connection that turns out
    /// dead is replaced once.
    pub(crate) async fn get(
        &self,
        kept: &mut Option<Connection>,
        request: &Request,
        limits: PageLimits,
        buffers: &Buffers,
    ) -> Result<Fetched, Error> {
        let timeout = request.timeout;
        tokio::time::timeout(timeout, self.follow(kept, request, limits, buffers))
            .await
            .unwrap_or(Err(Error::Timeout { timeout }))
    }

    async fn follow(
        &self,
        kept: &mut Option<Connection>,
        request: &Request,
        limits: PageLimits,
        buffers: &Buffers,
    ) -> Result<Fetched, Error> {
        let keys = request.access.keys()?;
        let (mut exchange, connection) = self.exchange(kept.take(), request, &keys, limits, buffers).await?;
        *kept = connection;
        if !request.access.follows_redirects() {
            return exchange.finish(limits);
        }
        let mut hop;
        let mut last = request;
        for _ in 0..REDIRECTS_MAX {
            let Some(location) = exchange.location.take() else { return exchange.finish(limits) };
            hop = last.redirected(last.url.join(&location)?, &request.url);
            drop(exchange);
            (exchange, _) = Box::pin(self.exchange(None, &hop, &keys, limits, buffers)).await?;
            last = &hop;
        }
        if exchange.location.is_some() {
            Err(Error::Redirects { most: REDIRECTS_MAX })
        } else {
            exchange.finish(limits)
        }
    }

    /// Sends a request over the kept connection or a new one, and reads the answer.
    async fn exchange(
        &self,
        kept: Option<Connection>,
        request: &Request,
        keys: &Keys,
        limits: PageLimits,
        buffers: &Buffers,
    ) -> Result<(Exchange, Option<Connection>), Error> {
        if let Some(connection) = kept.filter(|kept| kept.tls_version == keys.tls.version) {
            match send(connection, request, keys, limits, buffers).await {
                Err(Error::Closed { .. }) => {}
                result => return result,
            }
        }
        // Boxed, since every target waits with room for all of this, and connects once.
        let anew = async {
            let connection = Connection { stream: self.connect(request, keys).await?, tls_version: keys.tls.version };
            send(connection, request, keys, limits, buffers).await
        };
        Box::pin(anew).await
    }

    /// Connects to the server, or to the proxy before it.
    async fn connect(&self, request: &Request, keys: &Keys) -> Result<Stream, Error> {
        let url = &request.url;
        match &request.route {
            Route::Direct => self.reach(url, keys).await,
            Route::Forward(proxy) => self.reach(&proxy.url, keys).await,
            Route::Tunnel(proxy) => {
                let mut stream = self.reach(&proxy.url, keys).await?;
                tunnel::open(&mut stream, proxy, url.address(), keys).await?;
                keys.tls.connect(url.host(), stream).await
            }
        }
    }

    async fn reach(&self, url: &Url, keys: &Keys) -> Result<Stream, Error> {
        let address = url.address();
        let stream = self
            .connector
            .connect(address)
            .await
            .map_err(|source| Error::Connect { address: address.into(), source })?;
        if url.is_tls() { keys.tls.connect(url.host(), stream).await } else { Ok(stream) }
    }
}

/// Sends a request and reads the answer; hands the connection back if it can be used again.
async fn send(
    mut connection: Connection,
    request: &Request,
    keys: &Keys,
    limits: PageLimits,
    buffers: &Buffers,
) -> Result<(Exchange, Option<Connection>), Error> {
    let stream = &mut connection.stream;
    request.send(stream, keys).await.map_err(|source: io::Error| Error::Closed { source })?;
    let exchange = read_response(stream, limits, buffers).await?;
    let connection = exchange.is_reusable.then_some(connection);
    Ok((exchange, connection))
}

#[cfg(test)]
mod tests;
