//! Free ports on the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};

/// Returns `N` different ports that were free a moment ago.
///
/// Another process can take one before it is used (a program that takes port numbers but no sockets leaves
/// no other way), so whoever starts such a program tries again with new ports if it fails to bind.
///
/// # Errors
/// No free port, or no more sockets.
pub fn free<const N: usize>() -> Result<[SocketAddr; N]> {
    // All are held until all are known, or the kernel could give the same one twice.
    let mut held = Vec::with_capacity(N);
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(addresses)
}
