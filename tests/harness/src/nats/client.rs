//! A client of NATS by its text protocol, as much of it as tests need.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::FAILSAFE;

/// The longest that an answer is waited for, if no other time is set: a request to a server without a leader has none.
const TIMEOUT: Duration = Duration::from_secs(2);

/// One connection.
pub struct NatsClient {
    stream: BufReader<TcpStream>,
    /// The number of the last subscription.
    subscriptions: u32,
}

impl NatsClient {
    /// Connects as this user, and waits until the server has accepted it.
    pub fn connect(server: SocketAddr, credentials: Option<(&str, &str)>) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream: BufReader::new(stream), subscriptions: 0 };
        let (user, password) = credentials.unzip();
        let options = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "user": user, "pass": password, "name": "test",
        });
        client.send(format!("CONNECT {options}\r\n").as_bytes())?;
        client.fence()?;
        Ok(client)
    }

    /// Waits until the server has done what was sent before. Messages that come meanwhile are passed over.
    pub fn fence(&mut self) -> io::Result<()> {
        self.send(b"PING\r\n")?;
        while self.line()? != "PONG" {}
        Ok(())
    }

    /// Waits for answers as long as tests wait for anything: where there must be one.
    pub fn patient(self) -> io::Result<Self> {
        self.stream.get_ref().set_read_timeout(Some(FAILSAFE))?;
        Ok(self)
    }

    /// Publishes a message.
    pub fn publish(&mut self, subject: &str, payload: &[u8]) -> io::Result<()> {
        self.publish_with(subject, "", payload)
    }

    fn publish_with(&mut self, subject: &str, reply_to: &str, payload: &[u8]) -> io::Result<()> {
        let head = format!("PUB {subject} {reply_to} {}\r\n", payload.len());
        self.send(&[head.as_bytes(), payload, b"\r\n"].concat())
    }

    /// Subscribes to a subject, which may be a pattern.
    pub fn subscribe(&mut self, subject: &str) -> io::Result<()> {
        self.subscriptions += 1;
        let number = self.subscriptions;
        self.send(format!("SUB {subject} {number}\r\n").as_bytes())
    }

    /// The answer to a request, which is JSON. An error if nobody answers.
    pub fn request(&mut self, subject: &str, payload: impl ToString) -> io::Result<Value> {
        let inbox = format!("_INBOX.test.{}.{}", std::process::id(), self.stream.get_ref().local_addr()?.port());
        self.subscribe(&inbox)?;
        let subscription = self.subscriptions;
        self.publish_with(subject, &inbox, payload.to_string().as_bytes())?;
        let (_, answer) = self.message()?;
        self.send(format!("UNSUB {subscription}\r\n").as_bytes())?;
        serde_json::from_slice(&answer).map_err(io::Error::other)
    }

    /// The subject and the payload of the next message.
    pub fn message(&mut self) -> io::Result<(String, Vec<u8>)> {
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let length = |word: &str| word.parse::<usize>().map_err(io::Error::other);
            let (skipped, total) = match words[..] {
                ["MSG", .., total] => (0, length(total)?),
                ["HMSG", .., headers, total] => (length(headers)?, length(total)?),
                _ => continue,
            };
            let mut payload = vec![0; total + 2];
            self.stream.read_exact(&mut payload)?;
            payload.truncate(total);
            return Ok((words[1].to_owned(), payload.split_off(skipped)));
        }
    }

    /// What the leader tells of a stream; `None` without the stream or its leader.
    pub fn stream(&mut self, name: &str) -> Option<Value> {
        let info = self.request(&format!("$JS.API.STREAM.INFO.{name}"), "").ok()?;
        info["error"].is_null().then_some(info)
    }

    /// Creates a stream.
    pub fn create_stream(&mut self, config: &Value) -> io::Result<Value> {
        let name = config["name"].as_str().expect("a name");
        let answer = self.request(&format!("$JS.API.STREAM.CREATE.{name}"), config)?;
        if answer["error"].is_null() { Ok(answer) } else { Err(io::Error::other(answer.to_string())) }
    }

    /// The next line that is no `PING`, which it answers.
    fn line(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "PING" => self.send(b"PONG\r\n")?,
                line if line.starts_with("-ERR") => return Err(io::Error::other(line.to_owned())),
                line => return Ok(line.to_owned()),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }
}
