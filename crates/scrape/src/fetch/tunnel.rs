//! A connection through a proxy that is asked to connect.
//!
//! Source: RFC 9110, section 9.3.6.

use firetower_daemon::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::access::Keys;
use super::proxy::Proxy;
use crate::error::Error;

/// How long a proxy's answer may be.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// How many headers it may have.
const HEADERS_MAX: usize = 64;

/// Asks a proxy to connect to `address`, over a connection to the proxy.
pub(super) async fn open(stream: &mut Stream, proxy: &Proxy, address: &str, keys: &Keys) -> Result<(), Error> {
    let fault = |reason: String| Error::Proxy { address: proxy.url.address().into(), reason };
    let version = env!("CARGO_PKG_VERSION");
    let mut request = format!(
        "CONNECT {address} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: Firetower/{version}\r\n{}",
        proxy.authorization
    )
    .into_bytes();
    request.extend_from_slice(&keys.connect);
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(|error| fault(error.to_string()))?;
    stream.flush().await.map_err(|error| fault(error.to_string()))?;
    let mut answer = Vec::new();
    loop {
        // The other end says nothing before it is greeted: nothing of it is read here.
        let count = stream.read_buf(&mut answer).await.map_err(|error| fault(error.to_string()))?;
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&answer).map_err(|error| fault(error.to_string()))?;
        match (parsed, response.code) {
            (httparse::Status::Complete(_), Some(200)) => return Ok(()),
            (httparse::Status::Complete(_), code) => {
                let (code, words) = (code.unwrap_or_default(), response.reason.unwrap_or_default());
                return Err(fault(format!("it says {code} {words}")));
            }
            (httparse::Status::Partial, _) if count == 0 => return Err(fault("it closed the connection".into())),
            (httparse::Status::Partial, _) if answer.len() > ANSWER_BYTES_MAX => {
                return Err(fault("its answer is too long".into()));
            }
            (httparse::Status::Partial, _) => {}
        }
    }
}
