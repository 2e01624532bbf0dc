//! Reloading: the settings and files that apply to a server that runs are read again, by a thread of their own, since names
//! are looked up as well. A mistake in any of them changes nothing.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::control::Control;
use crate::access::Access;
use crate::config::{Config, Invocation, InvocationError, Settings};

/// Reads the command line and the settings file.
type ReadSettings = fn() -> Result<Invocation, InvocationError>;

/// Reads settings and files again, and applies what has changed.
pub struct Reloader {
    control: Control,
    /// The settings by which the server runs.
    running: Settings,
    /// What is made of them and of the files.
    applied: Arc<Access>,
    read_again: ReadSettings,
}

/// What a reload has read, and found right.
struct Reloaded {
    /// The settings as they were read.
    read: Settings,
    /// Those by which the server runs from here on.
    next: Settings,
    /// What is made of these and of the files.
    access: Arc<Access>,
}

impl Reloader {
    /// A reloader of a server that runs by these settings; `read_again` reads the command line and the settings file.
    pub fn new(control: Control, running: Settings, read_again: ReadSettings) -> Self {
        Self { applied: control.access(), control, running, read_again }
    }

    /// Reloads each time that it is asked to, until the server stops. From then on nothing is reloaded, and the log says so.
    pub async fn run(mut self, asked: Arc<Notify>, shutdown: CancellationToken) {
        let reloading = async {
            loop {
                asked.notified().await;
                self.control.manager().reloading().await;
                self.reload_or_say_why().await;
                self.control.manager().ready().await;
            }
        };
        shutdown.run_until_cancelled(reloading).await;
        loop {
            asked.notified().await;
            warn!("not reloaded, nothing has changed: the server stops");
        }
    }

    async fn reload_or_say_why(&mut self) {
        let outcome = self.reload().await;
        self.control.show_reload(outcome.is_err());
        if let Err(error) = outcome {
            error!("not reloaded, nothing has changed: {error:#}");
        }
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        let (running, read_again) = (self.running.clone(), self.read_again);
        let reading = spawn_blocking(move || Reloaded::read(&running, read_again));
        let Reloaded { read, next, access } = reading.await.context("cannot read the settings")??;
        access.warnings.iter().for_each(|warning| warn!("{warning}"));
        let files = access.files_changed_since(&self.applied).join(", ");
        let changed = differences(&self.running, &next)?.join(", ");
        let needs_restart = differences(&next, &read)?.join(", ");
        // Everything that can fail comes before everything that applies.
        self.control.reload_certificate().await?;
        self.control.replace(&access).await;
        if access.rooms.is_open() && !self.running.rules.is_empty() {
            warn!("no rule is left: every client may do everything in every room");
        }
        (self.running, self.applied) = (next, Arc::clone(&access));
        let (rules, keys) = (self.running.rules.len(), access.tokens.describe());
        info!(changed, files, rules, keys, api_keys = access.api_keys.len(), "reloaded");
        if !needs_restart.is_empty() {
            warn!(settings = needs_restart, "these settings have changed, and apply after a restart");
        }
        Ok(())
    }
}

impl Reloaded {
    /// Reads everything again. Takes long where a name has to be looked up that nobody knows.
    fn read(running: &Settings, read_again: ReadSettings) -> anyhow::Result<Self> {
        let Invocation { settings: read, sources, .. } = read_again()?;
        let next = reloaded(running, &read);
        // What needs a restart is checked as well: it would be found wrong then.
        let checked = Config::try_from(read.clone()).and_then(|_| Config::try_from(next.clone()));
        let access = checked.and_then(|config| Access::load(&config.access));
        let access = Arc::new(access.map_err(|error| anyhow!(sources.explain(&error)))?);
        Ok(Self { read, next, access })
    }
}

/// The settings of a running server with those of `read` that a reload applies.
fn reloaded(running: &Settings, read: &Settings) -> Settings {
    let read = read.clone();
    Settings {
        anonymous: read.anonymous,
        api_keys_file: read.api_keys_file,
        rules: read.rules,
        token_audience: read.token_audience,
        token_grace: read.token_grace,
        token_in_query: read.token_in_query,
        token_issuer: read.token_issuer,
        token_jwks_file: read.token_jwks_file,
        token_leeway: read.token_leeway,
        token_public_key_file: read.token_public_key_file,
        token_secret_file: read.token_secret_file,
        ..running.clone()
    }
}

/// The names of the settings that differ. The password of NATS, which is not in the tables, belongs to `cluster`.
fn differences(one: &Settings, other: &Settings) -> anyhow::Result<Vec<String>> {
    let table = |settings| toml::Table::try_from(settings).context("cannot compare the settings");
    let tables = (table(one)?, table(other)?);
    let names = tables.0.keys().chain(tables.1.keys().filter(|name| !tables.0.contains_key(*name)));
    let has_other_nats = one.nats.cluster != other.nats.cluster;
    let differs = |name: &str| tables.0.get(name) != tables.1.get(name) || (name == "cluster" && has_other_nats);
    Ok(names.filter(|name| differs(name)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Anonymous, NatsServer};

    #[test]
    fn a_reload_applies_what_it_says_and_nothing_else() {
        let mut running = Settings { backlog: 1, ..Settings::default() };
        let mut read = Settings {
            backlog: 2,
            anonymous: Anonymous::Deny,
            token_issuer: Some("issuer".into()),
            ..Settings::default()
        };
        read.nats.cluster = vec![NatsServer("nats://new-password@a".into())];
        running.nats.cluster = vec![NatsServer("nats://password@a".into())];
        let next = reloaded(&running, &read);
        assert_eq!(differences(&running, &next).unwrap(), ["anonymous", "token-issuer"]);
        assert_eq!(differences(&next, &read).unwrap(), ["backlog", "cluster"]);
    }
}
