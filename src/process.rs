//! The process around the server: exit codes, signals, and the exit after a panic.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use std::{panic, thread};

use rustix::process::{WaitOptions, wait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogFormat, LogLevel};
use crate::log;

/// The first process of a system or of a container, to which the kernel gives every orphan.
const FIRST_PROCESS: u32 = 1;

/// Exit code of a server that was stopped and drained.
pub const EXIT_OK: u8 = 0;

/// Exit code of a server that a second signal ended at once, or that failed while it ran.
pub const EXIT_FAILED: u8 = 1;

/// Exit code of a server that could not start: a bad setting, an address in use.
pub const EXIT_USAGE: u8 = 2;

/// Exit code after a panic (`EX_SOFTWARE` of sysexits.h).
pub const EXIT_PANIC: i32 = 70;

/// A second signal within this time counts as the first: a terminal and a wrapper may both forward it.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Ends the process with a message and exit code 70 on a panic in any thread, since a server without one of its shards
/// is worse than none. The message goes through the log, because standard error may be blocked.
pub fn end_on_panic() {
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("<unnamed>");
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            log::write_last(format_args!("thread '{name}' {panic}\n{backtrace}"));
        } else {
            log::write_last(format_args!("thread '{name}' {panic}"));
        }
        log::flush();
        std::process::exit(EXIT_PANIC);
    }));
}

/// Logs to standard error from here on.
///
/// # Errors
/// The thread of the log cannot be started.
pub fn start_log(level: LogLevel, format: LogFormat) -> io::Result<()> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    log::start(level, format == LogFormat::Json)
}

/// Writes a text to standard output. A reader that has gone, as `head` does, is not an error.
///
/// # Errors
/// The text cannot be written, as to a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Cancels `shutdown` at the first SIGTERM or SIGINT. Another one, a second later or more, ends the process at once.
/// SIGUSR2, which [`drain`](crate::commands::drain) sends, cancels `shutdown` too, but never ends the process at once.
/// Notifies `hangup` at each SIGHUP. SIGUSR1 has no effect but a log line. In the first process of a container, SIGCHLD
/// makes it reap orphans. To be called on a runtime.
///
/// # Errors
/// The signals cannot be watched.
pub fn watch_signals(shutdown: CancellationToken, hangup: Arc<Notify>) -> io::Result<()> {
    let draining = shutdown.clone();
    let [mut terminate, mut interrupt] = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    tokio::spawn(async move {
        let mut first_at = None;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let first_at = *first_at.get_or_insert_with(Instant::now);
            if first_at.elapsed() >= SAME_SIGNAL {
                log::write_last("roomcast: second signal, not waiting for clients");
                log::flush();
                std::process::exit(EXIT_FAILED.into());
            }
            shutdown.cancel();
        }
    });
    let mut hangups = signal(SignalKind::hangup())?;
    let mut user1 = signal(SignalKind::user_defined1())?;
    let mut user2 = signal(SignalKind::user_defined2())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = hangups.recv() => hangup.notify_one(),
                _ = user1.recv() => warn!(signal = "SIGUSR1", "this signal does nothing"),
                _ = user2.recv() => draining.cancel(),
            }
        }
    });
    if std::process::id() == FIRST_PROCESS { reap_orphans() } else { Ok(()) }
}

/// Reaps the processes that others have left, which stay as zombies otherwise. The server starts none itself.
fn reap_orphans() -> io::Result<()> {
    let mut ended = signal(SignalKind::child())?;
    tokio::spawn(async move {
        while ended.recv().await.is_some() {
            // One signal may stand for several of them.
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        }
    });
    Ok(())
}
