//! The server binary: flags → logging → `server::run` → exit code.

use std::process::ExitCode;

use anyhow::Context;
use roomcast::config::{Config, Invocation, InvocationError, Settings, Task};
use roomcast::process::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, end_on_panic, print, start_log, watch_signals};
use roomcast::{log, server};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    end_on_panic();
    let outcome = match Invocation::parse(std::env::args_os()) {
        Ok(Invocation { settings, task: Task::Serve }) => serve(settings),
        Ok(Invocation { settings, task: Task::CheckConfig }) => check_config(settings),
        Err(InvocationError::Asked(text)) => {
            print(&text);
            Ok(())
        }
        Err(error) => Err((EXIT_USAGE, error.into())),
    };
    let code = outcome.map_or_else(report, |()| EXIT_OK);
    log::flush();
    ExitCode::from(code)
}

/// An exit code and why.
type Failure = (u8, anyhow::Error);

fn serve(settings: Settings) -> Result<(), Failure> {
    start_log(settings.log, settings.log_format)
        .context("cannot start the log")
        .map_err(|error| (EXIT_FAILED, error))?;
    // Whatever fails before clients are accepted is a matter of how the server was started.
    let mut code = EXIT_USAGE;
    let outcome = Config::try_from(settings).map_err(anyhow::Error::from).and_then(|config| {
        let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
        runtime.block_on(async {
            let shutdown = CancellationToken::new();
            watch_signals(shutdown.clone()).context("cannot watch for signals")?;
            server::run(config, shutdown, |_| code = EXIT_FAILED).await
        })
    });
    outcome.map(drop).map_err(|error| (code, error))
}

fn check_config(settings: Settings) -> Result<(), Failure> {
    let checked = Config::try_from(settings.clone()).map_err(anyhow::Error::from);
    let text = checked.and_then(|_| toml::to_string(&settings).context("cannot show the settings"));
    text.map(|text| print(&text)).map_err(|error| (EXIT_USAGE, error))
}

fn report((code, error): Failure) -> u8 {
    log::tell(format_args!("roomcast: {error:#}"));
    code
}
