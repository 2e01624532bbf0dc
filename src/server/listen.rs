//! Binding: one listener per worker on one address, never beside another server's.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// A dead peer is found after 60 s of silence and 4 probes 15 s apart.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);

/// How much unsent output the kernel takes per client. Without it, megabytes would hide there for a client that does not
/// read, and count as delivered.
const UNSENT_BYTES_MAX: u32 = 32 * 1024;

/// So many listeners on one address, among which the kernel shares out the clients.
///
/// # Errors
/// The address is in use, not ours or not allowed.
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

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use socket2::SockRef;

    use super::*;

    const ANY_PORT: &str = "127.0.0.1:0";

    #[test]
    fn all_listeners_share_the_port_that_the_first_found() {
        let listeners = listeners(ANY_PORT.parse().unwrap(), 3, 16).unwrap();
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert_eq!(ports, [ports[0]; 3]);
    }

    #[test]
    fn a_second_server_does_not_share_the_address() {
        let first = listeners(ANY_PORT.parse().unwrap(), 2, 16).unwrap();
        let error = listeners(first[0].local_addr().unwrap(), 2, 16).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn accepted_sockets_inherit_every_option() {
        let listener = listeners(ANY_PORT.parse().unwrap(), 1, 16).unwrap().remove(0);
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), UNSENT_BYTES_MAX);
    }
}
