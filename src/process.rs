//! The process around the server: its signals, its end when something panics.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::time::Duration;
use std::{panic, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogFormat, LogLevel};
use crate::log;

/// Exit code of a server that was stopped and drained.
pub const EXIT_OK: u8 = 0;

/// Exit code of a server that a second signal ended at once, or that failed while it ran.
pub const EXIT_FAILED: u8 = 1;

/// Exit code of a server that could not start: a bad setting, an address in use.
pub const EXIT_USAGE: u8 = 2;

/// Exit code after a panic (`EX_SOFTWARE` of sysexits.h).
pub const EXIT_PANIC: i32 = 70;

/// Signals to stop that come so soon after the first are the same wish: a terminal and a wrapper may both forward it.
const SAME_WISH: Duration = Duration::from_secs(1);

/// Ends the process with a message and exit code 70 on any panic in any thread: never a server with a dead shard. The message
/// goes through the log, since writing it here might wait for ever.
pub fn end_on_panic() {
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("<unnamed>");
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            log::tell(format_args!("thread '{name}' {panic}\n{backtrace}"));
        } else {
            log::tell(format_args!("thread '{name}' {panic}"));
        }
        log::flush();
        std::process::exit(EXIT_PANIC);
    }));
}

/// Logs to standard error from here on.
///
/// # Errors
/// There is no thread to be had.
pub fn start_log(level: LogLevel, format: LogFormat) -> io::Result<()> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let format = match format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    log::start(level, format)
}

/// Writes a text to standard output, as far as somebody reads it.
pub fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Cancels `shutdown` at the first SIGTERM or SIGINT; another one, a second later or more, ends the process at once. SIGHUP,
/// SIGUSR1 and SIGUSR2 do nothing, and the log says so. To be called on a runtime.
///
/// # Errors
/// The signals cannot be watched.
pub fn watch_signals(shutdown: CancellationToken) -> io::Result<()> {
    let stops = [SignalKind::terminate(), SignalKind::interrupt()];
    let [mut terminate, mut interrupt] = watch(stops)?;
    tokio::spawn(async move {
        let mut asked_at = None;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let asked_at = *asked_at.get_or_insert_with(Instant::now);
            if shutdown.is_cancelled() && asked_at.elapsed() >= SAME_WISH {
                log::tell("roomcast: second signal, not waiting for clients");
                log::flush();
                std::process::exit(EXIT_FAILED.into());
            }
            shutdown.cancel();
        }
    });
    let [mut hangup, mut user1, mut user2] =
        watch([SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()])?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => info!(signal = "SIGHUP", "nothing to reload: settings apply from the start"),
                _ = user1.recv() => warn!(signal = "SIGUSR1", "this signal does nothing"),
                _ = user2.recv() => warn!(signal = "SIGUSR2", "this signal does nothing"),
            }
        }
    });
    Ok(())
}

fn watch<const COUNT: usize>(kinds: [SignalKind; COUNT]) -> io::Result<[Signal; COUNT]> {
    let signals = kinds.map(signal).into_iter().collect::<io::Result<Vec<_>>>()?;
    Ok(signals.try_into().unwrap_or_else(|_| unreachable!("as many signals as kinds")))
}
