//! Listening: one listener per worker on one address, which no other server shares.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Detects a dead peer after 60 s of silence and 4 probes 15 s apart.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);

/// Unsent output that the kernel takes per client, in bytes. Without a limit it would take megabytes for a client that
/// does not read, and they would count as delivered.
pub const UNSENT_BYTES_MAX: u32 = 32 * 1024;

/// Opens `count` listeners on one address, over which the kernel spreads the clients.
///
/// # Errors
/// The address is in use, does not belong to this machine, or is not permitted.
pub fn listeners(address: SocketAddr, count: u16, backlog: u32) -> io::Result<Vec<TcpListener>> {
    probe(address)?;
    let first = listener(address, backlog)?;
    // The first listener has turned port 0 into a number.
    let address = first.local_addr()?;
    let rest = (1..count).map(|_| listener(address, backlog));
    std::iter::once(Ok(first)).chain(rest).collect()
}

/// Fails if another server listens there: with SO_REUSEPORT alone both would silently share the clients.
fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = socket(address)?;
    socket.bind(&address.into())
}

/// Accepted sockets inherit these options (tcp(7), Linux), which saves five system calls per client.
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
    // Connections of a server that has just stopped do not hold the address.
    socket.set_reuse_address(true)?;
    Ok(socket)
}
