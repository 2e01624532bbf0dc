//! Stage 3: one room for all clients, with a task per client and one `broadcast` channel.
//!
//! - **Shows** what threads cannot do: a task waits for its client's next line and for the messages of all clients at
//!   once. Every line reaches every client, its sender too, byte for byte, in one order.
//! - **Costs** a task and a small read buffer per client, and a wake-up and a write per message and client. The channel
//!   keeps up to 1 024 messages for the slowest client, of any length: at worst 64 MiB.
//! - **Breaks** when groups of clients want to talk among themselves, since every client gets every message. A client
//!   that reads too slowly loses messages (`GAP 17` is the number), and publishers feel no backpressure. So stage 4,
//!   `chat_rooms_locked`, has rooms.
//!
//! `cargo run --example chat_broadcast [ADDRESS]`, then `nc localhost 8080` in two terminals.
#![expect(clippy::disallowed_types, reason = "this baseline measures the cost of a `broadcast` channel")]

use std::time::Duration;
use std::{env, io, io::Write, mem};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{
    TcpListener, TcpStream,
    tcp::{ReadHalf, WriteHalf},
};
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};

const ADDRESS_DEFAULT: &str = "127.0.0.1:8080";

/// The longest line, in bytes without its end.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// The channel keeps this many messages for the slowest client before that loses the oldest.
pub const MESSAGES_KEPT: usize = 1024;

/// The size of a client's read buffer: small, because every client has one.
const READ_BUFFER_BYTES: usize = 1024;

/// The pause after a failed accept: without descriptors the next one would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| ADDRESS_DEFAULT.to_owned());
    let listener = TcpListener::bind(address).await?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    serve(&listener).await
}

async fn serve(listener: &TcpListener) -> ! {
    let (messages, _) = broadcast::channel(MESSAGES_KEPT);
    loop {
        match listener.accept().await {
            // An error ends this client only.
            Ok((client, _)) => drop(tokio::spawn(chat(client, messages.clone()))),
            Err(error) => {
                // Unlike `eprintln!`, it does not panic if stderr is closed.
                let _ = writeln!(io::stderr(), "cannot accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// An event that the task waits for.
enum Step {
    Input(Input),
    Delivery(Result<Bytes, RecvError>),
}

/// The end of reading a line.
enum Input {
    Line,
    TooLong,
    End,
}

/// One client, to its end. An incomplete line at the end of the connection is dropped.
async fn chat(mut client: TcpStream, messages: Sender<Bytes>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut receiver = messages.subscribe();
    let (reader, mut writer) = client.split();
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, reader);
    let mut line = Vec::new();
    loop {
        let step = tokio::select! {
            input = read_line(&mut reader, &mut line) => Step::Input(input?),
            delivery = receiver.recv() => Step::Delivery(delivery),
        };
        match step {
            // Cannot fail, since this client is a receiver.
            Step::Input(Input::Line) => drop(messages.send(mem::take(&mut line).into())),
            Step::Input(Input::TooLong) => return writer.write_all(too_long().as_bytes()).await,
            Step::Input(Input::End) => return catch_up(&mut writer, &mut receiver).await,
            Step::Delivery(delivery) => deliver(&mut writer, delivery).await?,
        }
    }
}

/// Reads to the end of the line. It is cancel-safe, since `line` keeps the bytes that were read.
async fn read_line(reader: &mut BufReader<ReadHalf<'_>>, line: &mut Vec<u8>) -> io::Result<Input> {
    let longest = LINE_BYTES_MAX + b"\n".len();
    let rest = longest - line.len();
    reader.take(rest as u64).read_until(b'\n', line).await?;
    Ok(match line.last() {
        Some(b'\n') => Input::Line,
        _ if line.len() == longest => Input::TooLong,
        _ => Input::End,
    })
}

fn too_long() -> String {
    format!("ERR too-long line exceeds {LINE_BYTES_MAX} bytes\n")
}

/// Writes the messages published so far, at most as many as the channel keeps, and the number of lost ones.
async fn catch_up(writer: &mut WriteHalf<'_>, receiver: &mut Receiver<Bytes>) -> io::Result<()> {
    for _ in 0..=MESSAGES_KEPT {
        if receiver.is_empty() {
            break;
        }
        deliver(writer, receiver.recv().await).await?;
    }
    Ok(())
}

/// Writes one message, or the number of messages that the client has lost.
async fn deliver(writer: &mut WriteHalf<'_>, delivery: Result<Bytes, RecvError>) -> io::Result<()> {
    match delivery {
        Ok(message) => writer.write_all(&message).await,
        Err(RecvError::Lagged(missed)) => writer.write_all(format!("GAP {missed}\n").as_bytes()).await,
        Err(RecvError::Closed) => Err(io::Error::other("a channel without a sender")),
    }
}
