//! Connections that come in over TLS.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::certificates::dns_names;
use super::refusal::{At, Reason, Refusal};
use super::{Port, Security};
use crate::net::{Accept, Accepting, Peer, Stream};

/// Handshakes under way at once; one more crowds out the oldest, so that who is slow keeps nobody out.
const HANDSHAKES_MAX: usize = 512;
/// How long a handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// What is looked at to tell TLS from plain text.
const HEAD_BYTES: usize = 1_024;
/// The first byte of a TLS connection: the record type of a handshake.
const HANDSHAKE_RECORD: u8 = 22;
/// How much of plain text is read over, and for how long, so that its sender hears the answer.
const PLAIN_BYTES_MAX: u64 = 64 << 10;
const PLAIN_LIMIT: Duration = Duration::from_secs(1);

/// Takes connections of another listener, and hands on those with which keys were agreed on.
pub(super) struct TlsAccept {
    listener: Box<dyn Accept>,
    security: Security,
    port: Port,
    handshakes: JoinSet<Option<(Stream, Peer)>>,
    oldest: VecDeque<AbortHandle>,
}

impl TlsAccept {
    pub(super) fn new(listener: Box<dyn Accept>, security: Security, port: Port) -> TlsAccept {
        TlsAccept { listener, security, port, handshakes: JoinSet::new(), oldest: VecDeque::new() }
    }

    fn start(&mut self, stream: Stream, peer: Peer) {
        while self.oldest.front().is_some_and(AbortHandle::is_finished) {
            self.oldest.pop_front();
        }
        if self.handshakes.len() >= HANDSHAKES_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            oldest.abort();
            self.security.0.refusals.count(self.port.into(), Reason::CrowdedOut);
        }
        let handshake = self.handshakes.spawn(admit(self.security.clone(), self.port, stream, peer));
        self.oldest.push_back(handshake);
    }
}

impl Accept for TlsAccept {
    fn accept(&mut self) -> Accepting<'_> {
        Box::pin(async {
            loop {
                tokio::select! {
                    biased;
                    Some(ended) = self.handshakes.join_next(), if !self.handshakes.is_empty() => {
                        if let Ok(Some(admitted)) = ended {
                            return Ok(admitted);
                        }
                    }
                    accepted = self.listener.accept() => {
                        let (stream, peer) = accepted?;
                        self.start(stream, peer);
                    }
                }
            }
        })
    }
}

/// Agrees on keys with `peer`, or counts and says why not.
async fn admit(security: Security, port: Port, stream: Stream, peer: Peer) -> Option<(Stream, Peer)> {
    let shaken = timeout(HANDSHAKE_LIMIT, shake(&security, port, stream)).await;
    let refusal = match shaken {
        Ok(Ok((stream, names))) => return Some((stream, Peer { names, ..peer })),
        Ok(Err(Fault::Broken(error))) => {
            tracing::debug!(peer = peer.address, %error, "connection broke in its handshake");
            return None;
        }
        Ok(Err(Fault::Refused(refusal))) => refusal,
        Err(_) => Refusal::new(Reason::Silent, format!("no handshake within {} s", HANDSHAKE_LIMIT.as_secs())),
    };
    security.0.refusals.say(At::from(port), &peer.address, &refusal);
    None
}

enum Fault {
    /// The far side has gone, which is nothing to complain about.
    Broken(io::Error),
    Refused(Refusal),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Refusal::of(&error).map_or(Fault::Broken(error), Fault::Refused)
    }
}

type Names = Option<Arc<[String]>>;

async fn shake(security: &Security, port: Port, stream: Stream) -> Result<(Stream, Names), Fault> {
    let mut stream = BufReader::with_capacity(HEAD_BYTES, stream);
    match stream.fill_buf().await?.first() {
        None => return Err(Fault::Broken(io::ErrorKind::UnexpectedEof.into())),
        Some(&HANDSHAKE_RECORD) => {}
        Some(_) => {
            // Whether it hears the answer changes nothing.
            let _ = timeout(PLAIN_LIMIT, answer_plain(&mut stream, port)).await;
            let who = if port == Port::Grpc { "give its topology the same tls" } else { "ask by https" };
            return Err(Fault::Refused(Refusal::new(Reason::PlainText, format!("it speaks no TLS: {who}"))));
        }
    }
    let certificates = security.0.certificates.as_ref().map(|certificates| certificates.current());
    let config = certificates.and_then(|certificates| certificates.server(port));
    let config =
        config.ok_or_else(|| Fault::Broken(io::Error::other("no ca_file says whose certificates are good")))?;
    let stream = TlsAcceptor::from(config).accept(stream).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let names = shown.map(|certificate| Arc::from(dns_names(certificate)));
    Ok((Box::new(stream), names))
}

/// Tells whoever speaks plain text that this port takes TLS only, in the words of what it seems to speak.
async fn answer_plain(stream: &mut BufReader<Stream>, port: Port) -> io::Result<()> {
    let answer = match port {
        Port::Http => https_only(),
        Port::Grpc => go_away(b"this port takes TLS only: give this node's topology the same tls as its parent's"),
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    // Closing with bytes unread would reset the connection, and the answer might be lost.
    tokio::io::copy(&mut stream.take(PLAIN_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}

fn https_only() -> Vec<u8> {
    let body = r#"{"status":"error","errorType":"bad_data","error":"this port speaks TLS only: ask by https"}"#;
    let length = body.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Returns the frames of HTTP/2 that end a connection, with `why`: empty settings, then GOAWAY with `INADEQUATE_SECURITY`.
///
/// Source: RFC 9113, 6.5, 6.8 and 7.
fn go_away(why: &[u8]) -> Vec<u8> {
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    const INADEQUATE_SECURITY: u32 = 0xc;
    let head = |length: usize, kind: u8| {
        let length = (length as u32).to_be_bytes();
        [length[1], length[2], length[3], kind, 0, 0, 0, 0, 0]
    };
    let mut frames = head(0, SETTINGS).to_vec();
    frames.extend(head(8 + why.len(), GOAWAY));
    frames.extend(0_u32.to_be_bytes());
    frames.extend(INADEQUATE_SECURITY.to_be_bytes());
    frames.extend(why);
    frames
}
