//! Stage 1: an echo server for one client at a time, with `std` only.
//!
//! - **Shows** the minimum that serves a client: accept, read a line, write it back byte for byte.
//! - **Costs** one thread and one line buffer for any number of connections.
//! - **Breaks** with the second client: it is not served until the first has disconnected, which a silent one never
//!   does. So stage 2, `echo_threaded`, gives each client a thread.
//!
//! `cargo run --example echo_blocking [ADDRESS]`, then `nc localhost 8080`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{env, thread};

const ADDRESS_DEFAULT: &str = "127.0.0.1:8080";

/// The longest line, in bytes without its end.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// The pause after a failed accept: without descriptors the next one would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| ADDRESS_DEFAULT.to_owned());
    let listener = TcpListener::bind(address)?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    serve(&listener)
}

fn serve(listener: &TcpListener) -> ! {
    loop {
        match listener.accept() {
            // An error ends this client only.
            Ok((client, _)) => drop(echo(&client)),
            Err(error) => {
                // Unlike `eprintln!`, it does not panic if stderr is closed.
                let _ = writeln!(io::stderr(), "cannot accept: {error}");
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// Writes every line back unchanged. An incomplete line at the end of the connection is dropped.
fn echo(mut client: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client);
    let mut line = Vec::new();
    loop {
        line.clear();
        let longest = LINE_BYTES_MAX + b"\n".len();
        reader.by_ref().take(longest as u64).read_until(b'\n', &mut line)?;
        if line.ends_with(b"\n") {
            client.write_all(&line)?;
        } else if line.len() == longest {
            return writeln!(client, "ERR too-long line exceeds {LINE_BYTES_MAX} bytes");
        } else {
            return Ok(());
        }
    }
}
