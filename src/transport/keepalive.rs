//! The keepalive of the clients of the HTTP port: pings those that were not pinged for a while, and disconnects those that do not
//! answer. Linear in the clients of a worker, once a sweep.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::sweep::SweepClock;
use crate::config::KeepaliveRules;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::shutdown::Drain;
use crate::writer::handle::{Sockets, WriterHandle};
use crate::writer::{EntryNumber, Slot};

/// The longest time between two comments to a reader of a room. Proxies cut a stream that is silent for 30 s or more.
const COMMENT_INTERVAL_MAX: Duration = Duration::from_secs(25);

/// The keepalive of the clients of a worker's HTTP port.
pub struct Keepalive {
    rules: KeepaliveRules,
    clock: Rc<SweepClock>,
    clients: RefCell<Vec<Weak<Liveness>>>,
}

/// When a client was last heard, and which ping it has not answered since. A client is dead only if its socket has
/// taken a ping, everything that it has sent since was read, and it has had the time to answer. Times are those of the
/// clock.
pub(super) struct Liveness {
    slot: Slot,
    dialect: Dialect,
    clock: Rc<SweepClock>,
    heard_at: Cell<Duration>,
    /// The connection has executed everything that it has read, and waits for more.
    is_reading: Cell<bool>,
    pinged_at: Cell<Duration>,
    /// The latest ping, until the client's socket has taken it.
    unsent: Cell<Option<EntryNumber>>,
    /// When the client's socket had taken the first ping since the client was last heard.
    unanswered_since: Cell<Option<Duration>>,
}

enum Verdict {
    Alive,
    PingDue,
    Dead,
}

impl Keepalive {
    /// A keepalive without clients.
    pub fn new(rules: KeepaliveRules) -> Self {
        Self { rules, clock: Rc::new(SweepClock::start()), clients: RefCell::default() }
    }

    /// Watches a client for as long as the result is held.
    pub(super) fn watch(&self, slot: Slot, dialect: Dialect) -> Rc<Liveness> {
        let now = self.clock.now();
        let liveness = Rc::new(Liveness {
            slot,
            dialect,
            clock: Rc::clone(&self.clock),
            heard_at: Cell::new(now),
            is_reading: Cell::new(true),
            pinged_at: Cell::new(now),
            unsent: Cell::new(None),
            unanswered_since: Cell::new(None),
        });
        self.clients.borrow_mut().push(Rc::downgrade(&liveness));
        liveness
    }

    /// Pings and disconnects until the server stops.
    pub async fn run_until_stop(self: Rc<Self>, drain: Drain, writer: WriterHandle, sockets: Sockets) {
        let times = [self.rules.ping_interval, self.rules.pong_timeout];
        self.clock.sweep_until_stop(times, drain, || self.sweep(self.clock.now(), &writer, &sockets)).await;
    }

    fn sweep(&self, now: Duration, writer: &WriterHandle, sockets: &Sockets) {
        let mut due = Vec::new();
        self.clients.borrow_mut().retain(|client| {
            let Some(client) = client.upgrade() else { return false };
            match client.verdict(now, self.rules, writer, sockets) {
                Verdict::Alive => {}
                Verdict::PingDue => due.push(client),
                Verdict::Dead => writer.disconnect(client.slot, Disconnect::PingTimeout),
            }
            true
        });
        due.sort_by_key(|client| client.dialect);
        for of_dialect in due.chunk_by(|one, other| one.dialect == other.dialect) {
            let slots: Vec<Slot> = of_dialect.iter().map(|client| client.slot).collect();
            let number = writer.send_now(&slots, of_dialect[0].dialect.ping());
            for client in of_dialect {
                client.pinged_at.set(now);
                client.unsent.set(Some(number));
            }
        }
    }
}

impl Liveness {
    /// The client was heard; `is_reading` if nothing that it has sent waits to be executed.
    pub fn hear(&self, is_reading: bool) {
        self.heard_at.set(self.clock.now());
        self.unanswered_since.set(None);
        self.is_reading.set(is_reading);
    }

    fn verdict(&self, now: Duration, rules: KeepaliveRules, writer: &WriterHandle, sockets: &Sockets) -> Verdict {
        if let Some(number) = self.unsent.get() {
            // A client that takes nothing is a slow consumer, which the writer disconnects.
            if !writer.has_sent(self.slot, number) {
                return Verdict::Alive;
            }
            self.unsent.set(None);
            if self.dialect.answers_pings() {
                self.unanswered_since.set(self.unanswered_since.get().or(Some(now)));
            }
        }
        if self.is_silent(now, rules) && self.is_reading.get() && !sockets.has_unread_input(self.slot) {
            Verdict::Dead
        } else if now.saturating_sub(self.pinged_at.get()) >= self.ping_interval(rules) {
            Verdict::PingDue
        } else {
            Verdict::Alive
        }
    }

    fn ping_interval(&self, rules: KeepaliveRules) -> Duration {
        match self.dialect {
            Dialect::RoomEvents => rules.ping_interval.min(COMMENT_INTERVAL_MAX),
            _ => rules.ping_interval,
        }
    }

    /// Whether nothing was read for too long, though the client has had a ping for as long as it may take to answer.
    fn is_silent(&self, now: Duration, rules: KeepaliveRules) -> bool {
        let answer_within = rules.pong_timeout.saturating_sub(rules.ping_interval);
        now.saturating_sub(self.heard_at.get()) >= rules.pong_timeout
            && self.unanswered_since.get().is_some_and(|since| now.saturating_sub(since) >= answer_within)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::{LocalSet, spawn_local};

    use super::*;
    use crate::config::{Config, Settings};
    use crate::memory::MemoryUse;
    use crate::net::stream::Stream;
    use crate::protocol::compression::Compression;
    use crate::writer::handle::mailbox;
    use crate::writer::task::WriterTask;

    const RULES: KeepaliveRules =
        KeepaliveRules { ping_interval: Duration::from_secs(30), pong_timeout: Duration::from_secs(60) };
    const DIALECT: Dialect = Dialect::TextWebSocket(Compression::None);

    /// A silent client behind a real socket, which tests sweep at times of their own.
    struct Silent {
        keepalive: Keepalive,
        liveness: Rc<Liveness>,
        writer: WriterHandle,
        sockets: Sockets,
        stream: Rc<Stream>,
        peer: TcpStream,
    }

    impl Silent {
        /// Runs a test with a client that was never pinged.
        fn run<F: Future<Output = ()>>(test: impl FnOnce(Self) -> F) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async { test(Self::connect().await).await });
        }

        async fn connect() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let stream = Rc::new(Stream::from(listener.accept().await.unwrap().0));
            let limits = Config::try_from(Settings::default()).unwrap().rules.outbox;
            let (own, mailbox) = mailbox();
            let (task, writer, sockets) =
                WriterTask::new(own, mailbox, Default::default(), limits, Drain::default(), &MemoryUse::default());
            spawn_local(task.run());
            let keepalive = Keepalive::new(RULES);
            let liveness = keepalive.watch(sockets.open(Rc::clone(&stream), DIALECT), DIALECT);
            Self { keepalive, liveness, writer, sockets, stream, peer }
        }

        /// Sweeps this many seconds after the start. Returns why the client is disconnected, if it is.
        fn sweep(&self, seconds: u64) -> Option<Disconnect> {
            self.keepalive.sweep(Duration::from_secs(seconds), &self.writer, &self.sockets);
            self.writer.disconnect_reason(self.liveness.slot)
        }

        /// Sweeps when a ping is due, and reads it.
        async fn pinged(&mut self, seconds: u64) {
            assert_eq!(self.sweep(seconds), None);
            self.hear(&DIALECT.ping()).await;
        }

        async fn hear(&mut self, expected: &[u8]) {
            let mut heard = vec![0; expected.len()];
            self.peer.read_exact(&mut heard).await.unwrap();
            assert!(heard == expected);
        }
    }

    #[test]
    fn only_a_client_that_had_a_ping_and_the_time_to_answer_it_is_silent() {
        let seconds = Duration::from_secs;
        let client = Keepalive::new(RULES).watch(Slot { index: 0, generation: 0 }, DIALECT);
        assert!(!client.is_silent(seconds(3_600), RULES), "it was never pinged");
        client.unanswered_since.set(Some(seconds(3_600)));
        assert!(!client.is_silent(seconds(3_629), RULES));
        assert!(client.is_silent(seconds(3_630), RULES));
        client.hear(true);
        assert!(!client.is_silent(seconds(7_200), RULES), "it was not pinged since it was heard");
        client.heard_at.set(seconds(7_200));
        client.unanswered_since.set(Some(seconds(7_201)));
        assert!(!client.is_silent(seconds(7_240), RULES), "it was heard less than 60 s ago");
    }

    #[test]
    fn a_ping_counts_from_when_the_socket_has_taken_it() {
        Silent::run(|mut client| async move {
            let long = Bytes::from(vec![b'x'; 32 << 20]);
            client.writer.reply(client.liveness.slot, long.clone()).await;
            client.hear(&long[..1]).await;
            // The ping waits behind what the client has not read.
            assert_eq!([30, 60, 3_600].map(|seconds| client.sweep(seconds)), [None; 3]);
            client.hear(&long[1..]).await;
            client.hear(&DIALECT.ping()).await;
            client.pinged(3_601).await;
            assert_eq!(client.sweep(3_630), None);
            assert_eq!(client.sweep(3_631), Some(Disconnect::PingTimeout));
        });
    }

    #[test]
    fn a_client_with_unread_input_in_its_socket_is_not_silent() {
        Silent::run(|mut client| async move {
            client.pinged(31).await;
            client.peer.write_all(b"x").await.unwrap();
            assert!(client.stream.has_begun().await.unwrap());
            client.pinged(62).await;
            client.pinged(3_600).await;
            client.stream.try_discard(&mut [0]).unwrap();
            assert_eq!(client.sweep(3_601), Some(Disconnect::PingTimeout));
        });
    }

    #[test]
    fn a_client_is_not_silent_while_its_connection_has_something_to_execute() {
        Silent::run(|mut client| async move {
            client.liveness.hear(false);
            client.pinged(31).await;
            client.pinged(62).await;
            client.pinged(3_600).await;
            client.liveness.is_reading.set(true);
            assert_eq!(client.sweep(3_601), Some(Disconnect::PingTimeout));
        });
    }
}
