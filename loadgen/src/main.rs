//! `loadgen`: not built yet. It will measure the latency of every delivery of a Roomcast server, and never links the
//! server crate, so that it is an independent witness of the wire protocol.

use std::process::ExitCode;

/// Exit code for a command that cannot do what it was asked to.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    eprintln!(
        "loadgen: not built yet; until then `cargo bench --bench against_bare_send` measures the server's cost per delivery"
    );
    ExitCode::from(EXIT_USAGE)
}
