//! `roomcast drain`: has a running server stop gently, and waits until it has ended. May be called again while the server
//! stops: its signal changes nothing then.

use std::io;
use std::time::Duration;

use super::http_client::{Connection, Patience, Target};
use super::running::Running;
use crate::config::Config;

/// The time between two lines of progress.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the server may take for each part of what it says of its progress.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Has the server of these settings, or that of the process, stop, and waits until it has ended. Tells `say` its progress in
/// lines.
///
/// # Errors
/// There is no such server, it is another user's, or `say` fails.
pub fn drain(config: &Config, pid: Option<i32>, mut say: impl FnMut(&str) -> io::Result<()>) -> anyhow::Result<()> {
    let server = pid.map_or_else(|| Running::at(config.http), Running::open)?;
    let pid = server.pid;
    // Before the signal: a stop without a delay closes the port at once.
    let mut progress = Progress::of(&server, config);
    server.begin_stop()?;
    say(&format!("process {pid} was asked to stop\n"))?;
    while !server.wait(INTERVAL) {
        if let Some(answer) = progress.answer() {
            say(&format!("{answer}\n"))?;
        }
    }
    say(&format!("process {pid} has ended\n"))?;
    Ok(())
}

/// What a server says of its readiness, over a connection that it keeps to its end; `None` where it says nothing.
struct Progress(Option<Connection>);

impl Progress {
    /// Connects to the HTTP port of the settings, if this is that of the server.
    fn of(server: &Running, config: &Config) -> Self {
        let is_its_own = server.listens_at(config.http);
        let connect = || Target::of_settings(config).connect(Patience::ForEachPart(ANSWER_WITHIN)).ok();
        Self(is_its_own.then(connect).flatten())
    }

    /// The first line of what it answers now.
    fn answer(&mut self) -> Option<String> {
        let answer = self.0.as_mut()?.get("/ready").ok();
        if answer.is_none() {
            self.0 = None;
        }
        answer.and_then(|(_, text)| text.lines().next().map(str::to_owned))
    }
}
