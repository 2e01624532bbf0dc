//! The two servers that are asked, and a check that holds for both.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use harness::frame::{FINAL_PING, frame};
use harness::{Process, Program, WebSocket, built};

/// `examples/ws_echo` as a process.
pub struct Echo {
    _process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Echo {
    /// Starts it with the limit that it has by default, 16 MiB.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(arguments: &[&str]) -> Self {
        let mut command = Command::new(built("examples/ws_echo"));
        let command = command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let line = process.stdout().line().expect("a line");
        let address = line.strip_prefix("listening on ").expect("the address first");
        Self { address: address.parse().expect("an address"), _process: process }
    }
}

/// The server itself, without a greeting, so that it sends nothing that was not asked for.
pub fn product() -> Program {
    Program::start(&["--workers", "1", "--greeting", ""])
}

/// Runs a behaviour over every server for which it holds: the echo and the product.
pub fn each_server(behaviour: impl Fn(SocketAddr)) {
    let (echo, product) = (Echo::start(), product());
    for (name, server) in [("echo", echo.address), ("product", product.http)] {
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
            let mut client = WebSocket::connect(server);
            // The ping behind them changes nothing.
            client.send([bytes, &frame(FINAL_PING, "behind")[..]].concat());
            client.expect_failure(*code, bytes);
        }
    });
}
