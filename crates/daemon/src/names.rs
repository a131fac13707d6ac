//! Names and their records, in a form that a simulated network can stand in for.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use firetower_model::DnsKind;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};

type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<NameRecord>>> + Send>>;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameRecord {
    /// An address, or a name as DNS writes it, with a dot at its end.
    pub host: String,
    /// Its port, where the record has one.
    pub port: Option<u16>,
}

/// Looks names up; clones share the configuration.
#[derive(Clone)]
pub struct Names(Arc<dyn Fn(String, DnsKind) -> Looking + Send + Sync>);

impl Names {
    /// Asks the servers of `/etc/resolv.conf`, which is read at each lookup, with its search path.
    pub fn system() -> Names {
        Names::new(|name, kind| async move {
            // Reading the file again costs little beside the lookup, and takes its changes up.
            let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
            look(resolver.map_err(io::Error::other)?, &name, kind).await
        })
    }

    /// Asks these servers, by UDP and, where an answer is too long for that, by TCP.
    pub fn of_servers(servers: &[SocketAddr]) -> Names {
        let servers = servers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        Names::new(move |name, kind| {
            let config = config.clone();
            async move {
                let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
                // Nothing is asked twice before its records may have changed.
                builder.options_mut().cache_size = 0;
                look(builder.build().map_err(io::Error::other)?, &name, kind).await
            }
        })
    }

    /// Makes them of a function from a name and the kind of records wanted.
    pub fn new<F>(look: impl Fn(String, DnsKind) -> F + Send + Sync + 'static) -> Names
    where
        F: Future<Output = io::Result<Vec<NameRecord>>> + Send + 'static,
    {
        Names(Arc::new(move |name, kind| Box::pin(look(name, kind))))
    }

    /// Returns the records of a name in order; a name without such records, or that does not exist, has none.
    ///
    /// # Errors
    /// If no server says so.
    pub async fn lookup(&self, name: &str, kind: DnsKind) -> io::Result<Vec<NameRecord>> {
        let mut records = (self.0)(name.to_owned(), kind).await?;
        records.sort();
        records.dedup();
        Ok(records)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

async fn look(resolver: TokioResolver, name: &str, kind: DnsKind) -> io::Result<Vec<NameRecord>> {
    let kind = match kind {
        DnsKind::Srv => RecordType::SRV,
        DnsKind::A => RecordType::A,
        DnsKind::Aaaa => RecordType::AAAA,
        DnsKind::Mx => RecordType::MX,
        DnsKind::Ns => RecordType::NS,
    };
    let found = match resolver.lookup(name, kind).await {
        Ok(found) => found,
        Err(error) if is_empty_answer(&error) => return Ok(Vec::new()),
        Err(error) => return Err(io::Error::other(error)),
    };
    let record = |data: &RData| match data {
        RData::SRV(srv) => Some((srv.target.to_utf8(), Some(srv.port))),
        RData::A(address) => Some((address.to_string(), None)),
        RData::AAAA(address) => Some((address.to_string(), None)),
        RData::MX(mx) => Some((mx.exchange.to_utf8(), None)),
        RData::NS(server) => Some((server.to_utf8(), None)),
        _ => None,
    };
    let records = found.answers().iter().filter(|answer| answer.record_type() == kind);
    Ok(records.filter_map(|answer| record(&answer.data)).map(|(host, port)| NameRecord { host, port }).collect())
}

/// Tells whether a server said that there is nothing, rather than that it could not say.
fn is_empty_answer(error: &NetError) -> bool {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else { return false };
    matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

#[cfg(test)]
mod tests;
