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
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    addresses.copy_from_slice(&free_list(N)?);
    Ok(addresses)
}

/// As [`free`], for a number that is not known beforehand.
///
/// # Errors
/// As [`free`].
pub fn free_list(count: usize) -> Result<Vec<SocketAddr>> {
    // All are held until all are known, or the kernel could give the same one twice.
    let mut held = Vec::with_capacity(count);
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
        addresses.push(listener.local_addr()?);
        held.push(listener);
    }
    Ok(addresses)
}
