//! Hands out ports that no other test uses.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// First port of the first block; below those that the kernel gives to outgoing connections.
const FIRST: u16 = 20_000;
/// First port past the last block.
const END: u16 = 32_000;
/// Ports in a block, its guard included.
const BLOCK: u16 = 40;

/// A block of ports, kept from other tests by a listener on its first one for as long as this lives.
#[derive(Debug)]
pub struct Ports {
    _guard: TcpListener,
    index: u16,
    next: u16,
    end: u16,
}

impl Ports {
    /// Claims a block.
    ///
    /// # Errors
    /// If all blocks are taken.
    pub fn claim() -> Result<Ports> {
        for block in (FIRST..END).step_by(usize::from(BLOCK)) {
            if let Ok(guard) = TcpListener::bind((Ipv4Addr::LOCALHOST, block)) {
                let index = (block - FIRST) / BLOCK;
                return Ok(Ports { _guard: guard, index, next: block + 1, end: block + BLOCK });
            }
        }
        bail!("all blocks of ports from {FIRST} to {END} are taken")
    }

    /// Returns which block it is, below 300: no other test has the same meanwhile.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Returns a port of the block that nobody listens on.
    ///
    /// # Errors
    /// If the block is used up.
    pub fn take(&mut self) -> Result<u16> {
        while self.next < self.end {
            let port = self.next;
            self.next += 1;
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
        bail!("the block of ports before {} is used up", self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_handed_out_once() {
        let (mut one, mut two) = (Ports::claim().unwrap(), Ports::claim().unwrap());
        let mut ports: Vec<u16> = (0..10).flat_map(|_| [one.take().unwrap(), two.take().unwrap()]).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }
}
