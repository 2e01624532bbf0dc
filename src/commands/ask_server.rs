//! `roomcast publish` and `roomcast rooms`: small clients of the server API of a server that runs.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use hyper::Uri;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;

use crate::config::{API_KEY_VARIABLE, ServerToAsk};
use crate::protocol::position::{Epoch, Offset, Position};

/// How long the server may take to accept the connection, and for each part of its answer.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the server answers to a call.
#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

#[derive(Deserialize)]
struct Published {
    offset: Option<u64>,
    epoch: Option<String>,
}

#[derive(Deserialize)]
struct Rooms {
    channels: BTreeMap<String, Room>,
}

#[derive(Deserialize)]
struct Room {
    num_clients: usize,
}

/// Publishes to a room, and returns the position of the publication, if the room retains it.
///
/// # Errors
/// The text is not the JSON that it should be, the server cannot be asked, or it refuses.
pub fn publish(
    http: SocketAddr,
    server: &ServerToAsk,
    room: &str,
    text: &str,
    is_json: bool,
) -> anyhow::Result<String> {
    let data = match is_json {
        true => serde_json::from_str::<&RawValue>(text).context("--json: the text is not JSON")?.get().to_owned(),
        false => json!({ "text": text }).to_string(),
    };
    let body = format!("{{\"channel\":{},\"data\":{data}}}", json!(room));
    let Published { offset, epoch } = ask(http, server, "publish", &body)?;
    let epoch = epoch.as_deref().and_then(Epoch::parse);
    Ok(match offset.zip(epoch) {
        Some((offset, epoch)) => format!("{}\n", Position { epoch, offset: Offset(offset) }),
        None => String::new(),
    })
}

/// The rooms of the server and the number of their members, one room on each line.
///
/// # Errors
/// The server cannot be asked, or it refuses.
pub fn rooms(http: SocketAddr, server: &ServerToAsk, pattern: Option<&str>) -> anyhow::Result<String> {
    let Rooms { channels } = ask(http, server, "channels", &json!({ "pattern": pattern }).to_string())?;
    Ok(channels.into_iter().map(|(name, Room { num_clients })| format!("{name} {num_clients}\n")).collect())
}

/// The result of a call.
fn ask<T: DeserializeOwned>(
    http: SocketAddr,
    ServerToAsk { url, key_file }: &ServerToAsk,
    method: &str,
    body: &str,
) -> anyhow::Result<T> {
    let key = match key_file {
        Some(path) => fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => {
            env::var(API_KEY_VARIABLE).map_err(|_| anyhow!("no API key: --key-file PATH, or {API_KEY_VARIABLE}"))?
        }
    };
    let key = key.trim();
    ensure!(
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()),
        "the API key is no single word, as `roomcast gen-key` prints it"
    );
    let url = url.clone().unwrap_or_else(|| format!("http://{}", reachable(http)));
    let (status, answer) = post(&url, method, key, body)?;
    match status {
        200 => {}
        401 => bail!("{url} knows no such API key: see api-keys-file of the server"),
        _ => bail!("{url} answers with status {status}: {}", answer.lines().next().unwrap_or_default()),
    }
    let answer: Answer<T> = serde_json::from_str(&answer).with_context(|| format!("{url} is no Roomcast server"))?;
    match answer {
        Answer { error: Some(Refusal { message }), .. } => bail!("{message}"),
        Answer { result, .. } => result.with_context(|| format!("{url} is no Roomcast server")),
    }
}

/// The address at which this host reaches a server that listens at this one.
fn reachable(mut http: SocketAddr) -> SocketAddr {
    if http.ip().is_unspecified() {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        http.set_ip(loopback[usize::from(http.is_ipv6())]);
    }
    http
}

/// The status and the body of an answer. HTTP/1.0, in which an answer ends with its connection.
fn post(url: &str, method: &str, key: &str, body: &str) -> anyhow::Result<(u16, String)> {
    let uri: Uri = url.parse().ok().filter(|uri: &Uri| uri.authority().is_some()).with_context(|| not_a_url(url))?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else { bail!(not_a_url(url)) };
    let host = authority.host().trim_matches(['[', ']']);
    let mut stream = connect(host, authority.port_u16().unwrap_or(80))
        .with_context(|| format!("cannot connect to {authority}: does the server run there? --url says where"))?;
    let path = uri.path().trim_end_matches('/');
    let head = format!(
        "POST {path}/api/{method} HTTP/1.0\r\nHost: {authority}\r\nX-API-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut answer = Vec::new();
    // A server that refuses may do so before it has read the body.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
    parse_answer(&answer).map_err(|wrong| {
        let cause = read.map_or_else(|error| anyhow!("{wrong}: {error}"), |_| anyhow!(wrong));
        cause.context(format!("no answer from {authority}"))
    })
}

/// The status and the body of an answer, or what is wrong with it.
fn parse_answer(answer: &[u8]) -> Result<(u16, String), &'static str> {
    const NOT_HTTP: &str = "it does not speak HTTP";
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(NOT_HTTP)?;
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok()).ok_or(NOT_HTTP)?;
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.and_then(|(_, length)| length.trim().parse().ok()).unwrap_or_default();
    // Counted in bytes as they came: a character that is cut is longer in the text.
    let begin = head.len() + "\r\n\r\n".len();
    if answer.len() < begin + length { Err("the answer is cut short") } else { Ok((status, body.to_owned())) }
}

fn not_a_url(url: &str) -> String {
    format!("--url {url:?}: as in http://127.0.0.1:3000; https is not spoken here")
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, SILENCE_MAX) {
            Ok(stream) => {
                stream.set_read_timeout(Some(SILENCE_MAX))?;
                stream.set_write_timeout(Some(SILENCE_MAX))?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
