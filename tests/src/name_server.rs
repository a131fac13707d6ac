//! A small DNS server whose addresses a test decides.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// Answers every question for addresses, whatever the name, until the process ends.
#[derive(Clone, Debug)]
pub struct NameServer {
    address: SocketAddr,
    hosts: Arc<Mutex<Vec<Ipv4Addr>>>,
}

impl NameServer {
    /// Starts to answer with these addresses.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start(hosts: &[Ipv4Addr]) -> Result<NameServer> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let server = NameServer { address: socket.local_addr()?, hosts: Arc::new(Mutex::new(hosts.to_vec())) };
        let hosts = Arc::clone(&server.hosts);
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut query) {
                let hosts = hosts.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(message) = answer(&query[..length], &hosts) {
                    // Who does not hear it asks again.
                    let _ = socket.send_to(&message, peer);
                }
            }
        });
        Ok(server)
    }

    /// Returns its `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Answers with these addresses from now on.
    pub fn set(&self, hosts: &[Ipv4Addr]) {
        *self.hosts.lock().unwrap_or_else(PoisonError::into_inner) = hosts.to_vec();
    }
}

/// Returns an answer to a query with one question.
///
/// Source: RFC 1035, section 4.
fn answer(query: &[u8], hosts: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let mut end = 12;
    while *query.get(end)? > 0 {
        end += 1 + usize::from(query[end]);
    }
    let question = query.get(12..end + 5)?;
    // The query's id; an answer, with recursion, without error; one question, so many answers, nothing else.
    let mut message = [&query[..2], &[0x81, 0x80, 0, 1, 0, hosts.len() as u8, 0, 0, 0, 0], question].concat();
    for host in hosts {
        // The question's name; type A, class IN; 60 s to live; four bytes.
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend(host.octets());
    }
    Some(message)
}
