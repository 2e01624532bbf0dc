//! The server itself, without a greeting so that it says nothing unasked. In a thread of this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use roomcast::config::{Config, ListenAddress, Settings};
use roomcast::server;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

pub struct Product {
    pub address: SocketAddr,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Product {
    /// With the limits that it has by default.
    pub fn start() -> Self {
        let any_port = ListenAddress::from((Ipv4Addr::LOCALHOST, 0));
        let settings = Settings {
            tcp: any_port.clone(),
            http: any_port,
            workers: 1,
            greeting: String::new(),
            ..Settings::default()
        };
        let config = Config::try_from(settings).expect("settings within their rules");
        let shutdown = CancellationToken::new();
        let stopping = shutdown.clone();
        let (tell_bound, bound) = channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let on_bound = |bound| tell_bound.send(bound).expect("the test waits for it");
            runtime.block_on(server::run(config, stopping, on_bound)).expect("a server that stops without an error");
        });
        let address = bound.recv().expect("a server that starts").http;
        Self { address, shutdown, thread: Some(thread) }
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let ended = self.thread.take().expect("joined once").join();
        // One failure at a time.
        assert!(ended.is_ok() || thread::panicking(), "a server that does not panic");
    }
}
