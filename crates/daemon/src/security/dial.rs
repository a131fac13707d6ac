//! Connections to parents over TLS.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_rustls::TlsConnector;

use super::Security;
use super::refusal::{At, Refusal};
use crate::net::{Connector, Stream};

/// How much of what the parent says first is held.
const HEAD_BYTES: usize = 1_024;

impl Security {
    /// Opens a connection to the parent `node` at `address`, `host:port`.
    pub(super) async fn dial(&self, connector: &Connector, address: &str, node: &str) -> io::Result<Stream> {
        let stream = connector.connect(address).await?;
        self.shake_with_parent(stream, node).await.map_err(|error| {
            let Some(refusal) = Refusal::of(&error) else { return error };
            self.0.refusals.count(At::Parent, refusal.reason);
            io::Error::other(refusal)
        })
    }

    async fn shake_with_parent(&self, stream: Stream, node: &str) -> io::Result<Stream> {
        let certificates = self.0.certificates.as_ref().map(|certificates| certificates.current());
        let config = certificates.and_then(|certificates| certificates.client());
        let config = config.ok_or_else(|| io::Error::other("no ca_file says whose certificates are good"))?;
        let name = ServerName::try_from(node.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        let mut stream = BufReader::with_capacity(HEAD_BYTES, stream);
        // The parent judges our certificate after we have judged its own: that it took it shows in what it says first.
        if stream.fill_buf().await?.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Box::new(stream))
    }
}
