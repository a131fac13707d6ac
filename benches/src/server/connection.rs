//! One connection of a client: its requests, answered one after the other.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::log::Response;
use crate::server::shared::{Mood, Shared, message};
use crate::wait::now_ms;

/// A request longer than this is refused.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Answers requests one after the other until the client leaves or the fleet stops; a client's faults end it silently.
pub(super) async fn connection(mut stream: TcpStream, shared: Arc<Shared>, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let mut request = Vec::new();
    loop {
        let head_bytes = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            read = read_head(&mut stream, &mut request) => match read {
                Ok(Some(bytes)) => bytes,
                Ok(None) | Err(_) => return,
            },
        };
        let answered = answer(&mut stream, &request[..head_bytes], &shared, &stop).await;
        if answered.is_err() {
            return;
        }
        request.drain(..head_bytes);
    }
}

/// Reads until `request` begins with a whole head and returns its length; `None` if the client has left.
async fn read_head(stream: &mut TcpStream, request: &mut Vec<u8>) -> io::Result<Option<usize>> {
    loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(Some(end + 4));
        }
        if request.len() > REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(request).await? == 0 {
            return Ok(None);
        }
    }
}

async fn answer(stream: &mut TcpStream, head: &[u8], shared: &Shared, stop: &CancellationToken) -> io::Result<()> {
    let requested_ms = now_ms();
    let head = String::from_utf8_lossy(head);
    let path = head.split(' ').nth(1).unwrap_or("");
    if path == "/served" {
        let (responses, samples) = shared.log.totals();
        let body = format!("{{\"responses\":{responses},\"samples\":{samples}}}\n");
        return stream.write_all(&message("200 OK", "application/json", "", body.as_bytes())).await;
    }
    let target =
        path.strip_prefix("/t/").and_then(|rest| rest.split_once("/metrics")).and_then(|(at, _)| at.parse().ok());
    let Some(target) = target.filter(|target| shared.has(*target)) else {
        return stream.write_all(&message("404 Not Found", "text/plain", "", b"no such target\n")).await;
    };
    match shared.mood(target) {
        Mood::Well | Mood::Malformed => {}
        Mood::Slow => tokio::time::sleep(shared.options.latency).await,
        Mood::Hung => return wait_until_left(stream, stop).await,
    }
    let is_gzip = shared.options.gzip && accepts_gzip(&head);
    let scrape = shared.shown(shared.next_scrape(target), is_gzip);
    let answer = shared.answer(target, scrape, is_gzip)?;
    stream.write_all(&answer.bytes).await?;
    shared.log.add(Response { target, scrape, requested_ms, samples: answer.samples })
}

/// Takes whatever the client sends until it closes the connection.
async fn wait_until_left(stream: &mut TcpStream, stop: &CancellationToken) -> io::Result<()> {
    let mut ignored = [0u8; 1024];
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            read = stream.read(&mut ignored) => if read? == 0 { break },
        }
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}

fn accepts_gzip(head: &str) -> bool {
    head.lines().any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("accept-encoding:") && line.contains("gzip")
    })
}
