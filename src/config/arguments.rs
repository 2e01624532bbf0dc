//! The command line: flags over environment over settings file over defaults.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, Args, Command, FromArgMatches, value_parser};
use thiserror::Error;

use super::settings::{FileError, Settings};

/// What the program was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// With which settings.
    pub settings: Settings,
    /// What.
    pub task: Task,
}

/// The tasks of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Serve.
    Serve,
    /// Print the effective settings.
    CheckConfig,
}

/// A command line that cannot be followed.
#[derive(Debug, Error)]
pub enum InvocationError {
    /// The text that was asked for, help or version: no mistake.
    #[error("{0}")]
    Asked(String),
    /// A flag or a variable that is wrong.
    #[error("{0}")]
    Arguments(String),
    /// A settings file that is wrong.
    #[error(transparent)]
    File(#[from] FileError),
}

const CHECK_CONFIG: &str = "check-config";
const CONFIG: &str = "config";

impl Invocation {
    /// Reads the command line, the environment and the settings file that either names.
    ///
    /// # Errors
    /// One line that says what was wrong and what would be right; or the help, where that was asked for.
    pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, InvocationError> {
        let mut matches = command().try_get_matches_from(arguments).map_err(refusal)?;
        let task = if matches.subcommand_name() == Some(CHECK_CONFIG) { Task::CheckConfig } else { Task::Serve };
        let mut settings = match matches.get_one::<PathBuf>(CONFIG) {
            Some(path) => Settings::from_file(path)?,
            None => Settings::default(),
        };
        settings.update_from_arg_matches_mut(&mut matches).map_err(refusal)?;
        Ok(Self { settings, task })
    }
}

fn command() -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .env("ROOMCAST_CONFIG")
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .help("A TOML file of settings, under the names of the flags; flags and environment override it");
    let command = Command::new("roomcast").version(env!("CARGO_PKG_VERSION")).arg(config);
    // For an update no flag is required, since each has a value already.
    Settings::augment_args_for_update(command)
        .about("A real-time room server: whatever is said in a room reaches everyone in it")
        .mut_args(|argument| argument.global(true).hide_env_values(true))
        .subcommand(Command::new(CHECK_CONFIG).about("Print the effective settings, or what is wrong with them"))
}

/// One line of what clap spreads over several.
fn refusal(error: clap::Error) -> InvocationError {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return InvocationError::Asked(error.to_string());
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let lines: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more")).collect();
    InvocationError::Arguments(lines.join("; ").trim_start_matches("error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::units::Size;
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Invocation, InvocationError> {
        Invocation::parse([&["roomcast"], arguments].concat())
    }

    #[test]
    fn without_arguments_everything_has_its_default() {
        let invocation = parse(&[]).unwrap();
        assert_eq!(invocation, Invocation { settings: Settings::default(), task: Task::Serve });
    }

    #[test]
    fn flags_override_the_file_and_the_file_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roomcast.toml");
        std::fs::write(&path, "workers = 3\nmessage-bytes = \"1KiB\"\n").unwrap();
        let settings = parse(&["--config", path.to_str().unwrap(), "--workers", "5"]).unwrap().settings;
        assert_eq!(settings, Settings { workers: 5, message_bytes: Size(1024), ..Settings::default() });
    }

    #[test]
    fn flags_may_stand_behind_check_config() {
        let invocation = parse(&["check-config", "--workers", "5"]).unwrap();
        assert_eq!((invocation.task, invocation.settings.workers), (Task::CheckConfig, 5));
        let invocation = parse(&["--workers", "5", "check-config"]).unwrap();
        assert_eq!((invocation.task, invocation.settings.workers), (Task::CheckConfig, 5));
    }

    #[test]
    fn a_wrong_flag_is_refused_in_one_line_that_says_what_would_be_right() {
        let error = parse(&["--slow-after", "soon"]).unwrap_err().to_string();
        assert_eq!(
            error,
            r#"invalid value 'soon' for '--slow-after <DURATION>': duration "soon": a number and a unit, as in 30s"#
        );
        let error = parse(&["--labels", "names"]).unwrap_err().to_string();
        assert!(error.contains("possible values: address, id") && !error.contains('\n'), "{error}");
        let error = parse(&["--wrokers", "2"]).unwrap_err().to_string();
        assert!(error.contains("--workers") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn every_setting_is_a_flag_and_a_variable_under_one_name() {
        let fields =
            toml::Table::try_from(Settings { shards: Some(1), max_clients: Some(1), ..Settings::default() }).unwrap();
        let command = command();
        for name in fields.keys() {
            let flag = command.get_arguments().find(|flag| flag.get_long() == Some(name)).expect(name);
            let variable = format!("ROOMCAST_{}", name.to_uppercase().replace('-', "_"));
            assert_eq!(flag.get_env(), Some(variable.as_ref()), "{name}");
        }
    }
}
