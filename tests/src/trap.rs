//! A server of targets that mean harm, or are broken beyond reason.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;

/// What a trap's scrape ends with: its path, and the outcome that is counted.
pub const TRAPS: [(&str, &str); 18] = [
    ("endless", "body_size"),
    ("bomb", "body_size"),
    ("drip", "timeout"),
    ("mute", "timeout"),
    ("labels", "label_limit"),
    ("line", "page"),
    ("nul", "page"),
    ("latin", "page"),
    ("loop", "redirects"),
    ("headers", "http"),
    ("interim", "http"),
    ("negative", "http"),
    ("chunks", "http"),
    ("garbage", "http"),
    ("short", "receive"),
    ("gzip", "gzip"),
    ("html", "content_type"),
    ("ahead", "ok"),
];

/// How much an answer without end is at most, in case that nobody stops it.
const ENDLESS_BYTES: usize = 1 << 30;
/// How many labels the line with far too many has.
const LABELS: usize = 10_000_000;
/// How long the one line of a page is.
const LINE_BYTES: usize = 60 << 20;
const TEXT: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";

/// Answers each path of [`TRAPS`] as it should not be, until the process ends.
#[derive(Debug)]
pub struct Trap {
    address: SocketAddr,
}

impl Trap {
    /// Starts to answer.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start() -> Result<Trap> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let trap = Trap { address: listener.local_addr()? };
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        io::copy(&mut io::repeat(b'#').take(ENDLESS_BYTES as u64), &mut bomb)?;
        let bomb = Arc::new(bomb.finish()?);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let bomb = Arc::clone(&bomb);
                // Whoever is asked goes away: that is what is tested.
                thread::spawn(move || drop(answer(stream, &bomb)));
            }
        });
        Ok(trap)
    }

    /// Returns its targets as lines of `static_configs`, each with a label `trap` that has its name.
    pub fn static_configs(&self) -> String {
        let group = |(name, _): &(&str, &str)| {
            format!("{{ targets: ['{}'], labels: {{ __metrics_path__: /{name}, trap: {name} }} }}", self.address)
        };
        format!("static_configs: [ {} ]", TRAPS.iter().map(group).collect::<Vec<_>>().join(", "))
    }
}

fn answer(mut stream: TcpStream, bomb: &[u8]) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let plain = |body: &[u8]| [format!("{TEXT}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    match path.as_str() {
        "endless" => repeat(&mut stream, &format!("{TEXT}\r\n"), &b"# nothing to see here\n".repeat(4096)),
        "interim" => repeat(&mut stream, "", &b"HTTP/1.1 100 Continue\r\n\r\n".repeat(4096)),
        "headers" => repeat(&mut stream, "HTTP/1.1 200 OK\r\n", &b"X-More: and more\r\n".repeat(4096)),
        "drip" => drip(&mut stream),
        "mute" => stream.read_exact(&mut [0]),
        "bomb" => {
            let head = format!("{TEXT}Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
            stream.write_all(head.as_bytes())?;
            stream.write_all(bomb)
        }
        "labels" => stream.write_all(&plain(format!("a{{{}}} 1\n", "b=\"\",".repeat(LABELS)).as_bytes())),
        "line" => stream.write_all(&plain(format!("a{{b=\"{}\"}} 1\n", "x".repeat(LINE_BYTES)).as_bytes())),
        "nul" => stream.write_all(&plain(b"a\0b 1\n")),
        "latin" => stream.write_all(&plain(b"a{b=\"caf\xe9\"} 1\n")),
        "loop" => stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n"),
        "negative" => stream.write_all(format!("{TEXT}Content-Length: -1\r\n\r\na 1\n").as_bytes()),
        "chunks" => stream.write_all(format!("{TEXT}Transfer-Encoding: chunked\r\n\r\nzz\r\na 1\n\r\n").as_bytes()),
        "garbage" => stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        "short" => stream.write_all(format!("{TEXT}Content-Length: 999\r\n\r\na 1\n").as_bytes()),
        "gzip" => {
            stream.write_all(format!("{TEXT}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\na 1\n").as_bytes())
        }
        "html" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>"),
        _ => stream.write_all(&plain(b"a 1 9223372036854775807\nb 1 0\nc 1 4102444800000\nd 1\n")),
    }
}

fn repeat(stream: &mut TcpStream, head: &str, part: &[u8]) -> io::Result<()> {
    stream.write_all(head.as_bytes())?;
    for _ in 0..ENDLESS_BYTES / part.len() {
        stream.write_all(part)?;
    }
    Ok(())
}

fn drip(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(format!("{TEXT}\r\n").as_bytes())?;
    for _ in 0..1_000 {
        stream.write_all(b"#")?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
