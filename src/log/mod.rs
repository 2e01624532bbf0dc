//! The log on standard error. Whoever logs never waits: lines go through a bounded buffer to a thread of their own, and lines
//! that find it full are dropped and counted.

mod throttle;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::{error, warn};
use tracing_subscriber::filter::LevelFilter;

pub use throttle::LogThrottle;

/// Bytes of lines that may wait for standard error.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// What a waiting line costs besides its text: its place in the queue and its allocation.
const LINE_OVERHEAD_BYTES: usize = 64;

/// How long the end of the process waits for the last lines to be taken.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

static LOG: OnceLock<Log> = OnceLock::new();
static WAITING_BYTES: AtomicUsize = AtomicUsize::new(0);
static LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The way to the thread that writes, and the format of everything that it writes.
struct Log {
    lines: Sender<Message>,
    format: Format,
}

enum Message {
    Line(Box<[u8]>),
    /// Answered once every earlier line is written.
    Flush(SyncSender<()>),
}

/// Logs to standard error from here on. The first call decides; later calls do nothing.
///
/// # Errors
/// There is no thread to be had.
pub fn start(level: LevelFilter, format: Format) -> io::Result<()> {
    let (lines, waiting) = channel();
    if LOG.set(Log { lines, format }).is_err() {
        return Ok(());
    }
    // Colours only for a person: a file or a pipe would get escape codes around every field.
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| Buffer)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    match format {
        Format::Text => log.init(),
        Format::Json => log.json().flatten_event(true).init(),
    }
    thread::Builder::new().name("log".into()).spawn(move || write_lines(&waiting, &mut io::stderr())).map(drop)
}

/// Writes what the program says last, such as why it could not start: as it is, or as a JSON object where the log is one.
pub fn tell(line: impl Display) {
    match LOG.get() {
        Some(Log { format: Format::Json, .. }) => error!("{line}"),
        Some(log) => log.enqueue(format!("{line}\n").into_bytes().into()),
        // That nobody reads it is no failure.
        None => drop(writeln!(io::stderr(), "{line}")),
    }
}

/// Waits until everything logged so far is written, for a second at most.
pub fn flush() {
    let Some(log) = LOG.get() else { return };
    let (say_flushed, flushed) = sync_channel(1);
    if log.lines.send(Message::Flush(say_flushed)).is_ok() {
        // It may be that nobody reads.
        let _ = flushed.recv_timeout(FLUSH_WITHIN);
    }
}

/// Lines that were lost, since nobody read the log or it could not be written.
pub fn lines_dropped() -> u64 {
    LINES_DROPPED.load(Ordering::Relaxed)
}

impl Log {
    fn enqueue(&self, line: Box<[u8]>) {
        let cost = line.len() + LINE_OVERHEAD_BYTES;
        let waiting = WAITING_BYTES.fetch_add(cost, Ordering::Relaxed) + cost;
        if waiting > WAITING_BYTES_MAX || self.lines.send(Message::Line(line)).is_err() {
            WAITING_BYTES.fetch_sub(cost, Ordering::Relaxed);
            LINES_DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Takes the lines of `tracing`, which writes each in one call.
struct Buffer;

impl Write for Buffer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(log) = LOG.get() {
            log.enqueue(line.into());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread of the log: the only one that waits for standard error.
fn write_lines(waiting: &Receiver<Message>, stderr: &mut impl Write) {
    let mut told = 0;
    for message in waiting {
        let line = match message {
            Message::Line(line) => line,
            Message::Flush(flushed) => {
                // Whoever waited for it may have given up.
                let _ = flushed.send(());
                continue;
            }
        };
        let written = stderr.write_all(&line);
        let waiting = WAITING_BYTES.fetch_sub(line.len() + LINE_OVERHEAD_BYTES, Ordering::Relaxed);
        if written.is_err() {
            LINES_DROPPED.fetch_add(1, Ordering::Relaxed);
        } else if lines_dropped() > told && waiting < WAITING_BYTES_MAX / 2 {
            // Only after a line that was taken: a log that cannot be written is not told so for ever.
            let lines = lines_dropped() - told;
            told += lines;
            warn!(lines, "log lines were dropped: standard error was not read");
        }
    }
}
