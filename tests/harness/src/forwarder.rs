//! A forwarder of TCP connections that can be frozen or cut, for partitions of a network.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

/// How soon a change of the state is noticed.
const CHECK: Duration = Duration::from_millis(5);

/// Bytes that are passed on at once.
const BUFFER_BYTES: usize = 64 * 1024;

const OPEN: u8 = 0;
const HELD: u8 = 1;
const FROZEN: u8 = 2;
const CLOSED: u8 = 3;
const ENDED: u8 = 4;

/// A listener, and two threads for each connection. All end when it is dropped.
pub struct Forwarder {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<AtomicU8>,
}

impl Forwarder {
    /// Listens on a free port and passes on to the server behind.
    pub fn start(behind: SocketAddr) -> Self {
        Self::start_in(OPEN, behind, || false)
    }

    /// The same, but connections that come while somebody listens at `address` are accepted, and wait until it is opened.
    pub fn start_until_listens(address: SocketAddr, behind: SocketAddr) -> Self {
        Self::start_in(HELD, behind, move || TcpStream::connect(address).is_ok())
    }

    fn start_in(state: u8, behind: SocketAddr, is_held: impl Fn() -> bool + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let (address, state) = (listener.local_addr().expect("a bound socket"), Arc::new(AtomicU8::new(state)));
        let of_listener = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let is_held = of_listener.load(Ordering::Acquire) == HELD && is_held();
                while is_held && of_listener.load(Ordering::Acquire) == HELD {
                    thread::sleep(CHECK);
                }
                match of_listener.load(Ordering::Acquire) {
                    ENDED => return,
                    CLOSED => {}
                    // Fails if the server is gone, and the client is closed with it.
                    _ => _ = connect(client, behind, &of_listener),
                }
            }
        });
        Self { address, state }
    }

    /// From now on nothing is passed on. Connections stay, and new ones are accepted, as where packets are lost.
    pub fn freeze(&self) {
        self.state.store(FROZEN, Ordering::Release);
    }

    /// Closes all connections, and new ones as they come.
    pub fn close(&self) {
        self.state.store(CLOSED, Ordering::Release);
    }

    /// Passes on again.
    pub fn open(&self) {
        self.state.store(OPEN, Ordering::Release);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.state.store(ENDED, Ordering::Release);
        // The listener ends at its next client.
        let _ = TcpStream::connect(self.address);
    }
}

fn connect(client: TcpStream, behind: SocketAddr, state: &Arc<AtomicU8>) -> std::io::Result<()> {
    let server = TcpStream::connect(behind)?;
    let halves = [(client.try_clone()?, server.try_clone()?), (server, client)];
    for (from, to) in halves {
        from.set_read_timeout(Some(CHECK))?;
        to.set_nodelay(true)?;
        let state = Arc::clone(state);
        thread::spawn(move || {
            pass_on(&from, &to, &state);
            // Either fails if the other half has closed.
            let _ = from.shutdown(std::net::Shutdown::Both);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    }
    Ok(())
}

/// Passes on until either side closes, or the forwarder does.
fn pass_on(mut from: &TcpStream, mut to: &TcpStream, state: &AtomicU8) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(read @ 1..) => {
                while state.load(Ordering::Acquire) == FROZEN {
                    thread::sleep(CHECK);
                }
                if state.load(Ordering::Acquire) > FROZEN || to.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                if state.load(Ordering::Acquire) >= CLOSED {
                    return;
                }
            }
            _ => return,
        }
    }
}
