//! What HTTP requests of strangers say: the room and the query of a path, the origin of a page, the client behind proxies,
//! the bodies of requests beside a stream, and calls of the server API.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use prost::Message;
use roomcast::api::{ApiMethod, Call};
use roomcast::config::{HostName, Origins};
use roomcast::net::proxy::TrustedProxies;
use roomcast::protocol::centrifuge::emulation::{BinaryEmulationRequest, EmulationRequest};
use roomcast::protocol::position::Position;
use roomcast::transport::http::{OriginRules, Reached, RoomQuery, forwarded_for, room_of};
use serde_json::json;
use serde_json::value::RawValue;
use strum::VariantArray;

use crate::input::choices;

/// The proxy from which all requests come.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// The bytes as each part of a request.
pub fn http(input: &[u8]) {
    check_binary_emulation(input);
    let ([method], bytes) = choices::<1>(input);
    let Ok(text) = str::from_utf8(bytes) else { return };
    check_emulation(text);
    check_room(text);
    check_query(text);
    check_call(ApiMethod::VARIANTS[usize::from(method) % ApiMethod::VARIANTS.len()], text);
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    if let (Ok(first), Ok(second)) = (HeaderValue::from_str(first), HeaderValue::from_str(second)) {
        check_origin(&first, &second);
        check_forwarded(first, second);
    }
}

/// A room has one name in a path, whatever in it is encoded.
fn check_room(text: &str) {
    if let Ok(room) = room_of(&format!("/rooms/{text}")) {
        let encoded: String = room.as_str().bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(room_of(&format!("/rooms/{encoded}")), Ok(room));
    }
}

fn check_query(text: &str) {
    let Ok(query) = RoomQuery::parse(text) else { return };
    assert!(query.limit > 0);
    let since = query.since.map_or(String::new(), |since: Position| format!("&since={since}"));
    let live = if query.is_live { "&live=sse" } else { "" };
    assert_eq!(RoomQuery::parse(&format!("limit={}{since}{live}", query.limit)), Ok(query));
}

/// A body that is accepted is an object of JSON, and one that is refused gets an error of one line.
fn check_call(method: ApiMethod, text: &str) {
    match Call::parse(method, text) {
        Ok(_) => assert!(serde_json::from_str::<&RawValue>(text).is_ok_and(|json| json.get().starts_with('{'))),
        Err(error) => assert!(error.0.contains(method.name()) && !error.0.contains('\n'), "{error:?}"),
    }
}

fn check_emulation(text: &str) {
    let Some(request) = EmulationRequest::parse(text.as_bytes()) else { return };
    let EmulationRequest { session, node, frame } = &request;
    let written = json!({"session": session, "node": node, "data": frame}).to_string();
    let again = EmulationRequest::parse(written.as_bytes()).expect("it was just written");
    assert!((again.session, again.node, again.frame) == (request.session, request.node, request.frame));
}

fn check_binary_emulation(bytes: &[u8]) {
    let Some(request) = BinaryEmulationRequest::parse(bytes) else { return };
    let again = BinaryEmulationRequest::parse(&request.encode_to_vec()).expect("it was just written");
    assert!((again.session, again.node, again.frame) == (request.session, request.node, request.frame));
}

/// A page that may connect, where none is listed, is of the host that was asked for.
fn check_origin(origin: &HeaderValue, host: &HeaderValue) {
    let mut headers = HeaderMap::new();
    headers.insert(ORIGIN, origin.clone());
    headers.insert(HOST, host.clone());
    let rules = OriginRules { origins: Origins::SameHostAnd(Vec::new()), hosts: Vec::new(), is_tls: false };
    for reached in [Reached::Directly, Reached::OverLoopback, Reached::Forwarded(None)] {
        if rules.allow(&headers, reached) {
            let page = origin.to_str().expect("an origin is ASCII");
            let page = page.strip_prefix("https://").or_else(|| page.strip_prefix("http://")).expect("it has a scheme");
            let (page, host) = (host_of(page), host_of(host.to_str().expect("a host is ASCII")));
            assert_eq!(page, host, "{reached:?}");
        }
        let _ = rules.allow_reading(&headers, reached);
    }
}

fn host_of(text: &str) -> String {
    HostName::parse(text).expect("a host").name
}

/// The client is the proxy, unless it names another: the last one behind which there are only proxies.
fn check_forwarded(first: HeaderValue, second: HeaderValue) {
    let hops = [&first, &second].map(|list| list.to_str().unwrap_or("unreadable").to_owned()).join(",");
    let mut headers = HeaderMap::new();
    headers.append("x-forwarded-for", first);
    headers.append("x-forwarded-for", second);
    assert_eq!(forwarded_for(&TrustedProxies::new(&[], false), PROXY, &headers), PROXY, "nobody is trusted");
    let client = forwarded_for(&TrustedProxies::new(&[PROXY.into()], false), PROXY, &headers);
    let hops: Vec<Option<IpAddr>> = hops.split(',').map(|hop| address_of(hop.trim())).collect();
    let is_proxy = |hop: &Option<IpAddr>| hop.is_some_and(|hop| hop.to_canonical() == PROXY);
    let is_named = |at: usize| hops[at] == Some(client) && hops[at + 1..].iter().all(is_proxy);
    assert!(client == PROXY || (0..hops.len()).any(is_named), "{client} of {hops:?}");
}

fn address_of(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse().ok().map(|with_port: SocketAddr| with_port.ip());
    hop.parse().ok().or_else(with_port)
}
