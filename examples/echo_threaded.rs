//! Stage 2: the same echo server with a thread per client, with `std` only.
//!
//! - **Shows** that blocking code serves many clients at once: the handler is that of stage 1, word for word.
//! - **Costs** a thread per client: 2 MiB of address space for the stack, about 14 KiB of memory, and two context
//!   switches per line.
//! - **Breaks** at about ten thousand clients, even silent ones. It cannot send one client's line to another, because
//!   each thread waits in its own `read`. So stage 3, `chat_broadcast`, waits for several events at once, in tasks of
//!   about 2 KiB.
//!
//! `cargo run --example echo_threaded [ADDRESS]`, then `nc localhost 8080` in two terminals.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use std::{env, thread};

const ADDRESS_DEFAULT: &str = "127.0.0.1:8080";

/// The longest line, in bytes without its end.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// The most clients at once. A thread takes four memory mappings (its stack, its signal stack and a guard page for
/// each), a long line may take a fifth, and Linux allows a process 65 530 (`vm.max_map_count`). A thread that starts
/// beyond that aborts the process inside `std`.
pub const CLIENTS_MAX: usize = 10_000;

/// The pause after a failed accept: without descriptors the next one would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| ADDRESS_DEFAULT.to_owned());
    let listener = TcpListener::bind(address)?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    serve(&listener)
}

fn serve(listener: &TcpListener) -> ! {
    // Every thread holds a clone until it ends, so the number of clones is one more than the number of clients.
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

/// Sends the client the reason. The client may be gone already.
fn refuse(mut client: &TcpStream) {
    let _ = client.write_all(b"ERR closed too-many-connections\n");
}

/// Serves a client on a thread of its own. Without a thread, the client is disconnected.
fn start(client: TcpStream, permit: Arc<()>) {
    let serve_one = move || {
        // An error ends this client only.
        let _ = echo(&client);
        drop(permit);
    };
    if let Err(error) = thread::Builder::new().spawn(serve_one) {
        report("cannot start a thread", &error);
    }
}

/// Unlike `eprintln!`, it does not panic if stderr is closed.
fn report(what: &str, error: &io::Error) {
    let _ = writeln!(io::stderr(), "{what}: {error}");
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
