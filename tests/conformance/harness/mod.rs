//! What the tests are made of. No assertions of their own but that a server's frames are as RFC 6455 wants them.

mod client;
mod echo;
pub mod frame;
mod product;

use std::net::SocketAddr;
use std::time::Duration;

pub use client::Client;
pub use echo::Echo;
pub use product::Product;

/// How long a server may take. A failsafe, not an expectation.
const GETS_THERE_WITHIN: Duration = Duration::from_secs(30);

/// Runs a behaviour over every server for which it holds: the echo and the product.
pub fn each_server(behaviour: impl Fn(SocketAddr)) {
    let (echo, product) = (Echo::start(), Product::start());
    for (name, server) in [("echo", echo.address), ("product", product.address)] {
        // Shown when the test fails.
        println!("{name}");
        behaviour(server);
    }
}

/// Bytes that break a rule fail the connection with this code, whatever messages mean to the server.
#[track_caller]
pub fn expect_failures(offences: impl IntoIterator<Item = (Vec<u8>, u16)>) {
    let offences: Vec<_> = offences.into_iter().collect();
    each_server(|server| {
        for (bytes, code) in &offences {
            let mut client = Client::connect(server);
            // What comes behind changes nothing.
            client.send([bytes, &frame::frame(frame::FINAL | frame::PING, "behind")[..]].concat());
            client.expect_failure(*code, bytes);
        }
    });
}
