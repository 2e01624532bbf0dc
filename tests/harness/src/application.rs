//! The application that a server asks by hooks: a small HTTP server that answers what the test says, when it says so.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use flume::{Receiver, Sender, unbounded};
use serde_json::Value;

use super::FAILSAFE;

/// An application. Its threads end with the process.
pub struct Application {
    address: SocketAddr,
    questions: Receiver<AskedQuestion>,
}

/// A question that waits for its answer. Dropping it closes the connection.
pub struct AskedQuestion {
    /// The headers by their names in lower case.
    pub headers: HashMap<String, String>,
    /// The body as it came.
    pub body: Vec<u8>,
    answer: Sender<Vec<u8>>,
}

/// An answer with status 200, these further header lines, each with its end, and this body.
pub fn http_answer(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

impl Application {
    /// An application whose questions the test answers one by one.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (asked, questions) = unbounded();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, asked) = (stream.expect("a connection"), asked.clone());
                thread::spawn(move || serve(stream, &asked));
            }
        });
        Self { address, questions }
    }

    /// The URL to ask.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The next question.
    #[track_caller]
    pub fn question(&self) -> AskedQuestion {
        self.questions.recv_timeout(FAILSAFE).expect("a question")
    }

    /// The next question, if it has come.
    pub fn question_so_far(&self) -> Option<AskedQuestion> {
        self.questions.try_recv().ok()
    }

    /// The server has asked nothing that was not answered.
    #[track_caller]
    pub fn expect_no_question(&self) {
        assert!(self.questions.is_empty(), "the server asks more than it should");
    }

    /// Answers everything from here on.
    pub fn answer_all(&self, answer: impl Fn(&AskedQuestion) -> Vec<u8> + Send + 'static) {
        let questions = self.questions.clone();
        thread::spawn(move || {
            questions.iter().for_each(|question| {
                let bytes = answer(&question);
                question.answer_bytes(bytes);
            })
        });
    }
}

impl AskedQuestion {
    /// The body.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Answers with status 200 and this body.
    pub fn answer(self, json: impl ToString) {
        self.answer_bytes(http_answer("", json.to_string()));
    }

    /// Answers with these bytes, a head among them.
    pub fn answer_bytes(self, bytes: Vec<u8>) {
        // Fails if the server waits no longer.
        let _ = self.answer.send(bytes);
    }
}

/// Serves the requests of one connection, each after the answer to the one before.
fn serve(mut stream: TcpStream, asked: &Sender<AskedQuestion>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    while let Some((headers, body)) = read_request(&mut reader) {
        let (answer, answered) = unbounded();
        if asked.send(AskedQuestion { headers, body, answer }).is_err() {
            return;
        }
        match answered.recv() {
            Ok(bytes) if stream.write_all(&bytes).is_ok() => {}
            _ => return,
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<(HashMap<String, String>, Vec<u8>)> {
    let lines: Vec<String> =
        reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let (first, rest) = lines.split_first()?;
    assert_eq!(first, "POST /hook HTTP/1.1");
    let header = |line: &String| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    let headers: HashMap<String, String> = rest.iter().filter_map(header).collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((headers, body))
}
