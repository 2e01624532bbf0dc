//! A server that does wrong exactly what its script says, and nothing else. Speaks the line dialect as far as a load needs
//! it. Never sleeps: whatever is to be late waits in one queue, ordered by when it is due, so no delay adds to another.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Stands before every message, as a label does.
const LABEL: &str = "[127.0.0.1:1] ";

/// No test waits that long unless it fails.
const HAPPENS_WITHIN: Duration = Duration::from_secs(30);

/// What has been heard and not dealt with: whoever says more has to wait, as with any server.
const HAPPENINGS_MAX: usize = 64;

/// One delivery: the client as they were accepted, from 0, and how many it has had before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At {
    pub client: usize,
    pub delivery: usize,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// This delivery never goes out.
    Lose(At),
    /// This one goes out twice.
    Double(At),
    /// This one goes out behind the next.
    Swap(At),
    /// This one lacks its last byte.
    Cut(At),
    /// This one goes to the first client of another room as well.
    Misroute(At),
    /// In place of this one the connection is closed.
    Close(At),
    /// In place of this one the client is told why it has to go.
    Dismiss(At, &'static str),
    /// The first client to leave after a message gets it again behind `Left room`.
    HauntTheFirstToLeave,
    /// Nothing is ever answered.
    AnswerNothing,
    /// So many `PING` are answered, and no more.
    AnswerPings(usize),
    /// So long nothing goes out, once, from this message on.
    Stall { message: usize, time: Duration },
    /// Everything goes out so much later.
    Delay(Duration),
    /// Everything goes out so much later for each member of the room.
    DelayForEachMember(Duration),
}

/// What the server has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// A client has joined a room.
    Joined(SocketAddr),
    /// A message.
    Said,
    /// A client is gone.
    Gone,
}

/// A server. Ends when dropped.
pub struct Fake {
    address: SocketAddr,
    happen: SyncSender<Happening>,
    seen: Receiver<Seen>,
}

impl Fake {
    /// Listens on a free port.
    pub fn start(script: &[Fault]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (happen, happenings) = sync_channel(HAPPENINGS_MAX);
        let (see, seen) = channel();
        let server = Server { script: script.to_vec(), see, ..Server::new() };
        let accepted = happen.clone();
        thread::spawn(move || accept(&listener, &accepted));
        thread::spawn(move || server.serve(&happenings));
        Self { address, happen, seen }
    }

    /// As a target.
    pub fn target(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// The next so many of a kind, whatever else happens.
    #[track_caller]
    pub fn wait_for(&self, count: usize, is_wanted: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let next = || self.seen.recv_timeout(HAPPENS_WITHIN).expect("the clients do not get there");
        std::iter::repeat_with(next).filter(is_wanted).take(count).collect()
    }

    /// So many have joined; from these addresses.
    #[track_caller]
    pub fn wait_for_joins(&self, count: usize) -> Vec<SocketAddr> {
        let joins = self.wait_for(count, |seen| matches!(seen, Seen::Joined(_)));
        let address = |seen| if let Seen::Joined(address) = seen { Some(address) } else { None };
        joins.into_iter().filter_map(address).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // Fails only if the server has panicked, which its test has noticed.
        let _ = self.happen.send(Happening::End);
        // The listener ends at the next client that the server does not take any more.
        let _ = TcpStream::connect(self.address);
    }
}

/// What happens to the server.
enum Happening {
    Accepted(TcpStream),
    Heard(usize, String),
    Ended(usize),
    End,
}

fn accept(listener: &TcpListener, happen: &SyncSender<Happening>) {
    for (client, stream) in listener.incoming().enumerate() {
        let stream = stream.expect("a client");
        stream.set_nodelay(true).expect("an option");
        let lines = BufReader::new(stream.try_clone().expect("a descriptor"));
        if happen.send(Happening::Accepted(stream)).is_err() {
            return;
        }
        let happen = happen.clone();
        thread::spawn(move || listen(client, lines, &happen));
    }
}

/// Until the client or the server ends.
fn listen(client: usize, lines: impl BufRead, happen: &SyncSender<Happening>) {
    for line in lines.lines().map_while(Result::ok) {
        if happen.send(Happening::Heard(client, line)).is_err() {
            return;
        }
    }
    // Fails if the server has ended first.
    let _ = happen.send(Happening::Ended(client));
}

/// What is done to a client when it is due.
enum Act {
    Send(String),
    Close,
}

struct Client {
    stream: TcpStream,
    room: Option<String>,
    /// How many it has had.
    deliveries: usize,
    /// Waits for the next one to go before it.
    held: Option<String>,
    /// Nothing for it is due before what it was promised last.
    last_due: Instant,
}

/// All there is, on one thread.
struct Server {
    script: Vec<Fault>,
    see: Sender<Seen>,
    clients: Vec<Client>,
    /// Members in the order in which they joined.
    rooms: BTreeMap<String, Vec<usize>>,
    /// What was said last in each room.
    said: BTreeMap<String, String>,
    messages: usize,
    pings: usize,
    stalled_until: Option<Instant>,
    /// When, then in which order.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    acts: BTreeMap<usize, (usize, Act)>,
    promised: usize,
}

impl Server {
    fn new() -> Self {
        Self {
            script: Vec::new(),
            see: channel().0,
            clients: Vec::new(),
            rooms: BTreeMap::new(),
            said: BTreeMap::new(),
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
                Ok(Happening::Accepted(stream)) => self.let_in(stream),
                Ok(Happening::Heard(client, line)) => self.hear(client, &line),
                Ok(Happening::Ended(client)) => self.lose_sight_of(client),
                Ok(Happening::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.act();
        }
    }

    fn let_in(&mut self, stream: TcpStream) {
        let last_due = Instant::now();
        self.clients.push(Client { stream, room: None, deliveries: 0, held: None, last_due });
    }

    fn lose_sight_of(&mut self, client: usize) {
        self.leave(client);
        self.tell(Seen::Gone);
    }

    fn hear(&mut self, client: usize, line: &str) {
        if self.script.iter().any(|fault| matches!(fault, Fault::AnswerNothing)) {
            return;
        }
        match (line.strip_prefix("JOIN "), line) {
            (Some(room), _) => self.join(client, room),
            (None, "LEAVE") => self.answer_leave(client),
            (None, text) if text.starts_with("PING ") => self.answer_ping(client, text),
            (None, text) => self.publish(client, text),
        }
    }

    fn join(&mut self, client: usize, room: &str) {
        self.clients[client].room = Some(room.to_owned());
        self.rooms.entry(room.to_owned()).or_default().push(client);
        self.promise(client, Act::Send(format!("Joined {room}\n")));
        if let Ok(address) = self.clients[client].stream.peer_addr() {
            self.tell(Seen::Joined(address));
        }
    }

    fn leave(&mut self, client: usize) -> Option<String> {
        let room = self.clients[client].room.take()?;
        self.rooms.entry(room.clone()).or_default().retain(|&member| member != client);
        Some(room)
    }

    fn answer_leave(&mut self, client: usize) {
        let Some(room) = self.leave(client) else { return };
        self.promise(client, Act::Send("Left room\n".to_owned()));
        let Some(said) = self.said.get(&room).cloned() else { return };
        let haunts = |fault: &Fault| matches!(fault, Fault::HauntTheFirstToLeave);
        if let Some(place) = self.script.iter().position(haunts) {
            self.script.remove(place);
            self.promise(client, Act::Send(said));
        }
    }

    fn answer_ping(&mut self, client: usize, text: &str) {
        let is_mute = |fault: &Fault| matches!(fault, Fault::AnswerPings(count) if *count <= self.pings);
        if !self.script.iter().any(is_mute) {
            self.promise(client, Act::Send(text.replacen("PING", "PONG", 1) + "\n"));
        }
        self.pings += 1;
    }

    fn publish(&mut self, client: usize, text: &str) {
        let Some(room) = self.clients[client].room.clone() else { return };
        for fault in self.script.clone() {
            if let Fault::Stall { message, time } = fault
                && message == self.messages
            {
                self.stalled_until = Some(Instant::now() + time);
            }
        }
        self.messages += 1;
        let delivery = format!("{LABEL}{text}\n");
        self.said.insert(room.clone(), delivery.clone());
        for member in self.rooms[&room].clone() {
            self.deliver(member, &room, &delivery);
        }
        self.tell(Seen::Said);
    }

    /// One copy to one member, or whatever the script makes of it.
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
                Fault::Cut(at) if at == here => acts = vec![Act::Send(text.replace(".\n", "\n"))],
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

    /// Whatever goes out does so in the order in which it was promised.
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

    /// Everything that is due.
    fn act(&mut self) {
        let now = Instant::now();
        while self.due.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Some(Reverse((_, promise))) = self.due.pop() else { return };
            let (client, act) = self.acts.remove(&promise).expect("a promise is kept once");
            self.keep(client, &act);
        }
    }

    /// A client that is gone needs nothing any more.
    fn keep(&self, client: usize, act: &Act) {
        let mut stream = &self.clients[client].stream;
        let kept = match act {
            Act::Send(text) => stream.write_all(text.as_bytes()),
            Act::Close => stream.shutdown(Shutdown::Write),
        };
        let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset, ErrorKind::NotConnected];
        assert!(kept.is_ok() || kept.is_err_and(|error| gone.contains(&error.kind())));
    }

    /// The test may have ended first.
    fn tell(&self, seen: Seen) {
        let _ = self.see.send(seen);
    }
}
