//! A server that speaks TLS in front of another that does not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::ServerConnection;

use super::Identity;

/// Bytes that are passed on at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// A listener, and a thread for each connection. It ends when dropped, its connections when either side does.
pub struct TlsFront {
    /// Where it listens.
    pub address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

impl TlsFront {
    /// Listens on a free port with this certificate, and passes on to the server behind.
    pub fn start(identity: &Identity, behind: SocketAddr) -> Self {
        let config = identity.server();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let (address, stopping) = (listener.local_addr().expect("a bound socket"), Arc::new(AtomicBool::new(false)));
        let is_over = Arc::clone(&stopping);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Acquire) {
                    return;
                }
                let connection = ServerConnection::new(Arc::clone(&config)).expect("a configuration");
                // Ends with an error when a client does not want its certificate.
                thread::spawn(move || {
                    TcpStream::connect(behind).and_then(|server| pass_on(connection, client, server))
                });
            }
        });
        Self { address, stopping }
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // The listener ends at its next client.
        let _ = TcpStream::connect(self.address);
    }
}

/// Passes on both ways until the server behind has closed, or the client is gone.
fn pass_on(mut tls: ServerConnection, mut client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut has_ended = false;
    loop {
        let [from_client, from_server] = wait(&client, &server, has_ended)?;
        if from_client {
            let read = tls.read_tls(&mut client)?;
            let state = tls.process_new_packets();
            while tls.wants_write() {
                tls.write_tls(&mut client)?;
            }
            let state = state.map_err(std::io::Error::other)?;
            let opened = &mut buffer[..state.plaintext_bytes_to_read()];
            tls.reader().read_exact(opened)?;
            server.write_all(opened)?;
            if read == 0 || state.peer_has_closed() {
                has_ended = true;
                server.shutdown(Shutdown::Write)?;
            }
        }
        if from_server {
            let read = server.read(&mut buffer)?;
            tls.writer().write_all(&buffer[..read])?;
            if read == 0 {
                tls.send_close_notify();
            }
            while tls.wants_write() {
                tls.write_tls(&mut client)?;
            }
            if read == 0 {
                return client.shutdown(Shutdown::Write);
            }
        }
    }
}

/// Waits until something can be read. Returns whether from the client, unless its input has ended, and from the server.
fn wait(client: &TcpStream, server: &TcpStream, has_ended: bool) -> std::io::Result<[bool; 2]> {
    let wanted = if has_ended { PollFlags::empty() } else { PollFlags::IN };
    let mut polled = [PollFd::new(client, wanted), PollFd::new(server, PollFlags::IN)];
    poll(&mut polled, None)?;
    Ok([!has_ended && !polled[0].revents().is_empty(), !polled[1].revents().is_empty()])
}
