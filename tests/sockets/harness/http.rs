//! An HTTP client byte by byte.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use super::lines::READ_TIMEOUT;

/// Small, so that thousands of clients fit.
const READ_BUFFER_BYTES: usize = 1024;

/// The metric that counts how often the text of the metrics was made.
const SCRAPES: &str = "roomcast_scrapes_total";

/// What comes before the body of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads one.
    #[track_caller]
    pub fn read(from: &mut impl BufRead) -> Self {
        let mut lines = from.lines().map(|line| line.expect("a head")).take_while(|line| !line.is_empty());
        let first = lines.next().expect("an answer, not the end");
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).expect(&first);
        let header = |line: String| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self { status: status.parse().expect("a status"), headers: lines.map(header).collect() }
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// One connection.
pub struct Http(BufReader<TcpStream>);

impl Http {
    pub fn connect(server: SocketAddr) -> Self {
        Self::over(TcpStream::connect(server).expect("a server that accepts"))
    }

    /// Over a connection that was made.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(READ_TIMEOUT)).expect("an option");
        stream.set_nodelay(true).expect("an option");
        Self(BufReader::with_capacity(READ_BUFFER_BYTES, stream))
    }

    /// The answer to `GET`, on a connection of its own.
    #[track_caller]
    pub fn get(server: SocketAddr, path: &str) -> (Head, String) {
        let mut client = Self::connect(server);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        let answer = client.answer();
        client.expect_end();
        answer
    }

    /// Another hold on the connection, to write from another thread.
    pub fn write_half(&self) -> TcpStream {
        self.0.get_ref().try_clone().expect("a descriptor")
    }

    /// Writes all of it in one call.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.0.get_ref().write_all(bytes.as_ref()).expect("a server that reads");
    }

    /// The next answer.
    #[track_caller]
    pub fn answer(&mut self) -> (Head, String) {
        let head = Head::read(&mut self.0);
        let length = head.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        (head, String::from_utf8(body).expect("text"))
    }

    /// The stream ends here, and not with a reset.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the end");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// What goes on as something else, with what was read of it already.
    pub fn into_stream(self) -> BufReader<TcpStream> {
        self.0
    }
}

/// Every sample of `GET /metrics`, by its name with its labels, as of a moment after the call. A worker makes the text at most
/// every 100 ms and counts how often, so one that it made after another that was read is a new one.
#[track_caller]
pub fn metrics(server: SocketAddr) -> HashMap<String, f64> {
    let mut client = Http::connect(server);
    let (is_kept, first) = scrape(&mut client);
    // Without a place each request is a connection of its own, to either of two workers: the other has made at most two texts
    // while this one was young.
    let newer = if is_kept { 1.0 } else { 3.0 };
    loop {
        if !is_kept {
            client = Http::connect(server);
        }
        let (_, found) = scrape(&mut client);
        if found[SCRAPES] >= first[SCRAPES] + newer {
            return found;
        }
        thread::yield_now();
    }
}

/// Whether the connection is kept, and the samples of one answer.
#[track_caller]
fn scrape(client: &mut Http) -> (bool, HashMap<String, f64>) {
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, text) = client.answer();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/plain; version=0.0.4")));
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    (head.header("connection") != Some("close"), samples.map(sample).collect())
}
