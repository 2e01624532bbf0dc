//! `roomcast drain`: has a running server stop gently, and waits until it has ended. May be called again while the server
//! stops: its signal changes nothing then.

use std::io;
use std::net::SocketAddr;
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
    // Before the signal, and asked once: a stop without a delay closes the port at once, and with it the connections that
    // the server has not accepted yet.
    let mut progress = Progress::of(&server, config);
    progress.answer();
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

/// What a server says of its readiness, over a connection that it keeps.
struct Progress<'a> {
    server: &'a Running,
    http: SocketAddr,
    target: Target,
    connection: Option<Connection>,
}

impl<'a> Progress<'a> {
    fn of(server: &'a Running, config: &Config) -> Self {
        Self { server, http: config.http, target: Target::of_settings(config), connection: None }
    }

    /// The first line of what it answers now; `None` where it says nothing, such as one that listens no longer and has ended
    /// the connection, or whose HTTP port is not that of the settings.
    fn answer(&mut self) -> Option<String> {
        // A full server ends each connection with its answer.
        let mut connection = self.connection.take().or_else(|| self.connect())?;
        let (_, text) = connection.get("/ready").ok()?;
        self.connection = Some(connection);
        text.lines().next().map(str::to_owned)
    }

    fn connect(&self) -> Option<Connection> {
        let is_its_own = self.server.listens_at(self.http);
        is_its_own.then(|| self.target.connect(Patience::ForEachPart(ANSWER_WITHIN)).ok()).flatten()
    }
}
