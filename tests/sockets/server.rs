//! A server in a thread of this process, on ports of its own. The test fails when it does not stop as it promises.

use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness::{Addresses, Endpoint, FAILSAFE, Identity, Transport, at_once};
use roomcast::config::{Config, Settings, Span, TlsPorts};
use roomcast::server::{self, BoundAddresses, Control};
use roomcast::writer::Counts;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

/// The grace period unless a test sets another. With the five seconds that cutting may take, less than the failsafe.
const GRACE: Duration = Duration::from_secs(10);

/// How many threads a server has, how many parts its rooms are in, and whether its ports speak TLS.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub shards: u16,
    pub workers: u16,
    pub is_tls: bool,
}

impl Shape {
    pub const ALL: [Self; 4] = [Self::of(1, 1), Self::of(4, 1), Self::of(1, 2), Self::of(4, 2)];

    /// The smallest shape.
    pub const ONE: Self = Self::of(1, 1);

    /// The largest shape.
    pub const MANY: Self = Self::of(4, 2);

    /// The largest shape, over TLS.
    pub const OVER_TLS: Self = Self::MANY.over_tls();

    const fn of(shards: u16, workers: u16) -> Self {
        Self { shards, workers, is_tls: false }
    }

    /// The same shape, with TLS on both ports.
    pub const fn over_tls(self) -> Self {
        Self { is_tls: true, ..self }
    }
}

/// Runs a behaviour over everything it holds for: every transport, one shard and several, one worker and two, and TLS
/// with the largest of these.
pub fn contract(behaviour: impl Fn(Shape, Transport) + Sync) {
    run(&[&Shape::ALL[..], &[Shape::OVER_TLS]].concat(), behaviour);
}

/// Runs a behaviour as [`contract`] does, but not over TLS. For clients that use their socket from two threads, or bytes
/// of their own on it.
pub fn contract_without_tls(behaviour: impl Fn(Shape, Transport) + Sync) {
    run(&Shape::ALL, behaviour);
}

fn run(shapes: &[Shape], behaviour: impl Fn(Shape, Transport) + Sync) {
    let cases = shapes.iter().flat_map(|shape| Transport::ALL.map(|transport| (*shape, transport)));
    at_once(cases, |(shape, transport)| behaviour(shape, transport));
}

/// A running server. Stops when dropped.
pub struct TestServer {
    pub tcp: Endpoint,
    pub http: Endpoint,
    pub control: Control,
    /// The files of its certificate, which it may read again.
    _certificates: Option<TempDir>,
    shutdown: CancellationToken,
    outcome: Receiver<anyhow::Result<Counts>>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    /// Starts a server with these settings and waits until it accepts.
    pub fn start(shape: Shape, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            tcp: (Ipv4Addr::LOCALHOST, 0).into(),
            http: (Ipv4Addr::LOCALHOST, 0).into(),
            shards: Some(shape.shards.into()),
            workers: shape.workers.into(),
            grace: Span(GRACE),
            ..Settings::default()
        };
        let certificates = shape.is_tls.then(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let files = Identity::of_this_host().write(folder.path());
            settings.tls = TlsPorts::Both;
            (settings.tls_cert, settings.tls_key) = (Some(files.certificate), Some(files.key));
            folder
        });
        change(&mut settings);
        let config = Config::try_from(settings).expect("settings within their rules");
        let shutdown = CancellationToken::new();
        let (bound_sender, bound) = channel();
        let (outcome_sender, outcome) = channel();
        let stopping = shutdown.clone();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let on_bound = |bound, control| bound_sender.send((bound, control)).expect("the test waits for it");
            let result = runtime.block_on(server::run(config, stopping, on_bound));
            // Fails when the test has ended first.
            let _ = outcome_sender.send(result);
        });
        let (BoundAddresses { tcp, http }, control) = bound.recv().expect("a server that starts");
        let [tcp, http] = [tcp, http].map(|address| Endpoint { address, is_tls: shape.is_tls });
        Self { tcp, http, control, _certificates: certificates, shutdown, outcome, thread: Some(thread) }
    }

    /// Starts a server with the default settings.
    pub fn plain(shape: Shape) -> Self {
        Self::start(shape, |_| {})
    }

    /// Begins to stop and returns at once.
    pub fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    /// Stops and returns what it has counted.
    pub fn stop(mut self) -> Counts {
        self.join()
    }

    fn join(&mut self) -> Counts {
        self.shutdown.cancel();
        let outcome = self.outcome.recv_timeout(FAILSAFE).expect("a server that stops");
        let thread = self.thread.take().expect("joined once");
        thread.join().expect("a server that does not panic");
        outcome.expect("a server that stops without an error")
    }
}

impl Addresses for TestServer {
    fn tcp(&self) -> Endpoint {
        self.tcp
    }

    fn http(&self) -> Endpoint {
        self.http
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if self.thread.is_some() && !thread::panicking() {
            self.join();
        }
    }
}
