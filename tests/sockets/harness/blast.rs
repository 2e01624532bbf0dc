//! A member that publishes as fast as it can and reads all it gets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::WELCOME;
use super::lines::Lines;

/// Messages per write.
const BURST: usize = 256;

/// Two threads of one member: one writes, one reads. Ends when dropped, and fails if it was ended before.
pub struct Blast {
    stream: TcpStream,
    stopping: Arc<AtomicBool>,
    threads: Option<[JoinHandle<()>; 2]>,
}

impl Blast {
    /// Publishes in the room until dropped.
    pub fn start(server: SocketAddr, room: &str) -> Self {
        let mut member = Lines::connect(server);
        member.send(format!("JOIN {room}\n"));
        member.expect(WELCOME);
        member.expect(&format!("Joined {room}"));
        let stopping = Arc::new(AtomicBool::new(false));
        let threads = [write, read].map(|half| {
            let (stream, stopping) = (member.write_half(), Arc::clone(&stopping));
            thread::spawn(move || {
                half(stream);
                assert!(stopping.load(Ordering::Acquire), "a publisher was cut");
            })
        });
        Self { stream: member.write_half(), stopping, threads: Some(threads) }
    }
}

fn write(mut stream: TcpStream) {
    let burst = "as fast as it can\n".repeat(BURST);
    while stream.write_all(burst.as_bytes()).is_ok() {}
}

fn read(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

impl Drop for Blast {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Fails for one that was cut, which its threads tell.
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.threads.take().into_iter().flatten() {
            assert!(thread.join().is_ok() || thread::panicking(), "a publisher failed");
        }
    }
}
