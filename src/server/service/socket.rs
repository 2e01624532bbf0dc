//! The socket on which a service manager hears of its services, by sd_notify(3): a datagram for each message. Waits a
//! moment for a manager that does not read, and never longer.

use std::ffi::OsStr;
use std::fmt::Write;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdUnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

/// How long a message waits while the manager reads none. It is lost then.
const SEND_WITHIN: Duration = Duration::from_secs(2);

/// The address of a service manager.
#[derive(Debug)]
pub struct NotifySocket(SocketAddr);

impl NotifySocket {
    /// Parses `NOTIFY_SOCKET`: a path, or `@` and the name of an abstract socket.
    ///
    /// # Errors
    /// It is neither, or too long for the address of a socket.
    pub fn parse(address: &OsStr) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(address),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract socket")),
        };
        address.map(Self)
    }

    /// Sends these in one message. The socket is made anew for each, as the manager may have made its own anew.
    ///
    /// # Errors
    /// The manager is gone, or has read nothing for two seconds.
    pub async fn send(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        let socket = StdUnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&self.0)?;
        let (socket, text) = (UnixDatagram::from_std(socket)?, text(states));
        timeout(SEND_WITHIN, socket.send(text.as_bytes())).await??;
        Ok(())
    }
}

/// One line for each.
fn text(states: &[NotifyState<'_>]) -> String {
    states.iter().fold(String::new(), |mut text, state| {
        let _ = writeln!(text, "{state}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_or_an_abstract_name() {
        let parse = |address: &str| NotifySocket::parse(OsStr::new(address)).map(|socket| socket.0);
        let path = parse("/run/systemd/notify").unwrap();
        assert_eq!(path.as_pathname().unwrap().to_str(), Some("/run/systemd/notify"));
        assert_eq!(parse("@a/b").unwrap().as_abstract_name(), Some(&b"a/b"[..]));
        let too_long = format!("/{}", "x".repeat(108));
        for wrong in ["run/notify", "vsock:2:1234", &too_long] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
