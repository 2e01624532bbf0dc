//! A room of TCP connections over loopback, and the thread that reads all of them. The clock stops when the last byte
//! of the last member has been read. The reader has a descriptor table of its own, like a client in another process.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use roomcast::broker::{Broker, ClientWindow, ShardSenders};
use roomcast::memory::MemoryUse;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::names::RoomName;
use roomcast::shutdown::Drain;
use roomcast::worker::DescriptorTable;
use roomcast::writer::handle::{WriterHandle, mailbox};
use roomcast::writer::task::WriterTask;
use roomcast::writer::{Address, WriterIndex};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::runtime::LocalRuntime;
use tokio::task::spawn_local;

use crate::common::in_memory_broker::start_shard;
use crate::common::{ROOMY, capacity, join, joined_line, line, publish, room, rules, runtime};

/// The listen backlog, the same as in the product. With a smaller one, a burst of connects waits for retries of one
/// second.
const BACKLOG: i32 = 4_096;

const READ_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1_024;

/// Raises the descriptor limit, and checks that a thread can have a descriptor table of its own.
pub fn prepare() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, raised).with_context(|| format!("raising the descriptor limit to {maximum:?}"))?;
    thread::spawn(unshare).join().expect("splitting off does not panic")
}

/// Gives this thread a descriptor table of its own.
fn unshare() -> Result<()> {
    let table = DescriptorTable::for_each(1).pop().expect("there is one");
    Ok(runtime().block_on(table.unshare())?)
}

/// A room of sockets on one thread; another thread reads them.
pub struct SocketBroker {
    /// This field is dropped first: that closes the server's sockets, which ends the reader.
    runtime: LocalRuntime,
    broker: Broker,
    _writer: WriterHandle,
    room: RoomName,
    /// The member that publishes.
    member: Address,
    rounds: flume::Receiver<Instant>,
}

impl SocketBroker {
    /// Connects this many members and joins all of them.
    pub fn open(members: usize) -> Result<Self> {
        let runtime = runtime();
        let (over, rounds) = flume::unbounded();
        let streams = connect(members, over)?;
        let (seed, shards) = ShardSenders::new(1, &capacity(), rules());
        let (batches, writer_mailbox) = mailbox();
        let (task, writer, sockets) = WriterTask::new(
            batches.clone(),
            writer_mailbox,
            Arc::default(),
            ROOMY,
            Drain::default(),
            &MemoryUse::default(),
        );
        let (broker, room) = (seed.broker(), room(0));
        let member = runtime.block_on(async {
            shards.into_iter().for_each(|shard| start_shard(shard, vec![batches.clone()]));
            spawn_local(task.run());
            let mut last = None;
            for stream in streams {
                let slot = sockets.open(Rc::new(tokio::net::TcpStream::from_std(stream)?.into()), Dialect::TextLines);
                let member = Address { writer: WriterIndex(0), slot };
                broker.join(join(room.clone(), member)).await.expect("there is room");
                last = Some(member);
            }
            rounds.recv_async().await?;
            last.context("a room without members")
        })?;
        Ok(Self { runtime, broker, _writer: writer, room, member, rounds })
    }

    /// Publishes once. Returns the time until every member has read it.
    pub fn publish(&self) -> Duration {
        self.runtime.block_on(async {
            let begun = Instant::now();
            self.broker.send(publish(self.room.clone(), self.member), &mut ClientWindow::default()).await;
            let over = self.rounds.recv_async().await.expect("the reader is there");
            over.duration_since(begun)
        })
    }
}

/// Opens this many connections and returns the server's ends. A thread reads the others and sends the time of each
/// complete round.
fn connect(members: usize, over: flume::Sender<Instant>) -> Result<Vec<TcpStream>> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(BACKLOG)?;
    let listener = TcpListener::from(listener);
    let server = listener.local_addr()?;
    thread::spawn(move || {
        let reader = unshare().and_then(|()| Reader::connect(server, members));
        reader.and_then(|reader| reader.read_until_end(&over)).expect("loopback fails nobody");
    });
    let accept = || {
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    (0..members).map(|_| accept()).collect()
}

/// The clients of a room, read by epoll.
struct Reader {
    streams: Vec<TcpStream>,
    epoll: rustix::fd::OwnedFd,
}

impl Reader {
    fn connect(server: SocketAddr, members: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connect = |member: usize| {
            let stream = TcpStream::connect(server)?;
            stream.set_nonblocking(true)?;
            // Closing with a reset leaves no port in TIME-WAIT for the next bench.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(member as u64), flags)?;
            Ok(stream)
        };
        let streams = (0..members).map(connect).collect::<Result<_>>()?;
        Ok(Self { streams, epoll })
    }

    /// Reads the input in rounds: first the answers to the joins, then one message for each member at a time.
    fn read_until_end(mut self, over: &flume::Sender<Instant>) -> Result<()> {
        let round = self.streams.len() * line().len();
        let mut expected = self.streams.len() * joined_line(&room(0)).len();
        let mut buffer = vec![0; READ_BYTES];
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                match self.streams[event.data.u64() as usize].read(&mut buffer) {
                    // The server has closed all its ends.
                    Ok(0) => return Ok(()),
                    Ok(read) => expected -= read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if expected == 0 {
                expected = round;
                over.send(Instant::now())?;
            }
        }
    }
}
