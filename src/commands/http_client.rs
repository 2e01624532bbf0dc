//! The client of tasks that ask a server: one HTTP/1.0 connection, on which requests follow each other, plain or over TLS.
//! It follows no redirect, and speaks TLS with this machine alone, since it checks no certificate.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use hyper::Uri;
use memchr::memmem;

use super::own_tls;
use crate::config::{Config, ProxyProtocol, TlsPorts};
use crate::net::proxy::TrustedProxies;

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The bytes of an answer that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// The PROXY header of a connection that comes for no other client (version 1).
const NO_OTHER_CLIENT: &[u8] = b"PROXY UNKNOWN\r\n";

/// The times that a server may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// To accept the connection, and for each part of its answer.
    ForEachPart(Duration),
    /// For everything, until the end of that time.
    InAll(Duration, Instant),
}

impl Patience {
    /// For everything, from now on.
    pub(super) fn in_all(time: Duration) -> Self {
        Self::InAll(time, Instant::now() + time)
    }

    fn left(self) -> io::Result<Duration> {
        let left = match self {
            Self::ForEachPart(time) => time,
            Self::InAll(_, end) => end.saturating_duration_since(Instant::now()),
        };
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// A server to ask, and how it is spoken to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its URL, for people.
    pub(super) url: String,
    host: String,
    port: u16,
    /// In front of each path.
    prefix: String,
    is_tls: bool,
    proxies: TrustedProxies,
}

impl Target {
    /// The HTTP port of the server of these settings, as this machine reaches it.
    pub(super) fn of_settings(config: &Config) -> Self {
        let is_tls = config.tls.as_ref().is_some_and(|tls| matches!(tls.ports, TlsPorts::Http | TlsPorts::Both));
        let has_header = matches!(config.rules.proxy_protocol, ProxyProtocol::Http | ProxyProtocol::Both);
        let address = reachable(config.http);
        Self {
            url: format!("{}://{address}", if is_tls { "https" } else { "http" }),
            host: address.ip().to_string(),
            port: address.port(),
            prefix: String::new(),
            is_tls,
            proxies: TrustedProxies::new(&config.rules.trusted_proxies, has_header),
        }
    }

    /// The server at a URL.
    ///
    /// # Errors
    /// It is no URL of HTTP.
    pub(super) fn at(url: &str) -> anyhow::Result<Self> {
        let uri: Option<Uri> = url.parse().ok();
        let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
        let (uri, authority) = uri
            .as_ref()
            .and_then(|uri| Some((uri, uri.authority()?)))
            .with_context(|| format!("--url {url:?}: as in http://127.0.0.1:3000"))?;
        let is_tls = uri.scheme_str() == Some("https");
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            is_tls,
            proxies: TrustedProxies::new(&[], false),
        })
    }

    /// Connects, with the PROXY header and TLS where the server expects them.
    ///
    /// # Errors
    /// It cannot be connected to, or TLS would be spoken with another machine.
    pub(super) fn connect(&self, patience: Patience) -> anyhow::Result<Connection> {
        let authority = self.authority();
        let socket = self
            .socket(patience)
            .with_context(|| format!("cannot connect to {authority}: does the server run there? --url says where"))?;
        let [own, peer] = [socket.local_addr()?, socket.peer_addr()?];
        let mut socket = Timed { socket, patience };
        if self.proxies.sends_header(own) {
            socket.write_all(NO_OTHER_CLIENT).with_context(|| format!("cannot write to {authority}"))?;
        }
        let stream: Box<dyn Stream> =
            if self.is_tls { Box::new(own_tls::over(socket, peer)?) } else { Box::new(socket) };
        Ok(Connection { stream, authority, prefix: self.prefix.clone(), patience })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn socket(&self, patience: Patience) -> io::Result<TcpStream> {
        let mut failed = io::Error::from(ErrorKind::AddrNotAvailable);
        for address in (&*self.host, self.port).to_socket_addrs()? {
            if self.is_tls && !is_of_this_machine(address) {
                failed = io::Error::other("https is spoken with this machine alone, since no certificate is checked");
                continue;
            }
            match TcpStream::connect_timeout(&address, patience.left()?) {
                Ok(socket) => return Ok(socket),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// Whether packets to this address stay on this machine: then they would come from the same address. Sends nothing.
fn is_of_this_machine(address: SocketAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let own = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    own.is_ok_and(|own| own.ip() == address.ip())
}

/// The address at which this machine reaches a server that listens at this one.
fn reachable(mut http: SocketAddr) -> SocketAddr {
    if http.ip().is_unspecified() {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        http.set_ip(loopback[usize::from(http.is_ipv6())]);
    }
    http
}

/// Bytes in both directions.
trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A connection to a server.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    authority: String,
    prefix: String,
    patience: Patience,
}

/// The status of an answer, and its body.
pub(super) type Answer = (u16, String);

impl Connection {
    /// The answer to a GET. The server keeps the connection for the next.
    ///
    /// # Errors
    /// There is no whole answer.
    pub(super) fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.ask(&format!("GET {}{path} HTTP/1.0", self.prefix), "Connection: keep-alive\r\n", "")
    }

    /// The answer to a POST of JSON. The server closes the connection.
    ///
    /// # Errors
    /// There is no whole answer.
    pub(super) fn post(&mut self, path: &str, key: &str, body: &str) -> anyhow::Result<Answer> {
        let headers =
            format!("X-API-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        self.ask(&format!("POST {}{path} HTTP/1.0", self.prefix), &headers, body)
    }

    fn ask(&mut self, line: &str, headers: &str, body: &str) -> anyhow::Result<Answer> {
        let request = format!("{line}\r\nHost: {}\r\n{headers}\r\n{body}", self.authority);
        // A server that refuses may do so before it has read the body.
        let _ = self.stream.write_all(request.as_bytes()).and_then(|()| self.stream.flush());
        let mut answer = Vec::new();
        let read = read_answer(&mut self.stream, &mut answer);
        parse_answer(&answer).map_err(|wrong| {
            let nothing = answer.is_empty().then(|| self.why_nothing(&read)).flatten();
            let cause = || read.map_or_else(|error| anyhow!("{wrong}: {error}"), |()| anyhow!(wrong));
            nothing.unwrap_or_else(|| cause().context(format!("no answer from {}", self.authority)))
        })
    }

    /// Why the server has said nothing at all, as far as that can be told from the end of the connection.
    fn why_nothing(&self, read: &io::Result<()>) -> Option<anyhow::Error> {
        let (authority, Patience::ForEachPart(time) | Patience::InAll(time, _)) = (&self.authority, self.patience);
        let is_cut = |error: &io::Error| {
            matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof)
        };
        let why = match read {
            Err(error) if error.kind() == ErrorKind::TimedOut => format!("does not answer within {} s", time.as_secs()),
            Err(error) if own_tls::is_not_tls(error) => {
                "does not speak TLS: http:// and no --tls would be right".into()
            }
            Err(error) if !is_cut(error) => return None,
            _ => "ended the connection: does it expect a PROXY header (proxy-protocol) or TLS?".into(),
        };
        Some(anyhow!("{authority} {why}"))
    }
}

/// Reads until the answer is whole, or the server closes.
fn read_answer(stream: &mut impl Read, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut part = vec![0; READ_BYTES];
    while answer.len() < ANSWER_BYTES_MAX && length_of(answer).is_none_or(|length| answer.len() < length) {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            length => answer.extend_from_slice(&part[..length]),
        }
    }
    Ok(())
}

/// The bytes of an answer with its head, once the head is there and says so.
fn length_of(answer: &[u8]) -> Option<usize> {
    let begin = memmem::find(answer, b"\r\n\r\n")? + b"\r\n\r\n".len();
    let head = String::from_utf8_lossy(&answer[..begin]);
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let (_, length) = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    begin.checked_add(length.trim().parse().ok()?)
}

/// The status and the body of an answer, or what is wrong with it.
fn parse_answer(answer: &[u8]) -> Result<Answer, &'static str> {
    const NOT_HTTP: &str = "it does not speak HTTP";
    if length_of(answer).is_some_and(|length| answer.len() < length) {
        return Err("the answer is cut short");
    }
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(NOT_HTTP)?;
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok()).ok_or(NOT_HTTP)?;
    Ok((status, body.to_owned()))
}

/// A socket on which no call waits for longer than the patience allows.
pub(super) struct Timed {
    socket: TcpStream,
    patience: Patience,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.patience.left()?))?;
        self.socket.read(buffer).map_err(named)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.patience.left()?))?;
        self.socket.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The system calls a wait that is over an operation that would block.
fn named(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut.into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte_and_one_without_a_length_with_its_connection() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK";
        assert_eq!(parse_answer(answer), Ok((200, "OK".to_owned())));
        assert_eq!(parse_answer(&answer[..answer.len() - 1]), Err("the answer is cut short"));
        assert_eq!(length_of(answer), Some(answer.len()));
        assert_eq!(length_of(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"), None);
        assert_eq!(parse_answer(b"HTTP/1.0 503 Busy\r\n\r\nlater"), Ok((503, "later".to_owned())));
        for other in [&b""[..], b"Welcome!\n", b"HTTP/1.1 2"] {
            assert_eq!(parse_answer(other), Err("it does not speak HTTP"));
        }
    }

    #[test]
    fn only_addresses_of_this_machine_count_as_its_own() {
        assert!(is_of_this_machine("127.0.0.1:443".parse().unwrap()));
        assert!(!is_of_this_machine("192.0.2.1:443".parse().unwrap()));
    }
}
