//! A blocking connection, plain or over TLS, which one thread may write while another reads. Both sides of TLS say that
//! they close, so an end without it is an error.

use std::io::{self, ErrorKind, Read, Write};
use std::iter;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use super::{Endpoint, FAILSAFE, tls};

/// Sealed bytes of one read: little enough that rustls always has room for them.
const READ_BYTES: usize = 1024;

/// A server reads for at least this long behind what it has said last: half of what it takes upon itself.
const READS_ON: Duration = Duration::from_millis(500);

/// The longest plain text of one record.
const RECORD_TEXT_BYTES: usize = 16 * 1024;

#[expect(clippy::disallowed_types, reason = "rustls has one owner for both directions")]
type Lock<T> = std::sync::Mutex<T>;

/// One connection.
pub struct Stream {
    socket: TcpStream,
    tls: Option<Arc<Tls>>,
}

struct Tls {
    /// Never held while the socket is waited for, except in the handshake.
    connection: Lock<ClientConnection>,
    /// Held while sealed bytes are written, so that they stay in order.
    output: Lock<()>,
}

impl Stream {
    /// Connects. The handshake of TLS is done with the first read or write.
    #[track_caller]
    pub fn connect(server: Endpoint) -> Self {
        Self::try_connect(server).expect("a server that accepts")
    }

    /// Connects to a server that may be gone.
    pub fn try_connect(server: Endpoint) -> io::Result<Self> {
        Ok(Self::over(TcpStream::connect(server)?, server))
    }

    /// A connection on this socket.
    #[track_caller]
    pub fn over(socket: TcpStream, server: Endpoint) -> Self {
        socket.set_read_timeout(Some(FAILSAFE)).expect("an option");
        socket.set_nodelay(true).expect("an option");
        let tls = || Tls { connection: Lock::new(tls::client(server.ip())), output: Lock::default() };
        Self { socket, tls: server.is_tls.then(|| Arc::new(tls())) }
    }

    /// The socket below TLS.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The same connection for another thread.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, tls: self.tls.clone() })
    }

    /// Closes directions of the connection. TLS says so before its output ends.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if let (Shutdown::Write, Some(tls)) = (how, &self.tls) {
            tls.write(&self.socket, |connection| {
                connection.send_close_notify();
                Ok(())
            })?;
        }
        self.socket.shutdown(how)
    }

    /// Writes the first bytes and then this many pieces, in a thread of its own. A server that ends the connection goes on
    /// reading for a while: a reset that comes at once fails the test, and one that comes later ends the writing.
    pub fn keep_writing(mut self, first: Vec<u8>, piece: Vec<u8>, pieces: usize) -> JoinHandle<()> {
        thread::spawn(move || {
            let begun = Instant::now();
            let mut pieces = iter::once(&first).chain(iter::repeat_n(&piece, pieces));
            if let Err(error) = pieces.try_for_each(|piece| self.write_all(piece)) {
                let is_over = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
                assert!(is_over && begun.elapsed() >= READS_ON, "{error} after {:?}", begun.elapsed());
            }
        })
    }
}

impl Tls {
    fn connection(&self) -> MutexGuard<'_, ClientConnection> {
        self.connection.lock().expect("no thread has failed")
    }

    fn shake_hands(&self, mut socket: &TcpStream) -> io::Result<()> {
        let mut connection = self.connection();
        if connection.is_handshaking() { connection.complete_io(&mut socket).map(drop) } else { Ok(()) }
    }

    fn read(&self, mut socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        self.shake_hands(socket)?;
        loop {
            match self.connection().reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            let mut sealed = [0; READ_BYTES];
            let read = socket.read(&mut sealed)?;
            let mut connection = self.connection();
            connection.read_tls(&mut &sealed[..read])?;
            connection.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Writes what `say` leaves in the connection.
    fn write(
        &self,
        mut socket: &TcpStream,
        say: impl FnOnce(&mut ClientConnection) -> io::Result<()>,
    ) -> io::Result<()> {
        self.shake_hands(socket)?;
        let _in_order = self.output.lock().expect("no thread has failed");
        let mut sealed = Vec::new();
        {
            let mut connection = self.connection();
            say(&mut connection)?;
            while connection.wants_write() {
                connection.write_tls(&mut sealed)?;
            }
        }
        socket.write_all(&sealed)
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            None => (&self.socket).read(buffer),
            Some(tls) => tls.read(&self.socket, buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return (&self.socket).write(bytes) };
        let first = &bytes[..bytes.len().min(RECORD_TEXT_BYTES)];
        tls.write(&self.socket, |connection| connection.writer().write_all(first))?;
        Ok(first.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The socket below TLS, for its options.
impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
