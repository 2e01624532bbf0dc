//! The client behind a trusted proxy, by the PROXY protocol's header in front of its bytes. Trusts only the listed
//! networks, and never guesses whether a header is there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use proxy_header::{Error as HeaderError, ParseConfig, ProxyHeader};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::stream::Stream;
use crate::config::canonical;
use crate::protocol::disconnect::Disconnect;

/// The longest header, in bytes: version 1 has at most 107, version 2 has 52 and whatever the proxy adds.
const HEADER_BYTES_MAX: usize = 2 * 1024;

/// The longest header of version 1, with the end of its line, in bytes.
const LINE_BYTES_MAX: usize = 107;

/// The trusted proxies of one port.
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    networks: Rc<[IpNet]>,
    /// Whether each of their connections begins with a PROXY header.
    send_header: bool,
}

impl TrustedProxies {
    /// The proxies of these networks; `send_header` if each of their connections begins with a PROXY header.
    pub fn new(networks: &[IpNet], send_header: bool) -> Self {
        Self { networks: networks.into(), send_header }
    }

    /// Whether this is the address of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether all of them are on this machine, or there are none.
    pub fn are_on_this_machine(&self) -> bool {
        self.networks.iter().all(|network| network.network().is_loopback() && network.broadcast().is_loopback())
    }

    /// Whether a connection from there begins with a PROXY header.
    pub fn sends_header(&self, peer: SocketAddr) -> bool {
        self.send_header && self.trusts(peer.ip())
    }

    /// Reads the PROXY header of a connection, and not a byte behind it, and returns the client that it names. A proxy
    /// that connects on its own behalf, as for a health check, is its own client.
    ///
    /// # Errors
    /// The header is malformed or missing, or did not come in time.
    pub async fn client(&self, stream: &Stream, peer: SocketAddr, within: Duration) -> Result<SocketAddr, Disconnect> {
        match timeout(within, read_header(stream.socket())).await {
            Ok(Ok(client)) => Ok(client.map_or(peer, canonical)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(Disconnect::ProtocolError),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Disconnect::ClosedByPeer),
            Ok(Err(_)) => Err(Disconnect::IoError),
            Err(_) => Err(Disconnect::HandshakeTimeout),
        }
    }
}

/// Reads the header, and returns the client that it names, if it names one.
async fn read_header(stream: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut head = Vec::new();
    loop {
        stream.readable().await?;
        let taken = head.len();
        match stream.try_io(Interest::READABLE, || peek(stream, &mut head)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            peeked => peeked?,
        }
        match parse_header(&head) {
            Parsed::Whole { client, length } => {
                take(stream, length - taken)?;
                return Ok(client);
            }
            Parsed::Partial if head.len() < HEADER_BYTES_MAX => take(stream, head.len() - taken)?,
            Parsed::Partial | Parsed::Malformed => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Appends the bytes that the socket has, without taking them.
fn peek(stream: &TcpStream, head: &mut Vec<u8>) -> io::Result<()> {
    let taken = head.len();
    head.resize(HEADER_BYTES_MAX, 0);
    let peeked = recv(stream, &mut head[taken..], RecvFlags::PEEK);
    head.truncate(taken + peeked.map_or(0, |(length, _)| length));
    if peeked?.0 == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Takes bytes that were peeked at before.
fn take(stream: &TcpStream, length: usize) -> io::Result<()> {
    let (taken, _) = recv(stream, &mut vec![0; length][..], RecvFlags::empty())?;
    if taken == length { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq)]
pub enum Parsed {
    /// A whole header.
    Whole {
        /// The client that it names, if it names one.
        client: Option<SocketAddr>,
        /// The length of the header, in bytes.
        length: usize,
    },
    /// The beginning of a header.
    Partial,
    /// No header, and no beginning of one.
    Malformed,
}

/// Parses the PROXY header, version 1 or 2, at the front of `head`.
pub fn parse_header(head: &[u8]) -> Parsed {
    const BEGINNINGS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];
    // Before the parser, which takes a short line of another protocol for an incomplete header.
    if !BEGINNINGS.iter().any(|beginning| head.starts_with(beginning) || beginning.starts_with(head)) {
        return Parsed::Malformed;
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let is_line = head.starts_with(b"PROXY ");
    match ProxyHeader::parse(head, config) {
        // The parser takes what it finds whole: the same header in two pieces would be malformed.
        Ok((_, length)) if is_line && !is_one_line(&head[..length]) => Parsed::Malformed,
        Ok((header, length)) => {
            Parsed::Whole { client: header.proxied_address().map(|address| address.source), length }
        }
        // A header of version 1 is one line, and this line has ended.
        Err(HeaderError::BufferTooShort) if is_line && head.contains(&b'\n') => Parsed::Malformed,
        Err(HeaderError::BufferTooShort) => Parsed::Partial,
        Err(_) => Parsed::Malformed,
    }
}

/// Whether a header of version 1 is one line, and not too long.
fn is_one_line(header: &[u8]) -> bool {
    header.len() <= LINE_BYTES_MAX && header.iter().position(|&byte| byte == b'\n') == Some(header.len() - 1)
}
