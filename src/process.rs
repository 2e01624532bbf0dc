//! The process around the server: its log, its signals, its end when something panics.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::panic;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogFormat, LogLevel};

/// Exit code of a server that was stopped and drained.
pub const EXIT_OK: u8 = 0;

/// Exit code of a server that a second signal ended at once, or that failed while it ran.
pub const EXIT_FAILED: u8 = 1;

/// Exit code of a server that could not start: a bad setting, an address in use.
pub const EXIT_USAGE: u8 = 2;

/// Exit code after a panic (`EX_SOFTWARE` of sysexits.h).
pub const EXIT_PANIC: i32 = 70;

/// Ends the process with a message and exit code 70 on any panic in any thread: never a server with a dead shard.
pub fn end_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |details| {
        report(details);
        std::process::exit(EXIT_PANIC);
    }));
}

/// Writes a line to standard error. That nobody reads it is no reason to end.
pub fn tell(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a text to standard output, as far as somebody reads it.
pub fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Logs to standard error from here on.
pub fn log(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // Colours only for a person: a file or a pipe would get escape codes around every field.
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // It would be reported with a panic: a log that nobody reads any more must not end the server.
        .log_internal_errors(false)
        .with_target(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Cancels `shutdown` at the first SIGTERM or SIGINT; the second ends the process at once. To be called on a runtime.
///
/// # Errors
/// The signals cannot be watched.
pub fn stop_on_signals(shutdown: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if shutdown.is_cancelled() {
                tell("roomcast: second signal, not waiting for clients");
                std::process::exit(EXIT_FAILED.into());
            }
            shutdown.cancel();
        }
    });
    Ok(())
}
