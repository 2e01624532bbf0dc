//! Who a client is that comes through a proxy: by the PROXY protocol's header in front of its bytes, or by `X-Forwarded-For`.
//! Believes nobody but the proxies that are listed, and never guesses whether a header is there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use axum::http::header::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use proxy_header::{Error as HeaderError, ParseConfig, ProxyHeader};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::canonical;
use crate::protocol::disconnect::Disconnect;

/// The header in which proxies for HTTP say for whom they ask, each adding whom it has seen behind what it was told.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The header in which they say for which host they were asked.
const FORWARDED_HOST: &str = "x-forwarded-host";

/// The longest header: one of version 1 has at most 107 bytes, one of version 2 has 52 and what the proxy adds of its own.
const HEADER_BYTES_MAX: usize = 2 * 1024;

/// The proxies that are believed, at one port.
#[derive(Clone, Debug)]
pub struct Proxies {
    trusted: Rc<[IpNet]>,
    /// Whether they begin each connection with a header.
    announce: bool,
}

impl Proxies {
    /// Those of these networks; `announce` if each of their connections begins with a PROXY header.
    pub fn new(trusted: &[IpNet], announce: bool) -> Self {
        Self { trusted: trusted.into(), announce }
    }

    /// Whether it is one of them.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Whether a connection from there begins with a PROXY header.
    pub fn announce(&self, peer: SocketAddr) -> bool {
        self.announce && self.trusts(peer.ip())
    }

    /// The client behind a connection that begins with a PROXY header, which is read, and not a byte behind it. A proxy that
    /// speaks for itself, as to see whether we are well, is its own client.
    ///
    /// # Errors
    /// The header is malformed or missing, or did not come in time.
    pub async fn client(
        &self,
        stream: &TcpStream,
        peer: SocketAddr,
        within: Duration,
    ) -> Result<SocketAddr, Disconnect> {
        match timeout(within, read_header(stream)).await {
            Ok(Ok(announced)) => Ok(announced.map_or(peer, canonical)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(Disconnect::ProtocolError),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Disconnect::ClosedByPeer),
            Ok(Err(_)) => Err(Disconnect::IoError),
            Err(_) => Err(Disconnect::HandshakeTimeout),
        }
    }

    /// For whom a request was made: going back from the peer, the first that is no proxy of ours.
    pub fn forwarded_for(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lists = headers.get_all(FORWARDED_FOR).iter().rev().map(HeaderValue::to_str);
        let mut hops = lists.flat_map(|list| list.unwrap_or("unreadable").rsplit(','));
        let mut client = peer;
        while self.trusts(client) {
            let Some(before) = hops.next().and_then(|hop| address(hop.trim())) else { break };
            client = before;
        }
        client
    }
}

/// Whether a request says that it was forwarded. A web page cannot make its browser say so in a handshake.
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED_HOST)
}

/// For which host the first of the proxies was asked, if they say.
pub fn forwarded_host(headers: &HeaderMap) -> Option<&str> {
    let list = headers.get(FORWARDED_HOST)?.to_str().ok()?;
    list.split(',').next().map(str::trim)
}

/// Some proxies add a port.
fn address(hop: &str) -> Option<IpAddr> {
    hop.parse().ok().or_else(|| hop.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

/// Takes the header off the stream: whom it announces, if anybody.
async fn read_header(stream: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut head = Vec::new();
    loop {
        stream.readable().await?;
        let taken = head.len();
        match stream.try_io(Interest::READABLE, || peek(stream, &mut head)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            peeked => peeked?,
        }
        match parse(&head) {
            Parsed::Whole { announced, length } => {
                take(stream, length - taken)?;
                return Ok(announced);
            }
            Parsed::Partial if head.len() < HEADER_BYTES_MAX => take(stream, head.len() - taken)?,
            Parsed::Partial | Parsed::Malformed => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Appends what has come, and leaves it there.
fn peek(stream: &TcpStream, head: &mut Vec<u8>) -> io::Result<()> {
    let taken = head.len();
    head.resize(HEADER_BYTES_MAX, 0);
    let peeked = recv(stream, &mut head[taken..], RecvFlags::PEEK);
    head.truncate(taken + peeked.map_or(0, |(length, _)| length));
    if peeked?.0 == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Takes away so many bytes that were seen there.
fn take(stream: &TcpStream, length: usize) -> io::Result<()> {
    let (taken, _) = recv(stream, &mut vec![0; length][..], RecvFlags::empty())?;
    if taken == length { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// What the beginning of a connection is.
#[derive(Debug, PartialEq)]
enum Parsed {
    Whole { announced: Option<SocketAddr>, length: usize },
    Partial,
    Malformed,
}

fn parse(head: &[u8]) -> Parsed {
    const BEGINNINGS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];
    // A line that is none may be shorter than any header.
    if !BEGINNINGS.iter().any(|beginning| head.starts_with(beginning) || beginning.starts_with(head)) {
        return Parsed::Malformed;
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(head, config) {
        Ok((header, length)) => {
            Parsed::Whole { announced: header.proxied_address().map(|address| address.source), length }
        }
        // Version 1 is one line, of which nothing more comes.
        Err(HeaderError::BufferTooShort) if head.starts_with(b"PROXY ") && head.contains(&b'\n') => Parsed::Malformed,
        Err(HeaderError::BufferTooShort) => Parsed::Partial,
        Err(_) => Parsed::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_the_same_at_every_split_and_what_is_none_is_known_at_its_first_byte() {
        let announced = Some("192.0.2.7:4711".parse().unwrap());
        let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 8080\r\n";
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x1f\x90";
        for header in [&v1[..], v2] {
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Parsed::Partial, "{end}");
            }
            let whole = Parsed::Whole { announced, length: header.len() };
            assert_eq!(parse(&[header, b"JOIN a\n"].concat()), whole);
        }
        let bent = [&v2[..8], b"x"].concat();
        for none in
            [b"J", &bent[..], b"GET / HTTP/1.1\r\n", b"PROXYJ", b"PROXY TCP4\r\n", b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n"]
        {
            assert_eq!(parse(none), Parsed::Malformed, "{none:?}");
        }
    }

    #[test]
    fn who_is_forwarded_for_is_the_last_that_is_no_proxy_of_ours() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap());
        let proxies = Proxies::new(&trusted, false);
        let client = |peer: &str, lists: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(list));
            }
            proxies.forwarded_for(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(client("10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.7:4711"]), "192.0.2.7");
        assert_eq!(
            client("10.0.0.1", &["203.0.113.9, 192.0.2.7 , 10.0.0.2"]),
            "192.0.2.7",
            "what came before is hearsay"
        );
        assert_eq!(client("10.0.0.1", &["192.0.2.7", "2001:db8::1"]), "192.0.2.7");
        assert_eq!(client("192.0.2.1", &["192.0.2.7"]), "192.0.2.1", "a stranger is not believed");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.7, me"]), "10.0.0.1");
    }
}
