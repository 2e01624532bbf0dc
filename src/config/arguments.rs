//! The command line: flags over environment over settings file over defaults. All of them are parsed as flags, one by one, so
//! that an error names what was set where.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueEnum, value_parser};
use thiserror::Error;

use super::LogFormat;
use super::file::{self, Entry, FileError, Kind};
use super::lists::trimmed;
use super::settings::Settings;
use super::sources::{Source, Sources, meant, variable_of};

/// What the program was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// With which settings.
    pub settings: Settings,
    /// Where they were set.
    pub sources: Sources,
    /// What.
    pub task: Task,
    /// What may be a mistake but is none that the settings show.
    pub warnings: Vec<String>,
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
    RequestSummary(String),
    /// A flag or a variable that is wrong.
    #[error("{0}")]
    Arguments(String),
    /// A settings file that is wrong.
    #[error(transparent)]
    File(#[from] FileError),
}

const PROGRAM: &str = "roomcast";
const CHECK_CONFIG: &str = "check-config";
const CONFIG: &str = "config";
const PREFIX: &str = "ROOMCAST_";

impl Invocation {
    /// Reads the command line, the environment and the settings file that either names.
    ///
    /// # Errors
    /// One line that says what was wrong and what would be right; or the help, where that was asked for.
    pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, InvocationError> {
        Self::read(arguments, env::vars_os())
    }

    fn read(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, InvocationError> {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        // Variables are read below; with them clap would not say whether a flag or a variable was wrong. Its help names them.
        let parser = command().mut_args(|argument| argument.env(None::<&str>));
        let mut matches = parser.clone().try_get_matches_from(&arguments).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp => refusal(command().try_get_matches_from(&arguments).err().unwrap_or(error)),
            _ => refusal(error),
        })?;
        let task = if matches.subcommand_name() == Some(CHECK_CONFIG) { Task::CheckConfig } else { Task::Serve };
        let flags: Vec<&Arg> = parser.get_arguments().collect();
        let Variables { set, warnings } = Variables::of(variables, &flags);
        let config = set.iter().find(|(setting, _)| setting == CONFIG).map(|(_, path)| PathBuf::from(path));
        let mut reading = Reading { parser: &parser, settings: Settings::default(), sources: Sources::default() };
        if let Some(path) = matches.remove_one::<PathBuf>(CONFIG).or(config) {
            // What the command line and the file can both say.
            let flags: Vec<&Arg> = flags.iter().copied().filter(|flag| flag.get_id() != CONFIG).collect();
            for Entry { setting, values, source } in file::read(&path, &flags)? {
                reading.apply(&setting, values.into_iter().map(Into::into), source)?;
            }
        }
        for (setting, value) in set.into_iter().filter(|(setting, _)| setting != CONFIG) {
            reading.apply(&setting, [value].into_iter(), Source::Variable)?;
        }
        let Reading { mut settings, mut sources, .. } = reading;
        let given = |flag: &&&Arg| is_given(&matches, flag);
        flags.iter().filter(given).filter_map(|flag| flag.get_long()).for_each(|name| sources.set(name, Source::Flag));
        settings.update_from_arg_matches_mut(&mut matches).map_err(refusal)?;
        for list in [&mut settings.allowed_origins, &mut settings.hosts, &mut settings.trusted_proxies] {
            *list = trimmed(list).map(str::to_owned).collect();
        }
        Ok(Self { settings, sources, task, warnings })
    }
}

/// The format in which to report that a command line is wrong, as far as it can be told from a wrong one.
pub fn log_format(arguments: impl IntoIterator<Item = OsString>) -> LogFormat {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let in_two = arguments.windows(2).filter(|pair| pair[0] == "--log-format").map(|pair| pair[1].to_str());
    let in_one = arguments.iter().map(|argument| argument.to_str()?.strip_prefix("--log-format="));
    let flag = in_two.chain(in_one).flatten().next().map(str::to_owned);
    let named = flag.or_else(|| env::var(variable_of("log-format")).ok());
    named.and_then(|name| LogFormat::from_str(&name, false).ok()).unwrap_or(LogFormat::Text)
}

/// The settings so far.
struct Reading<'a> {
    parser: &'a Command,
    settings: Settings,
    sources: Sources,
}

impl Reading<'_> {
    /// Sets one setting to what these texts say as flags.
    fn apply(
        &mut self,
        setting: &str,
        values: impl Iterator<Item = OsString>,
        source: Source,
    ) -> Result<(), InvocationError> {
        let flag = |value: OsString| {
            let mut flag = OsString::from(format!("--{setting}="));
            flag.push(value);
            flag
        };
        let arguments = std::iter::once(PROGRAM.into()).chain(values.map(flag));
        let matches = self.parser.clone().try_get_matches_from(arguments);
        let updated = matches.and_then(|mut matches| self.settings.update_from_arg_matches_mut(&mut matches));
        updated.map_err(|error| {
            let text = refused_value(&error, |setting| source.name(setting));
            text.map_or_else(|| refusal(error), InvocationError::Arguments)
        })?;
        self.sources.set(setting, source);
        Ok(())
    }
}

/// What the environment says.
struct Variables {
    /// Settings and their texts. An empty variable counts as unset.
    set: Vec<(String, OsString)>,
    /// One line for each variable that looks like a setting and is none.
    warnings: Vec<String>,
}

impl Variables {
    fn of(variables: impl IntoIterator<Item = (OsString, OsString)>, flags: &[&Arg]) -> Self {
        let settings: Vec<&str> = flags.iter().filter_map(|flag| flag.get_long()).collect();
        let (mut set, mut warnings) = (Vec::new(), Vec::new());
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            match settings.iter().find(|setting| variable_of(setting) == name) {
                Some(_) if value.is_empty() => {}
                Some(setting) => set.push(((*setting).to_owned(), value)),
                None if is_of_others(name, &value) => {}
                None => warnings.push(no_variable(name, &settings)),
            }
        }
        // In the same order whatever the system's.
        set.sort();
        warnings.sort();
        Self { set, warnings }
    }
}

/// Whether a variable is no attempt at a setting: the fault that a test puts in, and what Kubernetes and Docker set for a
/// service of this name.
fn is_of_others(name: &str, value: &OsString) -> bool {
    let is_fault = cfg!(debug_assertions) && name == "ROOMCAST_FAULT";
    let is_address = name == "ROOMCAST_PORT" && value.to_str().is_some_and(|value| value.contains("://"));
    is_fault || is_address || ["ROOMCAST_SERVICE_", "ROOMCAST_PORT_"].iter().any(|prefix| name.starts_with(prefix))
}

fn no_variable(name: &str, settings: &[&str]) -> String {
    let as_setting = name[PREFIX.len()..].to_lowercase().replace('_', "-");
    let meant: Vec<String> = meant(&as_setting, settings.iter().copied()).into_iter().map(variable_of).collect();
    let question = if meant.is_empty() { String::new() } else { format!(": did you mean {}?", meant.join(" or ")) };
    format!("the variable {name} is no setting and does nothing{question}")
}

fn is_given(matches: &ArgMatches, flag: &Arg) -> bool {
    // A subcommand's matches hold it as well; help and version have none.
    let source = matches.try_contains_id(flag.get_id().as_str()).is_ok_and(|is_there| is_there);
    source && matches.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine)
}

fn command() -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .env("ROOMCAST_CONFIG")
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .help("A TOML file of settings, under the names of the flags; flags and environment override it");
    let command = Command::new(PROGRAM).version(env!("CARGO_PKG_VERSION")).arg(config);
    // For an update no flag is required, since each has a value already.
    Settings::augment_args_for_update(command)
        .about("A real-time room server: whatever is said in a room reaches everyone in it")
        .mut_args(|argument| argument.global(true).hide_env_values(true).allow_negative_numbers(true))
        .subcommand(Command::new(CHECK_CONFIG).about("Print the effective settings, or what is wrong with them"))
}

/// One line of what clap spreads over several.
fn refusal(error: clap::Error) -> InvocationError {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return InvocationError::RequestSummary(error.to_string());
    }
    if let Some(text) = refused_value(&error, |setting| Source::Flag.name(setting)).or_else(|| no_flag(&error)) {
        return InvocationError::Arguments(text);
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let lines: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more")).collect();
    InvocationError::Arguments(lines.join("; ").trim_start_matches("error: ").to_owned())
}

/// A value that is none of its setting: where it was set, the value, the rule.
fn refused_value(error: &clap::Error, name: impl FnOnce(&str) -> String) -> Option<String> {
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return None;
    }
    let ContextValue::String(flag) = error.get(ContextKind::InvalidArg)? else { return None };
    let setting = flag.trim_start_matches('-').split([' ', '=', '[']).next()?;
    let ContextValue::String(value) = error.get(ContextKind::InvalidValue)? else { return None };
    // A flag without a value at all is told by clap.
    if value.is_empty() && error.kind() == ErrorKind::InvalidValue {
        return None;
    }
    let rule = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => format!("one of {}", values.join(", ")),
        _ => rule_of(setting, error)?,
    };
    Some(format!("{} {value:?}: {rule}", name(setting)))
}

/// What the parser of the value said. Those of numbers speak of Rust's.
fn rule_of(setting: &str, error: &clap::Error) -> Option<String> {
    let said = std::error::Error::source(error)?.to_string();
    let command = command();
    let flag = command.get_arguments().find(|flag| flag.get_long() == Some(setting))?;
    if Kind::of(flag) != Kind::Counter {
        return Some(said);
    }
    let range = said.split_once(" is not in ").map(|(_, range)| range.replace("..=", " to "));
    Some(range.map_or_else(|| "a whole number".to_owned(), |range| format!("a whole number, {range}")))
}

fn no_flag(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let ContextValue::String(flag) = error.get(ContextKind::InvalidArg)? else { return None };
    let wrong = flag.strip_prefix("--")?;
    let command = command();
    let meant = meant(wrong, command.get_arguments().filter_map(Arg::get_long));
    let meant: Vec<String> = meant.into_iter().map(|setting| format!("--{setting}")).collect();
    let hint = if meant.is_empty() { "see --help".to_owned() } else { format!("did you mean {}?", meant.join(" or ")) };
    Some(format!("no flag {flag}: {hint}"))
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
        assert_eq!((invocation.settings, invocation.task), (Settings::default(), Task::Serve));
        assert_eq!((invocation.sources, invocation.warnings), (Sources::default(), vec![]));
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
    fn lists_are_trimmed_wherever_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roomcast.toml");
        let listed = ["https://a.example", "https://b.example"];
        std::fs::write(&path, "allowed-origins = ['https://a.example ', ' https://b.example']\n").unwrap();
        let origins = |invocation: Result<Invocation, InvocationError>| invocation.unwrap().settings.allowed_origins;
        assert_eq!(origins(parse(&["--config", path.to_str().unwrap()])), listed);
        std::fs::write(&path, "allowed-origins = 'https://a.example, https://b.example'\n").unwrap();
        assert_eq!(origins(parse(&["--config", path.to_str().unwrap()])), listed);
        let list = "https://a.example, https://b.example,";
        assert_eq!(origins(parse(&["--allowed-origins", list])), listed);
        let variable = [("ROOMCAST_ALLOWED_ORIGINS".into(), list.into())];
        assert_eq!(origins(Invocation::read(["roomcast"], variable)), listed);
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
