//! Stage 2: the same echo with a thread per client, on std alone.
//!
//! - **Shows** that blocking code serves many at once: the handler is that of stage 1, word for word.
//! - **Costs** a thread per client: 2 MiB of address space for its stack, of which it touches some 14 KiB with the rest
//!   that a thread has, and a switch to it and back for every line.
//! - **Breaks** at some ten thousand clients, however silent, and has no way to tell one client what another said: each thread
//!   waits in its own `read`. So stage 3, `chat_broadcast`, waits for many things at once, in tasks of some 2 KiB.
//!
//! `cargo run --example echo_threaded [ADDRESS]`, then `nc localhost 8080` in two terminals.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use std::{env, thread};

const ADDRESS_DEFAULT: &str = "127.0.0.1:8080";

/// The longest line, without its end.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// How many clients are served at once. A thread takes four memory mappings (its stack, its signal stack and a guard page
/// for each), a long line may take a fifth, and Linux gives a process 65 530 (`vm.max_map_count`): a thread that starts
/// beyond that aborts the process inside std.
pub const CLIENTS_MAX: usize = 10_000;

/// How long nobody is accepted after the system could not: out of descriptors, it fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| ADDRESS_DEFAULT.to_owned());
    let listener = TcpListener::bind(address)?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    serve(&listener)
}

fn serve(listener: &TcpListener) -> ! {
    // Every thread holds a clone until its end, so that the count of clones is that of clients and ours.
    let permit = Arc::new(());
    loop {
        match listener.accept() {
            Ok((client, _)) if Arc::strong_count(&permit) > CLIENTS_MAX => refuse(&client),
            Ok((client, _)) => start(client, Arc::clone(&permit)),
            Err(error) => {
                report("cannot accept", &error);
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// Tells a client why it goes. It may have gone already.
fn refuse(mut client: &TcpStream) {
    let _ = client.write_all(b"ERR closed too-many-connections\n");
}

/// Serves a client on a thread of its own. If there is none to be had, the client is let go.
fn start(client: TcpStream, permit: Arc<()>) {
    let serve_one = move || {
        // However it ended for this client, the others are served.
        let _ = echo(&client);
        drop(permit);
    };
    if let Err(error) = thread::Builder::new().spawn(serve_one) {
        report("cannot start a thread", &error);
    }
}

/// Unlike `eprintln!`, goes on when nobody holds the other end of stderr.
fn report(what: &str, error: &io::Error) {
    let _ = writeln!(io::stderr(), "{what}: {error}");
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
