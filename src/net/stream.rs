//! The stream of a client, plain or TLS: all that reads or writes the bytes of a client does it here. Belongs to one
//! thread, and never waits but where a call is `async`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::tls::{Received, SCRATCH_BYTES, TlsState};

thread_local! {
    /// Where the streams of a worker open and seal records, one after the other.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A client's stream.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    /// Boxed, so that plain streams stay small.
    tls: Option<Box<RefCell<TlsState>>>,
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self { socket, tls: None }
    }
}

impl Stream {
    /// The socket under it.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Goes on in TLS, from its handshake.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub(super) fn start_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let state = TlsState::new(config).map_err(io::Error::other)?;
        self.tls = Some(Box::new(RefCell::new(state)));
        Ok(())
    }

    /// Whether it is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether its handshake is not complete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.borrow().is_handshaking())
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// The socket is not connected any more.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// The address that the peer has connected to.
    ///
    /// # Errors
    /// The system does not provide it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Memory of input that is received and not read yet, in bytes.
    pub fn held_input(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.borrow().held_input())
    }

    /// Bytes that are sealed and that the socket has not taken yet.
    pub fn held_output(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.borrow().held_output())
    }

    /// Waits for input or its end, and returns whether there is input. It looks, and does not ask tokio, which takes a
    /// new socket to be readable until somebody has tried.
    ///
    /// # Errors
    /// The socket has failed.
    pub async fn has_begun(&self) -> io::Result<bool> {
        if self.has_input() {
            return Ok(true);
        }
        Ok(self.socket.peek(&mut [0]).await? > 0)
    }

    /// Ready once there may be something to read.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_input() {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_read_ready(context)
    }

    /// Waits until there may be something to read.
    ///
    /// # Errors
    /// The socket has failed.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_readable(context)).await
    }

    /// Waits until the socket may take bytes.
    ///
    /// # Errors
    /// The socket has failed.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Whether bytes, or the end of the input, have come and are not read yet. A system call.
    pub fn has_unread_input(&self) -> bool {
        self.has_input() || recv(&self.socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok()
    }

    fn has_input(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.borrow().has_input())
    }

    /// Reads once.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing to read; `InvalidData` if the client broke the rules of TLS; the socket has
    /// failed.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let Some(tls) = &self.tls else {
            let bytes = read_socket(&self.socket, buffer)?;
            // A full buffer means that there is more to read.
            return Ok(Received { bytes, is_more: bytes == buffer.len() });
        };
        let tls = &mut *tls.borrow_mut();
        let held_before = tls.held_output();
        let received = with_scratch(|scratch| tls.receive(buffer, scratch, |free| read_socket(&self.socket, free)));
        if held_before == 0 && tls.held_output() > 0 {
            // What TLS itself has to say goes out at once if it can, or before what is written next.
            let _ = tls.flush(|bytes| send_socket(&self.socket, bytes));
        }
        received
    }

    /// Takes one step of the handshake. What is to be sent is held for [`Self::try_flush`].
    pub(super) fn try_handshake(&self) -> io::Result<()> {
        let Some(tls) = &self.tls else { return Ok(()) };
        let tls = &mut *tls.borrow_mut();
        let step = with_scratch(|scratch| tls.shake_hands(scratch, |free| read_socket(&self.socket, free)));
        if step.is_err() {
            // The alert that says why.
            let _ = tls.flush(|sealed| send_socket(&self.socket, sealed));
        }
        step
    }

    /// Reads once into `buffer` what nobody wants, and does not open it. Returns 0 at the end of the input.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing to read; the socket has failed.
    pub fn try_discard(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.tls.as_ref().is_some_and(|tls| tls.borrow_mut().discard_input()) {
            return Ok(0);
        }
        read_socket(&self.socket, buffer)
    }

    /// Writes the start of `bytes`, and returns how many of them. Of TLS they are sealed, and the socket has taken them
    /// unless [`Self::held_output`] says otherwise.
    ///
    /// # Errors
    /// `WouldBlock` if the socket is full; the socket has failed.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => send_socket(&self.socket, bytes),
            Some(tls) => with_scratch(|scratch| {
                tls.borrow_mut().send(bytes, scratch, |sealed| send_socket(&self.socket, sealed))
            }),
        }
    }

    /// Writes the start of `bytes` to a plain socket that has just refused them, so that a wait until it is writable ends
    /// when it is.
    ///
    /// # Errors
    /// As of [`Self::try_write`].
    pub fn try_write_again(&self, bytes: &[u8]) -> io::Result<usize> {
        send_again(&self.socket, bytes)
    }

    /// Writes what is sealed, and returns how many bytes of it the socket has taken.
    ///
    /// # Errors
    /// `WouldBlock` if the socket takes nothing; the socket has failed.
    pub fn try_flush(&self) -> io::Result<usize> {
        match &self.tls {
            None => Ok(0),
            Some(tls) => tls.borrow_mut().flush(|sealed| send_socket(&self.socket, sealed)),
        }
    }

    /// Ends the output behind all that was written; the peer can still be read.
    ///
    /// # Errors
    /// `WouldBlock` if the socket is full: to be called again once it takes bytes. Any other error means that there is
    /// nobody left to tell.
    pub fn try_finish(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            let mut tls = tls.borrow_mut();
            let finished = with_scratch(|scratch| tls.finish(scratch, |sealed| send_socket(&self.socket, sealed)));
            if finished.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                return finished;
            }
        }
        Ok(shutdown(&self.socket, Shutdown::Write)?)
    }

    /// Ends both directions at once. Who waits for the stream is woken.
    pub fn close(&self) {
        // Fails for one that was reset.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// For hyper, which alone reads and writes it so.
impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.tls.is_none() {
            return Pin::new(&mut stream.socket).poll_read(context, buffer);
        }
        loop {
            ready!(stream.poll_readable(context))?;
            match stream.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                received => {
                    buffer.advance(received?.bytes);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if stream.tls.is_none() {
            return Pin::new(&mut stream.socket).poll_write(context, bytes);
        }
        stream.poll_until_taken(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if stream.tls.is_none() {
            return Pin::new(&mut stream.socket).poll_write_vectored(context, pieces);
        }
        let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
        Pin::new(stream).poll_write(context, first)
    }

    fn is_write_vectored(&self) -> bool {
        !self.is_tls()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        while stream.held_output() > 0 {
            ready!(stream.poll_until_taken(context, Self::try_flush))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_until_taken(context, Self::try_finish)
    }
}

impl Stream {
    fn poll_until_taken<T>(
        &self,
        context: &mut Context<'_>,
        attempt: impl Fn(&Self) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            match attempt(self) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                taken => return Poll::Ready(taken),
            }
        }
    }
}

fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(SCRATCH_BYTES, 0);
        work(scratch)
    })
}

/// Reads once. A short read has emptied the socket, and saying so saves the call that would only be refused.
fn read_socket(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut short = None;
    let outcome = socket.try_io(Interest::READABLE, || {
        let read = rustix::io::read(socket, &mut *buffer)?;
        if (1..buffer.len()).contains(&read) {
            short = Some(read);
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(read)
    });
    short.map_or(outcome, Ok)
}

/// Sends once. The socket may take bytes before tokio knows.
fn send_socket(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN) => send_again(socket, bytes),
        sent => Ok(sent?),
    }
}

/// The kernel took nothing. Tries once more through tokio's bookkeeping; otherwise tokio would go on to believe that the
/// socket is writable, and a wait for it would not wait.
#[cold]
fn send_again(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    socket.try_io(Interest::WRITABLE, || send(socket, bytes, SendFlags::NOSIGNAL).map_err(io::Error::from))
}
