//! A member that publishes as fast as it can and reads everything.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::{Endpoint, Lines, Stream};

/// Messages per write.
const BURST: usize = 256;

/// A member with a thread that writes and one that reads. Ends when dropped, and fails if the server has ended it
/// before.
pub struct Blast {
    stream: Stream,
    stopping: Arc<AtomicBool>,
    threads: Option<[JoinHandle<()>; 2]>,
}

impl Blast {
    /// Publishes in the room until dropped.
    pub fn start(server: impl Into<Endpoint>, room: &str) -> Self {
        let member = Lines::member(server, room);
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

fn write(mut stream: Stream) {
    let burst = "as fast as it can\n".repeat(BURST);
    while stream.write_all(burst.as_bytes()).is_ok() {}
}

fn read(mut stream: Stream) {
    let mut buffer = vec![0; 64 * 1024];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

impl Drop for Blast {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Fails when the server has closed, which the threads assert.
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.threads.take().into_iter().flatten() {
            assert!(thread.join().is_ok() || thread::panicking(), "a publisher failed");
        }
    }
}
