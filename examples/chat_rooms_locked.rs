//! Stage 4: rooms behind one lock, with a task per client and a `broadcast` channel per room.
//!
//! - **Shows** `JOIN <room>`, `LEAVE` and `LIST` with the replies of Roomcast, so that the same client programs work
//!   with both.
//! - **Costs** a ring of 56 KiB per room, a read lock per message and a write lock per join and leave, besides the
//!   costs of stage 3.
//! - **Breaks** at the lock: a message wakes all members of its room under it, one task each, and every join and leave
//!   of any room waits for that. A busy room delays the others, publishers feel no backpressure, and a slow member
//!   loses messages (`GAP 17`) although its room's ring may hold 64 MiB. So stage 5, Roomcast itself, gives every room
//!   one owner and no lock.
//!
//! `cargo run --example chat_rooms_locked [ADDRESS]`, then `nc localhost 8080` in two terminals.
#![expect(clippy::disallowed_types, reason = "this baseline measures the cost of shared state behind a lock")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use std::{env, future, io, io::Write};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{
    TcpListener, TcpStream,
    tcp::{ReadHalf, WriteHalf},
};
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

const ADDRESS_DEFAULT: &str = "127.0.0.1:8080";
const GREETING: &str = "Welcome! Commands: JOIN <room>, LEAVE, LIST\n";
const JOIN_FIRST: &str = "Join a room first\n";

/// The longest line, in bytes without its end.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
const ROOM_NAME_BYTES_MAX: usize = 128;

/// `LIST` shows this many names.
const LISTING_MAX: usize = 1_000;

/// A room keeps this many messages for its slowest member before that loses the oldest.
pub const MESSAGES_KEPT: usize = 1024;

/// The size of a client's read buffer: small, because every client has one.
const READ_BUFFER_BYTES: usize = 1024;

/// The pause after a failed accept: without descriptors the next one would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| ADDRESS_DEFAULT.to_owned());
    let listener = TcpListener::bind(address).await?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    serve(&listener).await
}

async fn serve(listener: &TcpListener) -> ! {
    let rooms = Rooms::default();
    loop {
        match listener.accept().await {
            // An error ends this client only.
            Ok((client, peer)) => drop(tokio::spawn(serve_client(client, peer, rooms.clone()))),
            Err(error) => {
                // Unlike `eprintln!`, it does not panic if stderr is closed.
                let _ = writeln!(io::stderr(), "cannot accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// All rooms with members, shared by all clients. A lock guard lives within one call, never across an await.
#[derive(Clone, Default)]
struct Rooms(Arc<RwLock<HashMap<String, Room>>>);

struct Room {
    members: usize,
    messages: Sender<Bytes>,
}

impl Rooms {
    /// Joins a room, and creates it if needed.
    fn join(&self, name: &str) -> Membership {
        let empty = || Room { members: 0, messages: Sender::new(MESSAGES_KEPT) };
        let mut rooms = self.write();
        let room = rooms.entry(name.to_owned()).or_insert_with(empty);
        room.members += 1;
        Membership { rooms: self.clone(), name: name.to_owned(), receiver: room.messages.subscribe() }
    }

    /// Removes a member, and the room with its last member.
    fn leave(&self, name: &str) {
        let mut rooms = self.write();
        if let Some(room) = rooms.get_mut(name) {
            room.members -= 1;
            if room.members == 0 {
                rooms.remove(name);
            }
        }
    }

    fn publish(&self, name: &str, message: Bytes) {
        if let Some(room) = self.read().get(name) {
            // Fails without receivers, and then there is nothing to deliver.
            let _ = room.messages.send(message);
        }
    }

    /// The names of all rooms, sorted.
    fn list(&self) -> Vec<String> {
        let mut names: Vec<String> = self.read().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Room>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Room>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A membership of a room. Dropping it leaves the room, on every path on which a session may end.
struct Membership {
    rooms: Rooms,
    name: String,
    receiver: Receiver<Bytes>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.rooms.leave(&self.name);
    }
}

/// One client's session, without its transport.
struct Session {
    peer: SocketAddr,
    rooms: Rooms,
    membership: Option<Membership>,
}

impl Session {
    /// Executes a line. Returns the reply, which is empty for chat.
    fn execute(&mut self, line: &[u8]) -> Result<String, &'static str> {
        let text = str::from_utf8(line).map_err(|_| "not-utf8 lines are UTF-8")?;
        let text = text.trim_end_matches(['\n', '\r', '\t', ' ']);
        if text.chars().any(|character| character.is_control() && character != '\t') {
            return Err("control-character none but tab is allowed");
        }
        match text.split_once([' ', '\t']).unwrap_or((text, "")) {
            ("", "") => Ok(String::new()),
            ("JOIN", "") => Err("unknown JOIN needs a room: JOIN <room>"),
            ("JOIN", name) => self.join(name),
            ("LEAVE", "") => Ok(self.membership.take().map_or(JOIN_FIRST, |_| "Left room\n").to_owned()),
            ("LIST", "") => Ok(listing(&self.rooms.list())),
            _ => Ok(self.say(text)),
        }
    }

    fn join(&mut self, name: &str) -> Result<String, &'static str> {
        if name.len() > ROOM_NAME_BYTES_MAX || name.contains(char::is_whitespace) {
            return Err("room-name 1 to 128 bytes, no spaces or control characters");
        }
        if self.membership.as_ref().is_none_or(|membership| membership.name != name) {
            // Leaves the old room first, so that a client is never in two rooms.
            self.membership = None;
            self.membership = Some(self.rooms.join(name));
        }
        Ok(format!("Joined {name}\n"))
    }

    fn say(&self, text: &str) -> String {
        let Some(membership) = &self.membership else {
            return JOIN_FIRST.to_owned();
        };
        self.rooms.publish(&membership.name, format!("[{}] {text}\n", self.peer).into());
        String::new()
    }
}

/// A JSON array. Names contain no control characters, so only the backslash and the quote are escaped.
fn listing(names: &[String]) -> String {
    let shown = names.iter().take(LISTING_MAX).map(|name| name.replace('\\', r"\\").replace('"', r#"\""#));
    let more = names.len().saturating_sub(LISTING_MAX);
    let rest = (more > 0).then(|| format!("… and {more} more"));
    let quoted: Vec<String> = shown.chain(rest).map(|name| format!("\"{name}\"")).collect();
    format!("Rooms: [{}]\n", quoted.join(", "))
}

/// An event that the task waits for.
enum Step {
    Input(Input),
    Delivery(Result<Bytes, RecvError>),
}

/// The end of reading a line.
enum Input {
    Line,
    TooLong,
    End,
}

/// Serves one client over TCP. An incomplete line at the end of the connection is dropped.
async fn serve_client(mut client: TcpStream, peer: SocketAddr, rooms: Rooms) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (reader, mut writer) = client.split();
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, reader);
    let mut line = Vec::new();
    let mut session = Session { peer, rooms, membership: None };
    writer.write_all(GREETING.as_bytes()).await?;
    loop {
        let step = tokio::select! {
            input = read_line(&mut reader, &mut line) => Step::Input(input?),
            delivery = hear(&mut session.membership) => Step::Delivery(delivery),
        };
        match step {
            Step::Delivery(delivery) => deliver(&mut writer, delivery).await?,
            Step::Input(Input::Line) => {
                // Earlier messages go before the reply, so that no message of a room follows `Left room`.
                catch_up(&mut writer, &mut session.membership).await?;
                let answer = session.execute(&line).unwrap_or_else(|refusal| format!("ERR {refusal}\n"));
                line.clear();
                writer.write_all(answer.as_bytes()).await?;
            }
            Step::Input(Input::TooLong) => return writer.write_all(too_long().as_bytes()).await,
            Step::Input(Input::End) => return catch_up(&mut writer, &mut session.membership).await,
        }
    }
}

/// Reads to the end of the line. It is cancel-safe, since `line` keeps the bytes that were read.
async fn read_line(reader: &mut BufReader<ReadHalf<'_>>, line: &mut Vec<u8>) -> io::Result<Input> {
    let longest = LINE_BYTES_MAX + b"\n".len();
    let rest = longest - line.len();
    reader.take(rest as u64).read_until(b'\n', line).await?;
    Ok(match line.last() {
        Some(b'\n') => Input::Line,
        _ if line.len() == longest => Input::TooLong,
        _ => Input::End,
    })
}

fn too_long() -> String {
    format!("ERR too-long line exceeds {LINE_BYTES_MAX} bytes\n")
}

/// The next message of the client's room; waits for ever if it is in none.
async fn hear(membership: &mut Option<Membership>) -> Result<Bytes, RecvError> {
    match membership {
        Some(membership) => membership.receiver.recv().await,
        None => future::pending().await,
    }
}

/// Writes the messages published so far, at most as many as the channel keeps, and the number of lost ones.
async fn catch_up(writer: &mut WriteHalf<'_>, membership: &mut Option<Membership>) -> io::Result<()> {
    for _ in 0..=MESSAGES_KEPT {
        if membership.as_ref().is_none_or(|membership| membership.receiver.is_empty()) {
            break;
        }
        deliver(writer, hear(membership).await).await?;
    }
    Ok(())
}

/// Writes one message, or the number of messages that the client has lost.
async fn deliver(writer: &mut WriteHalf<'_>, delivery: Result<Bytes, RecvError>) -> io::Result<()> {
    match delivery {
        Ok(message) => writer.write_all(&message).await,
        Err(RecvError::Lagged(missed)) => writer.write_all(format!("GAP {missed}\n").as_bytes()).await,
        Err(RecvError::Closed) => Err(io::Error::other("a room that outlived its channel")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages that a member has not received yet.
    fn received(membership: &mut Membership) -> Vec<Bytes> {
        std::iter::from_fn(|| membership.receiver.try_recv().ok()).collect()
    }

    #[test]
    fn a_message_stays_in_its_room() {
        let rooms = Rooms::default();
        let [mut first, mut second, mut elsewhere] = ["a", "a", "b"].map(|name| rooms.join(name));
        rooms.publish("a", "hello".into());
        assert_eq!(received(&mut first), ["hello"]);
        assert_eq!(received(&mut second), ["hello"]);
        assert!(received(&mut elsewhere).is_empty());
    }

    #[test]
    fn a_client_may_hold_memberships_of_two_rooms() {
        let rooms = Rooms::default();
        let [mut in_a, mut in_b] = ["a", "b"].map(|name| rooms.join(name));
        rooms.publish("a", "to a".into());
        rooms.publish("b", "to b".into());
        assert_eq!(received(&mut in_a), ["to a"]);
        assert_eq!(received(&mut in_b), ["to b"]);
        drop(in_a);
        rooms.publish("b", "still here".into());
        assert_eq!(received(&mut in_b), ["still here"]);
    }

    #[test]
    fn the_last_leave_deletes_the_room() {
        let rooms = Rooms::default();
        let [first, last] = ["a", "a"].map(|name| rooms.join(name));
        drop(first);
        assert_eq!(rooms.list(), ["a"]);
        drop(last);
        assert!(rooms.read().is_empty());
    }

    #[test]
    fn a_list_is_sorted_and_shows_a_thousand_at_most() {
        let rooms = Rooms::default();
        let _members = [r#"b"\"#, "a"].map(|name| rooms.join(name));
        assert_eq!(listing(&rooms.list()), "Rooms: [\"a\", \"b\\\"\\\\\"]\n");
        let many: Vec<String> = (0..LISTING_MAX + 2).map(|number| format!("r{number:04}")).collect();
        assert!(listing(&many).ends_with("\"r0999\", \"… and 2 more\"]\n"));
    }
}
