//! Line clients: telnet commands, lines and commands of text. What a client says does not depend on how the network cuts
//! it, and is what a plain model of lines says.

use roomcast::protocol::client_lines::ClientLines;
use roomcast::protocol::command::{Command, parse, parse_message};
use roomcast::protocol::lines::DecodedLine;
use roomcast::protocol::telnet::Telnet;

use crate::input::{choices, chunks};

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// It is a command, or empty.
    Accepted(Vec<u8>),
    /// It breaks a rule. The client stays.
    Refused,
    /// It is longer than the limit. The connection ends.
    TooLong,
}

/// The read side of a line client, without its session.
struct LineClient {
    lines: ClientLines,
    tail: Vec<u8>,
    /// The incomplete line is among those that were heard, as refused.
    is_refused: bool,
    heard: Vec<Heard>,
    answers: Vec<u8>,
}

/// Lines in any chunks are the lines in one piece, within the limit.
pub fn lines(input: &[u8]) {
    let ([limit, lengths @ ..], bytes) = choices::<5>(input);
    let bytes_max = 1 + usize::from(limit);
    let whole = LineClient::hear(&[bytes], bytes_max);
    let cut = LineClient::hear(&chunks(lengths, bytes), bytes_max);
    assert_eq!(cut.heard, whole.heard, "chunks of {lengths:?} + 1 bytes");
    if whole.heard.last() == Some(&Heard::TooLong) {
        assert!(whole.answers.starts_with(&cut.answers), "what came behind the end may never have been read");
    } else {
        assert_eq!(cut.answers, whole.answers, "the refusals of telnet options");
    }
    assert_eq!(whole.heard, heard_by_model(&text_without_telnet(bytes), bytes_max));
    for heard in &whole.heard {
        if let Heard::Accepted(line) = heard {
            assert!(line.len() <= bytes_max);
            check_command(line);
        }
    }
}

impl LineClient {
    fn hear(chunks: &[&[u8]], bytes_max: usize) -> Self {
        let lines = ClientLines::new(bytes_max);
        let mut client = Self { lines, tail: Vec::new(), is_refused: false, heard: Vec::new(), answers: Vec::new() };
        for chunk in chunks {
            let mut fresh = chunk.to_vec();
            let kept = client.lines.strip(&mut client.tail, &mut fresh);
            client.tail.extend_from_slice(&fresh[..kept]);
            client.answers.extend(client.lines.take_answers().unwrap_or_default());
            if !client.take_lines() {
                break;
            }
        }
        client
    }

    /// Takes the lines that are complete. Returns whether the connection goes on.
    fn take_lines(&mut self) -> bool {
        loop {
            let consumed = match self.lines.next(&self.tail) {
                Ok(DecodedLine::More) => return true,
                Ok(DecodedLine::LoneReturn(_)) => {
                    self.heard.push(Heard::Refused);
                    self.is_refused = true;
                    continue;
                }
                Ok(DecodedLine::Refused(consumed)) => consumed,
                Ok(DecodedLine::Line(line)) => {
                    self.heard.push(heard(line.bytes));
                    line.consumed
                }
                Err(_) => {
                    self.heard.pop_if(|_| self.is_refused);
                    self.heard.push(Heard::TooLong);
                    return false;
                }
            };
            self.is_refused = false;
            self.tail.drain(..consumed);
        }
    }
}

fn heard(line: &[u8]) -> Heard {
    if parse(line).is_ok() { Heard::Accepted(line.to_vec()) } else { Heard::Refused }
}

/// The text, without what may still prove to be the beginning of a telnet command.
fn text_without_telnet(bytes: &[u8]) -> Vec<u8> {
    let (mut telnet, mut text) = (Telnet::default(), bytes.to_vec());
    let kept = telnet.strip(&mut Vec::new(), &mut text);
    text.truncate(kept - telnet.undecided_bytes());
    text
}

/// Splits text at its line feeds, and judges each line by itself.
fn heard_by_model(text: &[u8], bytes_max: usize) -> Vec<Heard> {
    let mut all = Vec::new();
    let mut lines = text.split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let is_complete = lines.peek().is_some();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > bytes_max {
            all.push(Heard::TooLong);
            break;
        }
        if is_complete {
            all.push(heard(line));
        } else if line.contains(&b'\r') {
            all.push(Heard::Refused);
        }
    }
    all
}

/// A command is read alike from a line and from a message, and holds nothing that could look like the end of a line.
fn check_command(line: &[u8]) {
    let text = str::from_utf8(line).expect("an accepted line is text");
    let command = parse(line).expect("it was accepted before");
    assert_eq!(parse_message(text).as_ref(), Ok(&command));
    let is_plain = |text: &str| text.chars().all(|character| !character.is_control() || character == '\t');
    match command {
        Some(Command::Say(said)) => assert!(is_plain(said) && text.ends_with(said)),
        Some(Command::Ping(token)) => assert!(is_plain(token) && !token.contains([' ', '\t'])),
        Some(Command::Auth(token)) => assert!(text.contains(&*token.0) && !token.0.contains([' ', '\t'])),
        _ => {}
    }
}
