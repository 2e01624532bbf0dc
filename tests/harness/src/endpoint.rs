//! Where a server listens, and whether it speaks TLS there.

use std::io;
use std::iter::once;
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::Deref;

/// Where a server listens. Plain unless it says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Its address.
    pub address: SocketAddr,
    /// Whether clients speak TLS to it.
    pub is_tls: bool,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address, is_tls: false }
    }
}

impl Deref for Endpoint {
    type Target = SocketAddr;

    fn deref(&self) -> &SocketAddr {
        &self.address
    }
}

/// For connections that speak whatever they like.
impl ToSocketAddrs for Endpoint {
    type Iter = std::iter::Once<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(once(self.address))
    }
}
