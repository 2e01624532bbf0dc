//! Connection limits, address limits, listeners and PROXY headers.

use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use roomcast::config::AddressLimits;
use roomcast::net::NoPermit;
use roomcast::net::accept::Listener;
use roomcast::net::address_limiter::AddressLimiter;
use roomcast::net::connection_limit::ConnectionLimit;
use roomcast::net::listen::{UNSENT_BYTES_MAX, listeners};
use roomcast::net::proxy::{Parsed, parse_header};
use socket2::SockRef;

const ANY_PORT: &str = "127.0.0.1:0";

#[test]
fn a_permit_is_free_again_when_its_client_is_gone() {
    let limit = ConnectionLimit::new(2);
    let first = limit.try_acquire();
    let second = limit.try_acquire();
    assert!(first.is_some() && second.is_some());
    assert!(limit.try_acquire().is_none());
    drop(first);
    assert!(limit.try_acquire().is_some());
}

#[test]
fn a_part_is_full_when_its_own_limit_or_the_total_limit_is_reached() {
    let whole = ConnectionLimit::new(3);
    let (one, other) = (whole.part(2), whole.part(2));
    let mut first = [one.try_acquire(), one.try_acquire()];
    assert!(first.iter().all(Option::is_some) && one.try_acquire().is_none());
    assert!(one.is_full() && !other.is_full() && !whole.is_full());
    let _third = other.try_acquire().unwrap();
    assert!(other.try_acquire().is_none() && other.is_full() && whole.is_full());
    first[0] = None;
    assert!(!one.is_full() && !other.is_full());
    let _fourth = other.try_acquire().unwrap();
    assert!(one.try_acquire().is_none(), "the total limit is reached");
    first[1] = None;
    assert!(one.try_acquire().is_some());
}

#[tokio::test]
async fn a_dropped_listener_refuses_connects_although_a_copy_of_its_descriptor_is_open() {
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (address, _copy) = (listener.local_addr().unwrap(), listener.try_clone().unwrap());
    let listener = Listener::new(listener, ConnectionLimit::new(1)).unwrap();
    TcpStream::connect(address).unwrap();
    drop(listener);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn all_listeners_share_the_port_of_the_first() {
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

fn address_limiter(clients: u32, connects: u32) -> AddressLimiter {
    let [clients_max, connects_per_second] = [clients, connects].map(NonZeroU32::new);
    AddressLimiter::new(AddressLimits { clients_max, connects_per_second })
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn each_address_has_a_limit_of_its_own() {
    let limiter = address_limiter(2, 0);
    let acquire = |text| limiter.acquire(address(text));
    let mut here: Vec<_> = (0..2).map(|_| acquire("10.0.0.1").unwrap()).collect();
    assert_eq!(acquire("10.0.0.1").unwrap_err(), NoPermit::TooManyOfAddress);
    assert_eq!(acquire("::ffff:10.0.0.1").unwrap_err(), NoPermit::TooManyOfAddress, "it is the same address");
    here.push(acquire("10.0.0.2").unwrap());
    here.remove(0);
    assert!(acquire("10.0.0.1").is_ok_and(|permit| permit.is_some()));
}

#[test]
fn an_ipv6_customer_is_one_address() {
    let limiter = address_limiter(1, 0);
    let _first = limiter.acquire(address("2001:db8::1")).unwrap();
    assert_eq!(limiter.acquire(address("2001:db8::ffff:0:1")).unwrap_err(), NoPermit::TooManyOfAddress);
    assert!(limiter.acquire(address("2001:db8:0:1::1")).is_ok());
}

#[test]
fn a_second_brings_as_many_connects_as_the_rate_says() {
    let limiter = address_limiter(0, 4);
    let now = Instant::now();
    let at = |milliseconds| limiter.acquire_at(address("10.0.0.1"), now + Duration::from_millis(milliseconds));
    assert!((0..4).all(|_| at(0).is_ok()));
    assert_eq!(at(0).unwrap_err(), NoPermit::TooManyOfAddress);
    assert_eq!(at(249).unwrap_err(), NoPermit::TooManyOfAddress);
    assert!(at(250).is_ok());
    assert_eq!(at(250).unwrap_err(), NoPermit::TooManyOfAddress);
    assert!(limiter.acquire_at(address("10.0.0.2"), now).is_ok());
    assert_eq!((0..9).filter(|_| at(60_000).is_ok()).count(), 4);
}

#[test]
fn few_quiet_addresses_are_limited_beside_thousands_of_busy_ones() {
    const BUSY: u32 = 1_000;
    const QUIET: u32 = 10_000;
    let limiter = address_limiter(10, 0);
    let acquire = |number: u32| limiter.acquire(IpAddr::V4(number.into()));
    let busy: Vec<_> = (0..BUSY * 10).map(|number| acquire(number % BUSY)).collect();
    assert!(busy.iter().filter(|acquired| acquired.is_err()).count() <= 10);
    let mistaken = (BUSY..BUSY + QUIET).filter(|&number| acquire(number).is_err()).count();
    // A quiet address is limited by mistake with a probability of (1 000 / 16 384)⁴, so 0.14 addresses on average.
    assert!(mistaken <= 5, "{mistaken}");
    drop(busy);
    assert!((0..BUSY).all(|number| acquire(number).is_ok()), "all permits were returned");
}

#[test]
fn a_proxy_header_of_version_1_is_one_line_of_at_most_107_bytes_though_it_comes_in_one_piece() {
    let line = |text: &str| format!("PROXY UNKNOWN {text}\r\n").into_bytes();
    let longest = line(&"x".repeat(91));
    assert_eq!(parse_header(&longest), Parsed::Whole { client: None, length: 107 });
    for wrong in [line(&"x".repeat(92)), line("x\ny"), line("\n")] {
        assert_eq!(parse_header(&wrong), Parsed::Malformed, "{wrong:?}");
    }
}

#[test]
fn a_proxy_header_is_the_same_at_every_split_and_other_bytes_are_refused_at_once() {
    let client = Some("192.0.2.7:4711".parse().unwrap());
    let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 8080\r\n";
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x1f\x90";
    for header in [&v1[..], v2] {
        for end in 0..header.len() {
            assert_eq!(parse_header(&header[..end]), Parsed::Partial, "{end}");
        }
        let whole = Parsed::Whole { client, length: header.len() };
        assert_eq!(parse_header(&[header, b"JOIN a\n"].concat()), whole);
    }
    let bent = [&v2[..8], b"x"].concat();
    let others = [b"J", &bent[..], b"GET / HTTP/1.1\r\n", b"PROXYJ", b"PROXY TCP4\r\n"];
    for other in others.into_iter().chain([&b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n"[..]]) {
        assert_eq!(parse_header(other), Parsed::Malformed, "{other:?}");
    }
}
