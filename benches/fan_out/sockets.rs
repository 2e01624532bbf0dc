//! A room whose members are TCP connections over loopback, and the thread that reads them all. The clock stops when that has
//! read the last byte of the last member. The reader has a descriptor table of its own, as a client in another process has.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use roomcast::broker::{Broker, ClientWindow, Reservation, ShardSenders};
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

use crate::common::site::start_shard;
use crate::common::{ROOMY, capacity, joined_line, line, line_member, publish, room, runtime};

/// As in the product: at fewer a burst of connects is refused and tries again a second later.
const BACKLOG: i32 = 4_096;

const READ_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1_024;

/// What the sockets need of the system: descriptors, and a table of their own for those of the reader.
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

/// A room of sockets, on one thread; another reads.
pub struct SocketSite {
    /// Ended first, and with it the server's sockets; that ends the reader.
    runtime: LocalRuntime,
    broker: Broker,
    _writer: WriterHandle,
    room: RoomName,
    /// One of the members, who publishes.
    member: Address,
    rounds: flume::Receiver<Instant>,
}

impl SocketSite {
    /// So many members, all of whom have joined.
    pub fn open(members: usize) -> Result<Self> {
        let runtime = runtime();
        let (over, rounds) = flume::unbounded();
        let streams = connect(members, over)?;
        let (seed, shards) = ShardSenders::new(1, &capacity());
        let (batches, writer_mailbox) = mailbox();
        let (task, writer) = WriterTask::new(
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
                let slot = writer.open(Rc::new(tokio::net::TcpStream::from_std(stream)?), Dialect::Lines);
                let member = Address { writer: WriterIndex(0), slot };
                broker
                    .join(room.clone(), line_member(member), Reservation::None)
                    .await
                    .expect("there is a reservation");
                last = Some(member);
            }
            rounds.recv_async().await?;
            last.context("a room without members")
        })?;
        Ok(Self { runtime, broker, _writer: writer, room, member, rounds })
    }

    /// Publishes once; how long until every member had read it.
    pub fn publish(&self) -> Duration {
        self.runtime.block_on(async {
            let begun = Instant::now();
            self.broker.publish(publish(self.room.clone(), self.member), &mut ClientWindow::default()).await;
            let over = self.rounds.recv_async().await.expect("the reader is there");
            over.duration_since(begun)
        })
    }
}

/// The server's ends of so many connections, the others with a reader that says whenever it has read a round of them all.
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

/// The clients of a room, asleep until there is something to read.
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
            // Ended by a reset, a connection leaves nothing behind that the next bench would meet.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(member as u64), flags)?;
            Ok(stream)
        };
        let streams = (0..members).map(connect).collect::<Result<_>>()?;
        Ok(Self { streams, epoll })
    }

    /// What all are owed comes in rounds: the answers to their joins, then one message for each at a time.
    fn read_until_end(mut self, over: &flume::Sender<Instant>) -> Result<()> {
        let round = self.streams.len() * line().len();
        let mut owed = self.streams.len() * joined_line(&room(0)).len();
        let mut buffer = vec![0; READ_BYTES];
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                match self.streams[event.data.u64() as usize].read(&mut buffer) {
                    // The server's ends are gone, all at once.
                    Ok(0) => return Ok(()),
                    Ok(read) => owed -= read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if owed == 0 {
                owed = round;
                over.send(Instant::now())?;
            }
        }
    }
}
