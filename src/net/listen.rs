//! Listening: one listener per worker on one address, never beside another server's.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// A dead peer is found after 60 s of silence and 4 probes 15 s apart.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);

/// Unsent output that the kernel takes per client, in bytes. Without a limit, megabytes would hide there for a client that does
/// not read, and count as delivered.
pub const UNSENT_BYTES_MAX: u32 = 32 * 1024;

/// Opens `count` listeners on one address, over which the kernel spreads the clients.
///
/// # Errors
/// The address is in use, is not of this machine, or is not allowed.
pub fn listeners(address: SocketAddr, count: u16, backlog: u32) -> io::Result<Vec<TcpListener>> {
    probe(address)?;
    let first = listener(address, backlog)?;
    // Port 0 became a number with the first.
    let address = first.local_addr()?;
    let rest = (1..count).map(|_| listener(address, backlog));
    std::iter::once(Ok(first)).chain(rest).collect()
}

/// Fails if anybody listens there: with SO_REUSEPORT alone a second server would silently share the clients.
fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = socket(address)?;
    socket.bind(&address.into())
}

/// What is set here the accepted sockets inherit (tcp(7), Linux), which saves five system calls a client.
fn listener(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a server that stopped a moment ago do not hold the address.
    socket.set_reuse_address(true)?;
    Ok(socket)
}
