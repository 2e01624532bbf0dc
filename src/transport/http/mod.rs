//! HTTP: health, readiness, metrics and the WebSocket handshake, over hyper inside our own accept loop. Its responses are hyper's own
//! output; a socket whose handshake succeeded goes on as a WebSocket client, raw, and hyper is gone.

mod refusals;
mod requests;
mod routes;
mod spare;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{Shutdown, shutdown};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use self::refusals::Refusals;
use self::requests::Asking;
use self::routes::{Scrape, Standing, router};
use self::spare::SparePlaces;
use super::accept::{Accepted, Admission, NoPlace, Place};
use super::census::Census;
use super::conversation::ReadBuffer;
use super::metrics::{HttpEnd, RefusalReason, ServerMetrics, TransportMetrics};
use super::origin::OriginRules;
use super::proxied::Proxies;
use crate::config::{HttpLimits, Origins};
use crate::protocol::disconnect::Disconnect;
use crate::shutdown::Drain;
use crate::writer::CLOSE_LINGER;

/// Connections that a worker serves beside its clients when the server is full.
pub const SPARE_CONNECTIONS: usize = 16;

/// What a connection takes with hyper's state and the head of its request, in bytes: 21 KiB were measured.
const CONNECTION_BYTES: usize = 20 * 1024;

/// On a spare place a connection has one request and this long for all of it, silent or not.
const SPARE_TIME_MAX: Duration = Duration::from_secs(1);

/// A connection that in this time neither asks anything nor takes its answers is closed.
const STALL_TIME_MAX: Duration = Duration::from_secs(60);

/// A request has at most so many headers; one more is answered with 431.
const HEADERS_MAX: usize = 64;

/// A request's head has at most so many bytes; more are answered with 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What answers depend on.
#[derive(Clone)]
pub struct HttpState {
    /// Whether the server stops.
    pub drain: Drain,
    /// Whether there is a place.
    pub admission: Admission,
    /// Who is here, by address.
    pub census: Census,
    /// What was counted.
    pub metrics: ServerMetrics,
}

/// A socket that was switched to WebSocket.
pub struct Upgraded {
    /// The socket, raw again.
    pub stream: TcpStream,
    /// Its place among the clients.
    pub place: Place,
    /// The client's, behind the proxies that are believed.
    pub address: IpAddr,
    /// What the client sent behind its handshake.
    pub already_read: Vec<u8>,
}

/// What applies to the HTTP connections of a worker.
pub struct HttpRules {
    /// How long a client may take for the head of a request.
    pub header_timeout: Duration,
    /// How long a connection is kept, and under which names the server is reached.
    pub limits: HttpLimits,
    /// Which web pages may open a WebSocket.
    pub origins: Origins,
    /// Who is believed for whom it asks.
    pub proxies: Proxies,
}

/// The HTTP server of a worker.
pub struct HttpHost {
    router: Router,
    state: HttpState,
    scrape: Scrape,
    spare: Rc<SparePlaces>,
    /// Of this worker.
    counts: Arc<TransportMetrics>,
    refusals: Refusals,
    header_timeout: Duration,
    connection_time: Option<Duration>,
    origins: OriginRules,
    proxies: Proxies,
    /// Of the worker: what comes behind the last answer is read into it, and forgotten.
    buffer: ReadBuffer,
    on_upgrade: Box<dyn Fn(Upgraded)>,
}

/// A connection of which nothing was read, or only the header of its proxy.
struct Arrived {
    stream: TcpStream,
    peer: SocketAddr,
    /// The proxy in front of it has announced it.
    is_announced: bool,
}

impl HttpHost {
    /// Answers from `state`; sockets switched to WebSocket go to `on_upgrade`.
    pub fn new(
        state: HttpState,
        counts: Arc<TransportMetrics>,
        rules: HttpRules,
        buffer: ReadBuffer,
        on_upgrade: impl Fn(Upgraded) + 'static,
    ) -> Self {
        let HttpRules { header_timeout, limits, origins, proxies } = rules;
        Self {
            router: router(state.clone()),
            state,
            scrape: Scrape::default(),
            spare: SparePlaces::new(SPARE_CONNECTIONS),
            refusals: Refusals::new(Arc::clone(&counts)),
            counts,
            header_timeout,
            connection_time: limits.connection_time,
            origins: OriginRules { origins, hosts: limits.hosts },
            proxies,
            buffer,
            on_upgrade: Box::new(on_upgrade),
        }
    }

    /// Serves one connection: requests until it closes, or until it becomes a WebSocket client.
    pub async fn serve(self: Rc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, place } = accepted;
        self.counts.count_opened();
        let arrived = Arrived { stream, peer, is_announced: false };
        let end = match place {
            Ok(place) => self.serve_client(arrived, place).await,
            // Boxed, since those that are silent are to be small.
            Err(no_place) => Box::pin(self.serve_spare(arrived, no_place)).await,
        };
        self.counts.count_closed(end);
    }

    /// Serves one that has a place, unless its address has too many.
    async fn serve_client(&self, arrived: Arrived, place: Place) -> HttpEnd {
        let arrived = match self.announced(arrived, self.header_timeout).await {
            Ok(arrived) => arrived,
            Err(end) => return end,
        };
        let address = arrived.peer.ip();
        // Whom a proxy of ours asks for is known when it asks.
        let of_address =
            if self.proxies.trusts(address) { Ok(place) } else { place.of_address(&self.state.census, address) };
        let place = match of_address {
            Ok(place) => place,
            Err(no_place) => return Box::pin(self.serve_spare(arrived, no_place)).await,
        };
        // Nothing is built for a client that says nothing: until here it costs no more than a line client. That there is a
        // byte must be seen, for tokio takes a new socket to be readable until it has tried.
        match timeout(self.header_timeout, arrived.stream.peek(&mut [0])).await {
            Ok(Ok(1..)) => Box::pin(self.converse(arrived, place)).await,
            Ok(Ok(0)) => HttpEnd::Failed(Disconnect::ClosedByPeer),
            Ok(Err(_)) => HttpEnd::Failed(Disconnect::IoError),
            Err(_) => self.too_late(),
        }
    }

    /// The same once the client has said something.
    async fn converse(&self, arrived: Arrived, place: Place) -> HttpEnd {
        let asking = Asking::new(&arrived, Standing(None), self.connection_time);
        self.answer(arrived.stream, Some(place), &asking).await
    }

    /// Answers one request of a client without a place: a full server still says so. The oldest gives way to a newcomer.
    async fn serve_spare(&self, arrived: Arrived, no_place: NoPlace) -> HttpEnd {
        let mut spare = self.spare.take();
        tokio::select! {
            biased;
            () = spare.gave_way() => {
                self.refusals.connection(no_place.into());
                HttpEnd::Failed(Disconnect::TooManyConnections)
            }
            end = self.answer_spare(arrived, no_place) => end,
        }
    }

    async fn answer_spare(&self, arrived: Arrived, no_place: NoPlace) -> HttpEnd {
        let deadline = Instant::now() + SPARE_TIME_MAX;
        match self.announced(arrived, SPARE_TIME_MAX).await {
            Ok(arrived) => {
                let mut asking = Asking::new(&arrived, Standing(Some(no_place)), None);
                asking.deadline = Some(deadline);
                self.answer(arrived.stream, None, &asking).await
            }
            Err(end) => end,
        }
    }

    /// Answers what is asked on a connection, to its end.
    async fn answer(&self, stream: TcpStream, place: Option<Place>, asking: &Asking) -> HttpEnd {
        let mut need = self.buffer.need();
        need.set(CONNECTION_BYTES);
        let service = service_fn(|request| Box::pin(self.respond(request, asking)));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .keep_alive(place.is_some())
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let served = poll_fn(|context| connection.poll_without_shutdown(context));
        let ended = self.unless_stalled(asking, served).await;
        let Parts { io, read_buf, .. } = connection.into_parts();
        let stream = io.into_inner();
        match (&ended, asking.visit.take(), place) {
            (Some(Ok(())), Some(visit), Some(place)) => {
                let (place, address) = (place.with(visit), asking.client.get());
                (self.on_upgrade)(Upgraded { stream, place, address, already_read: read_buf.to_vec() });
                HttpEnd::Upgraded
            }
            // Its place stays taken for as long as it has its descriptor.
            (_, _, _place) => {
                let end = self.end_of(ended, asking);
                drop(read_buf);
                self.close(stream, asking.standing).await;
                end
            }
        }
    }

    /// `None` if the client has stalled: it is not to hold a place for ever.
    async fn unless_stalled<T>(&self, asking: &Asking, served: impl Future<Output = T>) -> Option<T> {
        let mut served = pin!(served);
        if let Some(deadline) = asking.deadline {
            return timeout_at(deadline.into(), served).await.ok();
        }
        let period = STALL_TIME_MAX.max(self.header_timeout * 2);
        loop {
            let before = asking.requests.get();
            match timeout(period, &mut served).await {
                Ok(ended) => return Some(ended),
                Err(_) if asking.requests.get() == before => return None,
                Err(_) => {}
            }
        }
    }

    /// An error is the client's: a malformed request was answered, a broken connection cannot be.
    fn end_of(&self, ended: Option<hyper::Result<()>>, asking: &Asking) -> HttpEnd {
        let was_answered = asking.requests.get() > 0;
        let failed = |reason, disconnect| {
            self.refusals.connection(reason);
            HttpEnd::Failed(disconnect)
        };
        match ended {
            None if was_answered => HttpEnd::Failed(Disconnect::SlowConsumer),
            None => self.too_late(),
            Some(Ok(())) if was_answered => HttpEnd::Done,
            Some(Ok(())) => HttpEnd::Failed(Disconnect::ClosedByPeer),
            Some(Err(error)) if error.is_timeout() && was_answered => HttpEnd::Done,
            Some(Err(error)) if error.is_timeout() => self.too_late(),
            Some(Err(error)) if error.is_parse_too_large() => {
                failed(RefusalReason::HeadTooLong, Disconnect::ProtocolError)
            }
            Some(Err(error)) if error.is_parse() => failed(RefusalReason::Malformed, Disconnect::ProtocolError),
            Some(Err(error)) if error.is_incomplete_message() => HttpEnd::Failed(Disconnect::ClosedByPeer),
            Some(Err(_)) => HttpEnd::Failed(Disconnect::IoError),
        }
    }

    /// The request did not come in time.
    fn too_late(&self) -> HttpEnd {
        self.refusals.connection(RefusalReason::Timeout);
        HttpEnd::Failed(Disconnect::HandshakeTimeout)
    }

    /// Ends the output, and reads on for a while so that the last answer arrives. A listener's reserve is needed for the next.
    async fn close(&self, stream: TcpStream, Standing(no_place): Standing) {
        // Fails for one that was reset.
        let _ = shutdown(&stream, Shutdown::Write);
        if no_place == Some(NoPlace::OutOfDescriptors) {
            let _ = self.buffer.discard(&stream);
        } else {
            let _ = timeout(CLOSE_LINGER, self.buffer.discard_input(&stream)).await;
        }
    }

    /// The client behind a connection, which its proxy may announce. At once where no proxy does so.
    async fn announced(&self, arrived: Arrived, within: Duration) -> Result<Arrived, HttpEnd> {
        let Arrived { stream, peer, is_announced } = arrived;
        if is_announced || !self.proxies.announce(peer) {
            return Ok(Arrived { stream, peer, is_announced });
        }
        match Box::pin(self.proxies.client(&stream, peer, within)).await {
            Ok(peer) => Ok(Arrived { stream, peer, is_announced: true }),
            Err(Disconnect::HandshakeTimeout) => Err(self.too_late()),
            Err(reason) => {
                if reason == Disconnect::ProtocolError {
                    self.refusals.connection(RefusalReason::Malformed);
                }
                Err(HttpEnd::Failed(reason))
            }
        }
    }
}

impl From<NoPlace> for RefusalReason {
    fn from(no_place: NoPlace) -> Self {
        match no_place {
            NoPlace::Full => Self::Full,
            NoPlace::TooManyOfAddress => Self::Address,
            NoPlace::OutOfDescriptors => Self::Descriptors,
        }
    }
}
