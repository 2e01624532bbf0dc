//! The header of the PROXY protocol. It is found alike however the network cuts it, nothing behind it is read, and the
//! client is the one that the header names.

use std::net::{IpAddr, SocketAddr};

use roomcast::net::proxy::{Parsed, parse_header};

use crate::input::{choices, chunks};

/// The front of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;

/// Any bytes as the beginning of a connection, and as the addresses of a header that is right.
pub fn proxy_header(input: &[u8]) {
    let (lengths, bytes) = choices::<4>(input);
    let whole = parse_header(bytes);
    let mut received = 0;
    for chunk in chunks(lengths, bytes) {
        received += chunk.len();
        match parse_header(&bytes[..received]) {
            Parsed::Partial => assert!(whole_is_longer(&whole, received), "{received} bytes are not all of {whole:?}"),
            decided => {
                assert_eq!(decided, whole, "more bytes change nothing");
                break;
            }
        }
    }
    if let Parsed::Whole { client, length } = whole {
        assert!(length <= bytes.len());
        assert_eq!(client, client_by_model(&bytes[..length]));
    }
    check_headers_of(bytes);
}

/// Whether the header, which is incomplete with this many bytes, is complete or malformed only with more.
fn whole_is_longer(whole: &Parsed, received: usize) -> bool {
    match whole {
        Parsed::Whole { length, .. } => *length > received,
        Parsed::Partial | Parsed::Malformed => true,
    }
}

/// The client that a whole header names, read plainly.
fn client_by_model(header: &[u8]) -> Option<SocketAddr> {
    let Some(binary) = header.strip_prefix(SIGNATURE) else {
        assert!(header.len() <= LINE_BYTES_MAX && header.ends_with(b"\r\n"));
        if header.starts_with(b"PROXY UNKNOWN") {
            // Whatever else stands there is to be ignored.
            return None;
        }
        let line = str::from_utf8(header).expect("a line of ASCII");
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        return match words.as_slice() {
            ["PROXY", "TCP4" | "TCP6", source, _, port, _] => {
                Some(SocketAddr::new(source.parse().expect("an address"), port.parse().expect("a port")))
            }
            _ => None,
        };
    };
    let [command, family, high, low, addresses @ ..] = binary else { panic!("version 2 has 16 bytes at least") };
    assert_eq!(addresses.len(), usize::from(u16::from_be_bytes([*high, *low])), "it ends where its length says");
    // LOCAL, and families without addresses of the Internet, name nobody.
    let address_bytes = match family >> 4 {
        1 => 4,
        2 => 16,
        _ => return None,
    };
    if command & 15 == 0 {
        return None;
    }
    let address: IpAddr = match address_bytes {
        4 => addresses.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        _ => addresses.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
    }
    .expect("an address");
    let port = addresses[2 * address_bytes..].first_chunk().expect("a port");
    Some(SocketAddr::new(address, u16::from_be_bytes(*port)))
}

/// Headers as a proxy writes them, with addresses of these bytes and something behind them.
fn check_headers_of(bytes: &[u8]) {
    let ([is_v6, high, low, address @ ..], behind) = choices::<19>(bytes);
    let port = u16::from_be_bytes([high, low]);
    let ip = if is_v6 & 1 == 1 {
        IpAddr::from(address)
    } else {
        IpAddr::from([address[0], address[1], address[2], address[3]])
    };
    let client = SocketAddr::new(ip, port);
    let extra = &behind[..behind.len().min(64)];
    for header in [line_of(client), binary_of(client, extra)] {
        let expected = Parsed::Whole { client: Some(client), length: header.len() };
        assert_eq!(parse_header(&[&header, behind].concat()), expected);
    }
}

fn line_of(client: SocketAddr) -> Vec<u8> {
    let (family, ip, port) = (if client.is_ipv4() { "TCP4" } else { "TCP6" }, client.ip(), client.port());
    format!("PROXY {family} {ip} {ip} {port} 443\r\n").into_bytes()
}

fn binary_of(client: SocketAddr, extra: &[u8]) -> Vec<u8> {
    let (family, ip) = match client.ip() {
        IpAddr::V4(ip) => (0x11, ip.octets().to_vec()),
        IpAddr::V6(ip) => (0x21, ip.octets().to_vec()),
    };
    let port = client.port().to_be_bytes();
    // The lengths of what a proxy adds are right, though its kinds are nobody's.
    let added = extra.chunks(9).map(|value| [&[0xe0, 0, value.len() as u8], value].concat());
    let behind = [ip.clone(), ip, port.to_vec(), port.to_vec(), added.collect::<Vec<_>>().concat()].concat();
    let length = u16::try_from(behind.len()).expect("it is short").to_be_bytes();
    [SIGNATURE, &[0x21, family], &length, &behind].concat()
}
