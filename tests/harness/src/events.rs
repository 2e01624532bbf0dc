//! A reader of server-sent events, by the rules of the HTML standard (§9.2.6), which remembers the last id as an
//! `EventSource` does.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::{Body, Endpoint, Http, Stream};

/// An event as it was dispatched. Comments, and events without data, are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSentEvent {
    /// The type; `message` if none was named.
    pub event: String,
    /// The data, with its lines joined.
    pub data: String,
}

/// The events of one answer.
pub struct EventStream<R> {
    lines: BufReader<R>,
    /// The last id, which an `EventSource` comes back with.
    pub last_event_id: String,
    /// The latest time after which an `EventSource` comes back, in milliseconds.
    pub retry: Option<u64>,
    /// Comments so far.
    pub comments: usize,
}

impl EventStream<Body> {
    /// Requests a stream at this path, with further header lines.
    #[track_caller]
    pub fn open(server: impl Into<Endpoint>, path: &str, headers: &str) -> Self {
        Self::try_open(server, path, headers).expect("a stream of events")
    }

    /// Requests a stream of a server that may be gone, or refuse.
    pub fn try_open(server: impl Into<Endpoint>, path: &str, headers: &str) -> io::Result<Self> {
        let stream = Stream::try_connect(server.into())?;
        write!(&stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")?;
        let mut client = Http::on(stream);
        let head = client.try_head()?;
        match (head.status, head.header("content-type")) {
            (200, Some("text/event-stream")) => Ok(Self::of(Body::new(client, &head))),
            other => Err(io::Error::other(format!("{path}: {other:?}"))),
        }
    }
}

impl<R: Read> EventStream<R> {
    /// The events in this body.
    pub fn of(body: R) -> Self {
        Self { lines: BufReader::with_capacity(1024, body), last_event_id: String::new(), retry: None, comments: 0 }
    }

    /// Reads on until an event is dispatched; `None` at the end of the stream. An event that is not whole is none.
    pub fn next_event(&mut self) -> Option<ServerSentEvent> {
        let (mut event, mut data, mut id) = (String::new(), None::<String>, None);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                self.last_event_id = id.take().unwrap_or(std::mem::take(&mut self.last_event_id));
                if let Some(data) = data.take() {
                    let event = if event.is_empty() { "message".to_owned() } else { event };
                    return Some(ServerSentEvent { event, data });
                }
                event.clear();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.comments += 1,
                "event" => event = value.to_owned(),
                "id" => id = Some(value.to_owned()),
                "retry" => self.retry = value.parse().ok(),
                "data" => {
                    data = Some(data.map_or_else(String::new, |before| before + "\n") + value);
                }
                _ => panic!("{line:?} is no field"),
            }
        }
    }

    /// The next event, which must be of this type.
    #[track_caller]
    pub fn expect(&mut self, event: &str) -> String {
        let found = self.next_event().expect("an event, not the end");
        assert_eq!(found.event, event, "{found:?}");
        found.data
    }

    /// Reads until the beginning has come: a place from which the reader may come back.
    #[track_caller]
    pub fn until_placed(&mut self) {
        while self.last_event_id.is_empty() {
            let line = self.line().expect("a beginning");
            if let Some(id) = line.strip_prefix("id: ") {
                self.last_event_id = id.to_owned();
                assert_eq!(self.line().as_deref(), Some(""), "an empty line behind the id");
            } else if let Some(retry) = line.strip_prefix("retry: ") {
                self.retry = retry.parse().ok();
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        // A stream that is cut ends with an error.
        self.lines.read_line(&mut line).ok()?;
        line.pop().filter(|end| *end == '\n')?;
        assert!(!line.contains('\r'), "{line:?}");
        Some(line)
    }
}
