//! Stage 1: an echo for one client at a time, on std alone.
//!
//! - **Shows** the least that serves a client: accept, read a line, write it back byte for byte.
//! - **Costs** one thread and the longest line seen, however many connect.
//! - **Breaks** with the second client: nobody is heard until the one before has gone, and a silent one never has to go. So
//!   stage 2, `echo_threaded`, gives each client a thread.
//!
//! `cargo run --example echo_blocking [ADDRESS]`, then `nc localhost 8080`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{env, thread};

const ADDRESS_DEFAULT: &str = "127.0.0.1:8080";

/// The longest line, without its end.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// How long nobody is accepted after the system could not: out of descriptors, it fails again at once.
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
            // However it ended for this client, the next one is served.
            Ok((client, _)) => drop(echo(&client)),
            Err(error) => {
                // Unlike `eprintln!`, goes on when nobody holds the other end of stderr.
                let _ = writeln!(io::stderr(), "cannot accept: {error}");
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// Writes every line back as it came. A line cut off by the end of the connection was never said.
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
