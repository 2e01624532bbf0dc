//! A server with exactly the faults of its script, and no others. It speaks the text protocol over TCP, the Centrifuge
//! protocol over WebSocket, or plain HTTP, as far as a load needs it.
//! It never sleeps: late lines wait in one queue in the order of their times, so that no delay adds to another.

mod answers;
mod nodes;
mod resuming;
mod script;
mod wire;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

pub use script::{At, Fault, Seen};
pub use wire::Wire;

/// A failsafe: no test waits that long unless it fails.
const HAPPENS_WITHIN: Duration = Duration::from_secs(30);

/// Events that are not handled yet. Clients that send more have to wait, as with any server.
const HAPPENINGS_MAX: usize = 64;

/// A server, or several that share all rooms. Ends when dropped.
pub struct Fake {
    addresses: Vec<SocketAddr>,
    wire: Wire,
    happen: SyncSender<Happening>,
    seen: Receiver<Seen>,
}

impl Fake {
    /// Listens for the text protocol on a free port.
    pub fn start(script: &[Fault]) -> Self {
        Self::start_speaking(Wire::Lines, script)
    }

    /// Listens on a free port.
    pub fn start_speaking(wire: Wire, script: &[Fault]) -> Self {
        Self::start_nodes(1, wire, script)
    }

    /// Listens on this many free ports, as the nodes of a cluster do that have the same rooms.
    pub fn start_nodes(count: usize, wire: Wire, script: &[Fault]) -> Self {
        let (happen, happenings) = sync_channel(HAPPENINGS_MAX);
        let (see, seen) = channel();
        let server = Server { wire, script: script.to_vec(), see, happen: Some(happen.clone()), ..Server::new() };
        let listen = |node| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let address = listener.local_addr().expect("a bound socket");
            let accepted = happen.clone();
            thread::spawn(move || accept(wire, node, &listener, &accepted));
            address
        };
        let addresses = (0..count).map(listen).collect();
        thread::spawn(move || server.serve(&happenings));
        Self { addresses, wire, happen, seen }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Its address as a target.
    pub fn target(&self) -> String {
        self.targets().swap_remove(0)
    }

    /// The addresses of all nodes as targets.
    pub fn targets(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("{}://{address}", self.wire.scheme())).collect()
    }

    /// Waits for this many events of a kind.
    #[track_caller]
    pub fn wait_for(&self, count: usize, is_wanted: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let next = || self.seen.recv_timeout(HAPPENS_WITHIN).expect("the clients do not get there");
        std::iter::repeat_with(next).filter(is_wanted).take(count).collect()
    }

    /// Waits until this many clients have joined. Returns their addresses.
    #[track_caller]
    pub fn wait_for_joins(&self, count: usize) -> Vec<SocketAddr> {
        let joins = self.wait_for(count, |seen| matches!(seen, Seen::Joined(_)));
        let address = |seen| if let Seen::Joined(address) = seen { Some(address) } else { None };
        joins.into_iter().filter_map(address).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // Fails only if the server has panicked, which its test notices.
        let _ = self.happen.send(Happening::End);
        // Each listener ends at its next client, since the server has ended.
        self.addresses.iter().for_each(|address| drop(TcpStream::connect(address)));
    }
}

/// An event for the server.
enum Happening {
    /// A client of this node, its input, and whether its messages are compressed.
    Accepted(usize, BufReader<TcpStream>, bool),
    Heard(usize, String),
    Ended(usize),
    End,
}

fn accept(wire: Wire, node: usize, listener: &TcpListener, happen: &SyncSender<Happening>) {
    for stream in listener.incoming() {
        let stream = stream.expect("a client");
        stream.set_nodelay(true).expect("an option");
        let mut input = BufReader::new(stream);
        let is_deflated = wire.accept(&mut input);
        if happen.send(Happening::Accepted(node, input, is_deflated)).is_err() {
            return;
        }
    }
}

/// Reads commands until the client or the server ends.
fn listen(wire: Wire, client: usize, mut input: BufReader<TcpStream>, happen: &SyncSender<Happening>) {
    while let Some(line) = wire.command(&mut input) {
        if happen.send(Happening::Heard(client, line)).is_err() {
            return;
        }
    }
    // Fails if the server has ended first.
    let _ = happen.send(Happening::Ended(client));
}

/// Something to do to a client at its time.
enum Act {
    Send(String),
    Close,
}

struct Client {
    node: usize,
    stream: TcpStream,
    is_deflated: bool,
    room: Option<String>,
    /// The number of deliveries it has had.
    deliveries: usize,
    /// A delivery that is sent behind the next.
    held: Option<String>,
    /// The time of its last scheduled act. No later act is due before it.
    last_due: Instant,
}

/// The state of the server, on one thread.
struct Server {
    wire: Wire,
    script: Vec<Fault>,
    see: Sender<Seen>,
    /// What its clients say; `None` once it has ended.
    happen: Option<SyncSender<Happening>>,
    clients: Vec<Client>,
    /// Members in the order in which they joined.
    rooms: BTreeMap<String, Vec<usize>>,
    /// The messages of each room, in the order in which members receive them.
    histories: BTreeMap<String, Vec<String>>,
    messages: usize,
    pings: usize,
    stalled_until: Option<Instant>,
    /// The times of scheduled acts, and their numbers.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    acts: BTreeMap<usize, (usize, Act)>,
    promised: usize,
}

impl Server {
    fn new() -> Self {
        Self {
            wire: Wire::Lines,
            script: Vec::new(),
            see: channel().0,
            happen: None,
            clients: Vec::new(),
            rooms: BTreeMap::new(),
            histories: BTreeMap::new(),
            messages: 0,
            pings: 0,
            stalled_until: None,
            due: BinaryHeap::new(),
            acts: BTreeMap::new(),
            promised: 0,
        }
    }

    fn serve(mut self, happenings: &Receiver<Happening>) {
        loop {
            let happening = match self.due.peek() {
                Some(Reverse((due, _))) => happenings.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => happenings.recv().map_err(RecvTimeoutError::from),
            };
            match happening {
                Ok(Happening::Accepted(node, input, is_deflated)) => self.let_in(node, input, is_deflated),
                Ok(Happening::Heard(client, line)) => self.hear(client, &line),
                Ok(Happening::Ended(client)) => self.lose_sight_of(client),
                Ok(Happening::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.act();
        }
    }

    fn let_in(&mut self, node: usize, input: BufReader<TcpStream>, is_deflated: bool) {
        let (last_due, client, wire) = (Instant::now(), self.clients.len(), self.wire);
        let stream = input.get_ref().try_clone().expect("a descriptor");
        self.clients.push(Client { node, stream, is_deflated, room: None, deliveries: 0, held: None, last_due });
        if let Some(happen) = self.happen.clone() {
            thread::spawn(move || listen(wire, client, input, &happen));
        }
    }

    fn lose_sight_of(&mut self, client: usize) {
        self.leave(client);
        self.report(Seen::Gone);
    }

    fn hear(&mut self, client: usize, line: &str) {
        if self.script.iter().any(|fault| matches!(fault, Fault::AnswerNothing)) {
            return;
        }
        match (line.strip_prefix("JOIN "), line) {
            (Some(room), _) => match room.split_once(" since=") {
                Some((room, position)) => self.resume(client, room, position),
                None => self.join(client, room, self.wire.joined(room, self.said_in(room))),
            },
            (None, "POSITION") => self.answer_position(client),
            (None, "LEAVE") => self.answer_leave(client),
            (None, text) if text.starts_with("AUTH ") => self.answer_auth(client, &text["AUTH ".len()..]),
            (None, text) if text.starts_with("PING ") => self.answer_ping(client, text),
            (None, "PONG") => self.report(Seen::Ponged),
            (None, text) if text.starts_with("API ") => self.answer_api(client, &text["API ".len()..]),
            (None, text) => self.publish_by(client, text),
        }
    }

    /// The number of messages of a room so far.
    fn said_in(&self, room: &str) -> usize {
        self.histories.get(room).map_or(0, Vec::len)
    }

    fn join(&mut self, client: usize, room: &str, answers: Vec<String>) {
        self.clients[client].room = Some(room.to_owned());
        self.rooms.entry(room.to_owned()).or_default().push(client);
        answers.into_iter().for_each(|answer| self.promise(client, Act::Send(answer)));
        if let Ok(address) = self.clients[client].stream.peer_addr() {
            self.report(Seen::Joined(address));
        }
    }

    fn leave(&mut self, client: usize) -> Option<String> {
        let room = self.clients[client].room.take()?;
        self.rooms.entry(room.clone()).or_default().retain(|&member| member != client);
        Some(room)
    }

    /// Removes a fault that happens once. Returns whether the script had it.
    fn take_fault(&mut self, is_wanted: impl Fn(&Fault) -> bool) -> bool {
        let place = self.script.iter().position(is_wanted);
        place.map(|place| self.script.remove(place)).is_some()
    }

    fn publish(&mut self, room: &str, text: &str) {
        for fault in self.script.clone() {
            if let Fault::Stall { message, time } = fault
                && message == self.messages
            {
                self.stalled_until = Some(Instant::now() + time);
            }
        }
        self.messages += 1;
        let delivery = self.wire.delivery(room, text, self.said_in(room) + 1);
        self.histories.entry(room.to_owned()).or_default().push(delivery.clone());
        for member in self.rooms[room].clone() {
            self.deliver(member, room, &delivery);
        }
        self.report(Seen::Said);
    }

    /// Schedules one copy to one member, with the faults of the script.
    fn deliver(&mut self, client: usize, room: &str, text: &str) {
        let here = At { client, delivery: self.clients[client].deliveries };
        self.clients[client].deliveries += 1;
        let held = self.clients[client].held.take();
        let mut acts = vec![Act::Send(text.to_owned())];
        for fault in self.script.clone() {
            match fault {
                Fault::Lose(at) if at == here => acts.clear(),
                Fault::Double(at) if at == here => acts.push(Act::Send(text.to_owned())),
                Fault::Swap(at) if at == here => {
                    acts.clear();
                    self.clients[client].held = Some(text.to_owned());
                }
                Fault::Cut(at) if at == here => acts = vec![Act::Send(self.wire.cut(text))],
                Fault::Misroute(at) if at == here => self.misroute(room, text),
                Fault::Close(at) if at == here => acts = self.dismiss(client, ""),
                Fault::Dismiss(at, words) if at == here => acts = self.dismiss(client, words),
                _ => {}
            }
        }
        acts.into_iter().chain(held.map(Act::Send)).for_each(|act| self.promise(client, act));
    }

    fn misroute(&mut self, room: &str, text: &str) {
        let elsewhere = self.rooms.iter().filter(|(name, _)| *name != room);
        let stranger = elsewhere.flat_map(|(_, members)| members).next().copied().expect("another room");
        self.promise(stranger, Act::Send(text.to_owned()));
    }

    fn dismiss(&mut self, client: usize, words: &str) -> Vec<Act> {
        self.leave(client);
        vec![Act::Send(words.to_owned()), Act::Close]
    }

    /// Schedules an act. Acts for one client happen in the order in which they were scheduled.
    fn promise(&mut self, client: usize, act: Act) {
        let now = Instant::now();
        let due = (now + self.delay(client)).max(self.clients[client].last_due);
        let due = self.stalled_until.map_or(due, |until| until.max(due));
        self.clients[client].last_due = due;
        self.due.push(Reverse((due, self.promised)));
        self.acts.insert(self.promised, (client, act));
        self.promised += 1;
    }

    fn delay(&self, client: usize) -> Duration {
        let room = self.clients[client].room.as_ref();
        let members = room.and_then(|room| self.rooms.get(room)).map_or(0, Vec::len) as u32;
        let delay = |fault: &Fault| match fault {
            Fault::Delay(delay) => *delay,
            Fault::DelayForEachMember(delay) => *delay * members,
            _ => Duration::ZERO,
        };
        self.script.iter().map(delay).sum()
    }

    /// Does everything that is due.
    fn act(&mut self) {
        let now = Instant::now();
        while self.due.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Some(Reverse((_, promise))) = self.due.pop() else { return };
            let (client, act) = self.acts.remove(&promise).expect("a promise is kept once");
            self.keep(client, &act);
        }
    }

    /// Does one act. A client that has left needs nothing more.
    fn keep(&self, client: usize, act: &Act) {
        let mut stream = &self.clients[client].stream;
        let kept = match act {
            Act::Send(text) => stream.write_all(&self.wire.framed(text, self.clients[client].is_deflated)),
            Act::Close => stream.shutdown(Shutdown::Write),
        };
        let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset, ErrorKind::NotConnected];
        assert!(kept.is_ok() || kept.is_err_and(|error| gone.contains(&error.kind())));
    }

    /// Reports an event. Fails when the test has ended first.
    fn report(&self, seen: Seen) {
        let _ = self.see.send(seen);
    }
}
