//! An HTTP client that writes bytes and reads answers.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::lines::READ_BUFFER_BYTES;
use super::{Endpoint, Stream, until};

/// The metric that counts how often the text of the metrics was written.
const SCRAPES: &str = "roomcast_scrapes_total";

/// The status line and the headers of an answer.
#[derive(Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads it up to the empty line.
    #[track_caller]
    pub fn read(from: &mut impl BufRead) -> Self {
        Self::try_read(from).expect("an answer, not the end")
    }

    /// Reads it up to the empty line, from a server that may be gone.
    pub fn try_read(from: &mut impl BufRead) -> io::Result<Self> {
        let lines = from.lines().take_while(|line| !line.as_ref().is_ok_and(String::is_empty));
        let mut lines = lines.collect::<io::Result<Vec<String>>>()?.into_iter();
        let first = lines.next().ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).expect(&first);
        let header = |line: String| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Ok(Self { status: status.parse().expect("a status"), headers: lines.map(header).collect() })
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn content_length(&self) -> usize {
        self.header("content-length").map_or(0, |length| length.parse().expect("a length"))
    }
}

/// One connection.
pub struct Http(BufReader<Stream>);

impl Http {
    /// Connects and sends nothing.
    #[track_caller]
    pub fn connect(server: impl Into<Endpoint>) -> Self {
        Self::on(Stream::connect(server.into()))
    }

    /// A client on this plain connection.
    #[track_caller]
    pub fn over(socket: TcpStream) -> Self {
        let server: Endpoint = socket.peer_addr().expect("a connected socket").into();
        Self::on(Stream::over(socket, server))
    }

    /// A client on this connection.
    pub fn on(stream: Stream) -> Self {
        Self(BufReader::with_capacity(READ_BUFFER_BYTES, stream))
    }

    /// The answer to `GET`, on a connection of its own.
    #[track_caller]
    pub fn get(server: impl Into<Endpoint>, path: &str) -> (Head, String) {
        let mut client = Self::connect(server);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        let answer = client.answer();
        client.expect_end();
        answer
    }

    /// The same connection for another thread to write to.
    #[track_caller]
    pub fn write_half(&self) -> Stream {
        self.0.get_ref().try_clone().expect("a descriptor")
    }

    /// Writes all of it in one call.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.0.get_ref().write_all(bytes.as_ref()).expect("a server that reads");
    }

    /// The head of the next answer.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        Head::read(&mut self.0)
    }

    /// The head of the next answer of a server that may be gone.
    pub fn try_head(&mut self) -> io::Result<Head> {
        Head::try_read(&mut self.0)
    }

    /// The next answer.
    #[track_caller]
    pub fn answer(&mut self) -> (Head, String) {
        let head = self.head();
        let body = self.body(&head);
        (head, body)
    }

    /// The next answer of a server that may be gone.
    pub fn try_answer(&mut self) -> io::Result<(Head, String)> {
        let head = self.try_head()?;
        let mut body = vec![0; head.content_length()];
        self.0.read_exact(&mut body)?;
        Ok((head, String::from_utf8(body).expect("text")))
    }

    /// The body behind a head.
    #[track_caller]
    pub fn body(&mut self, head: &Head) -> String {
        String::from_utf8(self.bytes(head)).expect("text")
    }

    /// The body behind a head, which need not be text.
    #[track_caller]
    pub fn bytes(&mut self, head: &Head) -> Vec<u8> {
        let mut body = vec![0; head.content_length()];
        self.0.read_exact(&mut body).expect("a body");
        body
    }

    /// The stream ends here, and not with a reset.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the end");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// The connection with what was read ahead of it, for another protocol.
    pub fn into_stream(self) -> BufReader<Stream> {
        self.0
    }
}

/// A body that goes on: in chunks, or up to the end of the connection.
pub struct Body {
    stream: BufReader<Stream>,
    is_chunked: bool,
    /// Bytes of the current chunk that were not read yet.
    left: usize,
    is_over: bool,
}

impl Body {
    /// The body behind a head.
    pub fn new(client: Http, head: &Head) -> Self {
        let is_chunked = head.header("transfer-encoding") == Some("chunked");
        Self { stream: client.into_stream(), is_chunked, left: 0, is_over: false }
    }

    /// Reads the length of the next chunk; zero ends the body.
    fn begin_chunk(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim_end(), 16);
        self.left = length.map_err(|_| io::Error::other(format!("{line:?} is no length of a chunk")))?;
        if self.left == 0 {
            self.is_over = true;
            self.end_chunk()?;
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        let mut end = [0; 2];
        self.stream.read_exact(&mut end)?;
        if &end == b"\r\n" { Ok(()) } else { Err(io::Error::other("no line end behind a chunk")) }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_chunked {
            return self.stream.read(buffer);
        }
        if self.left == 0 && !self.is_over {
            self.begin_chunk()?;
        }
        let most = buffer.len().min(self.left);
        let read = self.stream.read(&mut buffer[..most])?;
        self.left -= read;
        match (read, self.left) {
            (0, 1..) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (1.., 0) => self.end_chunk()?,
            _ => {}
        }
        Ok(read)
    }
}

/// Every sample of `GET /metrics` by its name with its labels, as of a moment after the call. A worker writes the text
/// at most every 100 ms and counts how often it does, so this reads until that count has grown.
#[track_caller]
pub fn metrics(server: impl Into<Endpoint>) -> HashMap<String, f64> {
    let server = server.into();
    let mut client = Http::connect(server);
    let (is_kept, first) = scrape(&mut client);
    // A full server closes after each answer, and either of two workers takes the next connection: the other one has
    // written at most two texts while the first was still valid.
    let newer = if is_kept { 1.0 } else { 3.0 };
    let mut found = first.clone();
    until(|| {
        if !is_kept {
            client = Http::connect(server);
        }
        found = scrape(&mut client).1;
        found[SCRAPES] >= first[SCRAPES] + newer
    });
    found
}

/// The same as of the first moment at which this holds: what a shard or a worker counts behind an answer comes later.
#[track_caller]
pub fn metrics_when(
    server: impl Into<Endpoint>,
    holds: impl Fn(&HashMap<String, f64>) -> bool,
) -> HashMap<String, f64> {
    let server = server.into();
    let mut found = HashMap::new();
    until(|| {
        found = metrics(server);
        holds(&found)
    });
    found
}

/// One answer: whether the connection stays open, and the samples.
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
