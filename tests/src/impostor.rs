//! A parent in name only: it has the certificate, and then sends a message that is over every limit.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a client of HTTP/2 says first.
const PREFACE_BYTES: usize = 24;
/// Kinds of HTTP/2 frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
/// This is the last frame of headers.
const END_HEADERS: u8 = 4;
/// Status 200, and a content type that follows, as HPACK writes them.
const STATUS_200: u8 = 0x88;
const CONTENT_TYPE: [u8; 2] = [0x0f, 0x10];
/// A client says something within this, or is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes connections in the place of a parent, until it is dropped.
#[derive(Debug)]
pub(crate) struct Impostor {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Impostor {
    /// Listens on a free port of `host`, with the certificate in `certificate` with `.pem`, and the key in it with `-key.pem`.
    ///
    /// # Errors
    /// If the files make no sense, or it cannot listen.
    pub(crate) fn start(host: &str, certificate: &Path) -> Result<Impostor> {
        let path = |end: &str| format!("{}{end}", certificate.display());
        let chain = CertificateDer::pem_file_iter(path(".pem"))?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(path("-key.pem"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (config, listener) = (Arc::new(config), TcpListener::bind((host, 0)).context("listen")?);
        let (address, is_over) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let is_done = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if is_done.load(Ordering::Relaxed) {
                    return;
                }
                let config = Arc::clone(&config);
                // It ends with its connection, which the child ends, and at the latest after some seconds.
                thread::spawn(move || stream.and_then(|stream| boast(stream, config)));
            }
        });
        Ok(Impostor { address, is_over, thread: Some(thread) })
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // One more connection lets it look.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers the first call of a connection with a message of 2 GiB, as far as its head says.
fn boast(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    stream.read_exact(&mut [0; PREFACE_BYTES])?;
    let call = loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        io::copy(&mut (&mut stream).take(size.into()), &mut io::sink())?;
        if head[3] == HEADERS {
            break u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        }
    };
    let content_type = b"application/grpc";
    let headers = [&[STATUS_200][..], &CONTENT_TYPE, &[content_type.len() as u8], content_type].concat();
    stream.write_all(&frame(HEADERS, END_HEADERS, call, &headers))?;
    // Not compressed, and so long.
    stream.write_all(&frame(DATA, 0, call, &[0, 0x7f, 0xff, 0xff, 0xff]))?;
    stream.flush()?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

fn frame(kind: u8, flags: u8, call: u32, content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u32).to_be_bytes();
    [&size[1..], &[kind, flags], &call.to_be_bytes(), content].concat()
}
