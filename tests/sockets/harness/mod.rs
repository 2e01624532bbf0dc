//! What the tests are made of.

mod blast;
mod client;
mod http;
mod lines;
mod program;
mod server;
mod turn;
pub mod websocket;

use std::thread;
use std::time::{Duration, Instant};

pub use blast::Blast;
pub use client::{Client, Transport};
pub use http::{Head, Http, metrics};
pub use lines::Lines;
pub use program::{Program, command, command_within, run, run_to_end};
pub use server::{Addresses, Shape, TestServer};
pub use turn::Turn;
pub use websocket::WebSocket;

/// How long a server may take to get where it must. A failsafe, not an expectation.
const GETS_THERE_WITHIN: Duration = Duration::from_secs(30);

/// The greeting that a server has by default.
pub const WELCOME: &str = "Welcome! Commands: JOIN <room>, LEAVE, LIST";

/// Runs a behaviour over everything it holds for: every transport, one shard and several, one worker and two.
pub fn contract(behaviour: impl Fn(Shape, Transport)) {
    for shape in Shape::ALL {
        for transport in Transport::ALL {
            // Shown when the test fails.
            println!("{shape:?}, {transport:?}");
            behaviour(shape, transport);
        }
    }
}

/// Asks again and again until the server has got there. Asking is a round trip or a look at a file, never a pause.
#[track_caller]
pub fn until(there: impl FnMut() -> bool) {
    assert!(gets_there(there), "the server does not get there");
}

/// The same, for a figure that is to come down to this.
#[track_caller]
pub fn until_at_most(most: u64, mut figure: impl FnMut() -> u64) {
    let mut last = u64::MAX;
    let there = gets_there(|| {
        last = figure();
        last <= most
    });
    assert!(there, "{last} does not come down to {most}");
}

/// The same; false if it never does.
fn gets_there(mut there: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !there() {
        if begun.elapsed() > GETS_THERE_WITHIN {
            return false;
        }
        thread::yield_now();
    }
    true
}
