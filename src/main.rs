//! The server binary: flags → logging → `server::run` → exit code.

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use roomcast::access::Access;
use roomcast::commands::{self, TokenRequest};
use roomcast::config::{Config, ConfigError, Invocation, InvocationError, LogLevel, Settings, Task, log_format};
use roomcast::process::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, end_on_panic, print, start_log, watch_signals};
use roomcast::server::{AskedToStop, Reloader};
use roomcast::{log, server};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

fn main() -> ExitCode {
    end_on_panic();
    let outcome = match Invocation::parse(env::args_os()) {
        Ok(invocation) => follow(invocation),
        Err(InvocationError::Print(text)) => write(&text).map_err(|error| (EXIT_FAILED, error)),
        Err(error) => start_log(LogLevel::Error, log_format(env::args_os()))
            .map_err(|error| (EXIT_FAILED, error.into()))
            .and(Err((EXIT_USAGE, error.into()))),
    };
    let code = outcome.map_or_else(report, |()| EXIT_OK);
    log::flush();
    ExitCode::from(code)
}

/// An exit code and its reason.
type Failure = (u8, anyhow::Error);

fn follow(Invocation { settings, sources, task, warnings }: Invocation) -> Result<(), Failure> {
    start_log(settings.log, settings.log_format)
        .context("cannot start the log")
        .map_err(|error| (EXIT_FAILED, error))?;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    let outcome = match task {
        Task::Serve => serve(settings),
        task => {
            let code = if task.asks_server() { EXIT_FAILED } else { EXIT_USAGE };
            run(task, settings).map_err(|error| (code, error))
        }
    };
    outcome.map_err(|(code, error)| match error.downcast_ref::<ConfigError>() {
        Some(wrong) => (code, anyhow!(sources.explain(wrong))),
        None => (code, error),
    })
}

fn serve(settings: Settings) -> Result<(), Failure> {
    // Until clients are accepted, a failure is one of the start: a bad setting, an address in use.
    let mut code = EXIT_USAGE;
    let running = settings.clone();
    let outcome = Config::try_from(settings).map_err(anyhow::Error::from).and_then(|config| {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = runtime.context("cannot start a runtime")?;
        let outcome = runtime.block_on(async {
            let (shutdown, hangup) = (CancellationToken::new(), Arc::new(Notify::new()));
            watch_signals(shutdown.clone(), Arc::clone(&hangup)).context("cannot watch for signals")?;
            let on_bound = |_, control| {
                code = EXIT_FAILED;
                let reloader = Reloader::new(control, running, || Invocation::parse(env::args_os()));
                spawn_local(reloader.run(hangup, shutdown.clone()));
            };
            server::run(config, shutdown.clone(), on_bound).await
        });
        // A name server that does not answer a reload is not waited for.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(_) => Ok(()),
        Err(error) if error.is::<AskedToStop>() => {
            info!("{error}");
            Ok(())
        }
        Err(error) => Err((code, error)),
    }
}

/// Runs a task that prints something and ends.
fn run(task: Task, settings: Settings) -> anyhow::Result<()> {
    let config = Config::try_from(settings.clone())?;
    let text = match task {
        // Serving is not done here, and what only tells of the program is printed before.
        Task::Serve | Task::Settings { .. } | Task::DefaultConfig | Task::Completions { .. } => String::new(),
        Task::Man { dir } => dir.map_or(Ok(String::new()), |folder| commands::write_man_pages(&folder))?,
        Task::Health { ready, url } => commands::health(&config, url.as_deref(), ready)?,
        Task::Drain { pid } => return commands::drain(&config, pid, print),
        Task::CheckConfig { explain, token } => {
            server::check(&config)?;
            let access = Access::load(&config.access)?;
            access.warnings.iter().for_each(|warning| warn!("{warning}"));
            match explain {
                Some(room) => commands::explain(&access, &room, token.as_deref())?,
                None => toml::to_string(&settings).context("cannot show the settings")?,
            }
        }
        Task::GenKey { name, may, room } => commands::gen_key(&name, &may, room.as_deref())?,
        Task::GenToken { user, name, room: rooms, channel, expires, kid } => {
            commands::gen_token(&config.access, &TokenRequest { user, name, rooms, channel, expires: expires.0, kid })?
        }
        Task::Publish { room, text, json, server } => commands::publish(&config, &server, &room, &text, json)?,
        Task::Rooms { pattern, server } => commands::rooms(&config, &server, pattern.as_deref())?,
        Task::CheckToken { file } => {
            let (text, verdict) = commands::check_token(&Access::load(&config.access)?, &file)?;
            write(&text)?;
            return verdict.context("the token is not valid");
        }
    };
    write(&text)
}

fn write(text: &str) -> anyhow::Result<()> {
    print(text).context("cannot write to standard output")
}

fn report((code, error): Failure) -> u8 {
    log::write_last(format_args!("roomcast: {error:#}"));
    code
}
