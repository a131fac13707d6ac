//! A small HTTP server whose answers a test decides, over TLS too.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the head of a request may be.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The head of a request, and what it takes from it.
#[derive(Debug)]
pub struct Asked {
    /// The head as it came.
    pub head: String,
}

impl Asked {
    /// Returns what comes after the method.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// Tells whether a line is in the head.
    pub fn has(&self, line: &str) -> bool {
        self.head.lines().any(|found| found == line)
    }
}

/// An answer: status, more header lines, body.
pub type Answer = (u16, String, String);

/// Answers each request in a thread of its own and closes its connection; it goes on until the process ends.
#[derive(Clone, Debug)]
pub struct Site {
    address: SocketAddr,
}

impl Site {
    /// Starts to answer, over TLS if there is a configuration for it.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Result<Site> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let site = Site { address: listener.local_addr()? };
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, answer) = (tls.clone(), Arc::clone(&answer));
                thread::spawn(move || serve(stream, tls, &*answer));
            }
        });
        Ok(site)
    }

    /// Returns its `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Whoever asks wrongly or goes away is not answered: the test sees that from the other side.
fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, answer: &impl Fn(&Asked) -> Answer) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    match tls {
        None => reply(stream, answer),
        Some(config) => reply(StreamOwned::new(ServerConnection::new(config).ok()?, stream), answer),
    }
}

fn reply(mut stream: impl Read + Write, answer: &impl Fn(&Asked) -> Answer) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let (status, lines, body) = answer(&Asked { head: String::from_utf8(head).ok()? });
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Said\r\n{lines}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    stream.flush().ok()
}
