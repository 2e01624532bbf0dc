//! Stage 3: one room for everybody, with a task per client and one `broadcast` channel.
//!
//! - **Shows** what threads could not: a task waits for its client's next line and for everybody's messages at once. Every
//!   line reaches every client, the sender too, byte for byte, in one order.
//! - **Costs** a task and a small read buffer per client, and for every message a wake and a write per client. The channel
//!   keeps up to 1 024 messages for who is slowest: it counts messages, not bytes, so at worst 64 MiB.
//! - **Breaks** when clients wish to talk among themselves: everybody pays for everything said. A client that reads too slowly
//!   loses messages (`GAP 17` says how many), and no publisher is ever slowed down for it. So stage 4, `chat_rooms_locked`,
//!   has rooms.
//!
//! `cargo run --example chat_broadcast [ADDRESS]`, then `nc localhost 8080` in two terminals.
#![expect(
    clippy::disallowed_types,
    reason = "what a `broadcast` channel costs is what this baseline is there to measure"
)]

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

/// The longest line, without its end.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// How many messages wait for the slowest client before it loses the oldest.
pub const MESSAGES_KEPT: usize = 1024;

/// Small, because every client has one.
const READ_BUFFER_BYTES: usize = 1024;

/// How long nobody is accepted after the system could not: out of descriptors, it fails again at once.
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
            // However it ends for this client, the task ends with it and nobody asks how.
            Ok((client, _)) => drop(tokio::spawn(chat(client, messages.clone()))),
            Err(error) => {
                // Unlike `eprintln!`, goes on when nobody holds the other end of stderr.
                let _ = writeln!(io::stderr(), "cannot accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What a client or the others did.
enum Step {
    Input(Input),
    Delivery(Result<Bytes, RecvError>),
}

/// How reading a line ended.
enum Input {
    Line,
    TooLong,
    End,
}

/// One client, to its end. A line cut off by the end of the connection was never said.
async fn chat(mut client: TcpStream, messages: Sender<Bytes>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut heard = messages.subscribe();
    let (reader, mut writer) = client.split();
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, reader);
    let mut line = Vec::new();
    loop {
        let step = tokio::select! {
            input = read_line(&mut reader, &mut line) => Step::Input(input?),
            delivery = heard.recv() => Step::Delivery(delivery),
        };
        match step {
            // Fails if nobody listens, but this client does.
            Step::Input(Input::Line) => drop(messages.send(mem::take(&mut line).into())),
            Step::Input(Input::TooLong) => return writer.write_all(too_long().as_bytes()).await,
            Step::Input(Input::End) => return catch_up(&mut writer, &mut heard).await,
            Step::Delivery(delivery) => deliver(&mut writer, delivery).await?,
        }
    }
}

/// Reads on to the end of the line. Dropped half-way, it has lost nothing: `line` keeps what came.
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

/// Writes what was said before now: no more than the channel keeps, and how many it has not kept.
async fn catch_up(writer: &mut WriteHalf<'_>, heard: &mut Receiver<Bytes>) -> io::Result<()> {
    for _ in 0..=MESSAGES_KEPT {
        if heard.is_empty() {
            break;
        }
        deliver(writer, heard.recv().await).await?;
    }
    Ok(())
}

/// Writes one message, or how many were lost for want of reading.
async fn deliver(writer: &mut WriteHalf<'_>, delivery: Result<Bytes, RecvError>) -> io::Result<()> {
    match delivery {
        Ok(message) => writer.write_all(&message).await,
        Err(RecvError::Lagged(missed)) => writer.write_all(format!("GAP {missed}\n").as_bytes()).await,
        Err(RecvError::Closed) => Err(io::Error::other("a channel without a sender")),
    }
}
