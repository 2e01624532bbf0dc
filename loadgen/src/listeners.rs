//! Who listens where on this host, by `/proc/net`. Never connects: a server counts a connection as a client, and may
//! still count it when the load's own clients come.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};

use procfs::net::{TcpState, tcp, tcp6};

/// The sockets that listen on this address, as links in `/proc/*/fd` name them.
pub fn listening_sockets(address: SocketAddr) -> HashSet<String> {
    // An unspecified listening address covers only addresses of this host.
    let is_here = TcpListener::bind((address.ip(), 0)).is_ok();
    let listeners = [tcp().unwrap_or_default(), tcp6().unwrap_or_default()].concat();
    let of_address = listeners.into_iter().filter(|entry| {
        let local = entry.local_address;
        let is_address = local.ip().to_canonical() == address.ip() || (is_here && local.ip().is_unspecified());
        entry.state == TcpState::Listen && local.port() == address.port() && is_address
    });
    of_address.map(|entry| format!("socket:[{}]", entry.inode)).collect()
}
