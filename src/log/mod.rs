//! The log on standard error. A task that logs never waits: lines go through a bounded queue to a thread of their own,
//! and are dropped and counted if the queue is full.
//!
//! The queue is our own. `tracing-appender` bounds lines and not bytes, flushes only when a guard is dropped, which a
//! panic hook cannot do, and neither counts lines that could not be written nor reports dropped ones.

mod throttle;

use std::error::Error;
use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata, error, warn};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::MakeWriterExt;

pub use throttle::LogThrottle;

/// The most bytes of lines that may wait for standard error.
const QUEUED_BYTES_MAX: usize = 1024 * 1024;

/// The memory of a queued line besides its text: its place in the queue and its allocation.
const LINE_OVERHEAD_BYTES: usize = 64;

/// The end of the process waits this long for the last lines to be written.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

static LOG: OnceLock<Log> = OnceLock::new();
static QUEUED_BYTES: AtomicUsize = AtomicUsize::new(0);
static LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// The queue into the thread that writes.
struct Log {
    queue: Sender<Message>,
    is_json: bool,
}

enum Message {
    Line(Box<[u8]>),
    /// Acknowledged once every earlier line is written.
    Flush(SyncSender<()>),
}

/// Logs to standard error from here on: text, or one JSON object per line. Only the first call has an effect.
///
/// # Errors
/// The thread cannot be started.
pub fn start(level: LevelFilter, is_json: bool) -> io::Result<()> {
    let (queue, queued) = channel();
    if LOG.set(Log { queue, is_json }).is_err() {
        return Ok(());
    }
    let queue = || LOG.get().expect("set above");
    // Colours on a terminal only: a file or a pipe would get escape codes around every field.
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(queue.with_filter(is_shown))
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    if is_json {
        log.json().flatten_event(true).init();
    } else {
        log.init();
    }
    thread::Builder::new().name("log".into()).spawn(move || write_lines(&queued, &mut io::stderr())).map(drop)
}

/// Whether a line is for the operator. The client of NATS tells at length of what the server tells itself.
fn is_shown(line: &Metadata<'_>) -> bool {
    *line.level() == Level::ERROR || !line.target().starts_with("async_nats")
}

/// Writes the last message of the process, such as why it could not start: without a timestamp, or as JSON if the log
/// is JSON.
pub fn write_last(line: impl Display) {
    match LOG.get() {
        Some(Log { is_json: true, .. }) => error!("{line}"),
        Some(log) => log.enqueue(format!("{line}\n").into_bytes().into()),
        // A closed standard error is not a failure.
        None => drop(writeln!(io::stderr(), "{line}")),
    }
}

/// An error with what has caused it: "client error" alone helps nobody.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    fmt::from_fn(|out| {
        write!(out, "{error}")?;
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(out, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    })
    .to_string()
}

/// Waits until everything logged so far is written, for a second at most.
pub fn flush() {
    let Some(log) = LOG.get() else { return };
    let (ack, flushed) = sync_channel(1);
    if log.queue.send(Message::Flush(ack)).is_ok() {
        // Times out if standard error is blocked.
        let _ = flushed.recv_timeout(FLUSH_WITHIN);
    }
}

/// The number of lines that were lost because standard error was blocked or failed.
pub fn lines_dropped() -> u64 {
    LINES_DROPPED.load(Ordering::Relaxed)
}

impl Log {
    fn enqueue(&self, line: Box<[u8]>) {
        let cost = line.len() + LINE_OVERHEAD_BYTES;
        let queued = QUEUED_BYTES.fetch_add(cost, Ordering::Relaxed) + cost;
        if queued > QUEUED_BYTES_MAX || self.queue.send(Message::Line(line)).is_err() {
            QUEUED_BYTES.fetch_sub(cost, Ordering::Relaxed);
            LINES_DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// For `tracing`, which writes each line in one call.
impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.enqueue(line.into());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log thread, the only one that waits for standard error.
fn write_lines(queued: &Receiver<Message>, stderr: &mut impl Write) {
    let mut reported = 0;
    for message in queued {
        let line = match message {
            Message::Line(line) => line,
            Message::Flush(ack) => {
                // Fails if `flush` has timed out.
                let _ = ack.send(());
                continue;
            }
        };
        let written = stderr.write_all(&line);
        let queued_bytes = QUEUED_BYTES.fetch_sub(line.len() + LINE_OVERHEAD_BYTES, Ordering::Relaxed);
        if written.is_err() {
            LINES_DROPPED.fetch_add(1, Ordering::Relaxed);
        } else if lines_dropped() > reported && queued_bytes < QUEUED_BYTES_MAX / 2 {
            // Only behind a line that was written: otherwise the report would be dropped, counted and reported again
            // for ever.
            let lines = lines_dropped() - reported;
            reported += lines;
            warn!(lines, "log lines were dropped: standard error was not read");
        }
    }
}
