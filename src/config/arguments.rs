//! The command line: flags override variables, which override the settings file, which overrides the defaults. Every
//! value is parsed as a flag, one by one, so that an error names where it was set.

use std::collections::BTreeMap;
use std::env;
use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches, ValueEnum};
use thiserror::Error;

use super::file::{self, FromFile};
use super::help::{CONFIG, PROGRAM, command, settings_only};
use super::rules::RuleSettings;
use super::sources::{Entry, RuleInFile, Sources, did_you_mean, variable_of};
use super::tasks::{API_KEY_VARIABLE, Task};
use super::{LogFormat, Settings};

/// A command line that can be followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// The effective settings.
    pub settings: Settings,
    /// Where each of them was set.
    pub sources: Sources,
    /// The task to do with them.
    pub task: Task,
    /// Lines to log about what may be a mistake.
    pub warnings: Vec<String>,
}

/// A command line without a task to follow.
#[derive(Debug, Error)]
pub enum InvocationError {
    /// A text that was asked for (help, version, the page of settings): not a mistake.
    #[error("{0}")]
    Print(String),
    /// What is wrong with a flag, a variable or the settings file, and what would be right.
    #[error("{0}")]
    Wrong(String),
}

const PREFIX: &str = "ROOMCAST_";

impl Invocation {
    /// Reads the command line, the environment and the settings file that either names.
    ///
    /// # Errors
    /// One line that says what was wrong and what would be right; or the text that was asked for.
    pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, InvocationError> {
        Self::read(arguments, env::vars_os())
    }

    fn read(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, InvocationError> {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let is_short = arguments.iter().any(|argument| argument == "-h");
        let matches = command(is_short).try_get_matches_from(arguments).map_err(|error| refusal(&error, as_flag))?;
        let task = match matches.subcommand_name() {
            Some(_) => Task::from_arg_matches(&matches).map_err(|error| refusal(&error, as_flag))?,
            None => Task::Serve,
        };
        if let Some(text) = task.text() {
            return Err(InvocationError::Print(text));
        }
        let command = settings_only();
        let (mut entries, warnings) = variables_of(variables, &command);
        entries.extend(flags_of(&matches, &command));
        let config = entries.iter().rfind(|entry| entry.setting == CONFIG).map(|entry| PathBuf::from(&entry.values[0]));
        let FromFile { entries: from_file, rules } =
            config.map(|path| file::read(&path)).transpose().map_err(InvocationError::Wrong)?.unwrap_or_default();
        let mut given = BTreeMap::new();
        for entry in from_file.into_iter().chain(entries) {
            parsed::<Settings>(&command, [&entry]).map_err(|error| refusal(&error, |_| entry.source.clone()))?;
            given.insert(entry.setting.clone(), entry);
        }
        let mut settings: Settings = parsed(&command, given.values()).map_err(|error| refusal(&error, as_flag))?;
        settings.rules = rules.iter().map(rule).collect::<Result<_, _>>()?;
        for list in [
            &mut settings.allowed_origins,
            &mut settings.hosts,
            &mut settings.trusted_proxies,
            &mut settings.token_secret_file,
            &mut settings.token_public_key_file,
            &mut settings.token_jwks_file,
            &mut settings.hooks.hook_networks,
        ] {
            *list = list.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect();
        }
        settings.nats.cluster.retain(|server| !server.0.is_empty());
        let mut sources = Sources(given.into_iter().map(|(setting, entry)| (setting, entry.source)).collect());
        (1..).zip(rules).for_each(|(number, rule)| sources.add_rule(number, rule));
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

fn as_flag(setting: &str) -> String {
    format!("--{setting}")
}

/// What these entries make of the flags of a command, with defaults for all others.
fn parsed<'a, T: FromArgMatches>(
    command: &Command,
    entries: impl IntoIterator<Item = &'a Entry>,
) -> Result<T, clap::Error> {
    let flags = entries.into_iter().flat_map(|Entry { setting, values, .. }| {
        values.iter().map(move |value| {
            let mut flag = OsString::from(format!("--{setting}="));
            flag.push(value);
            flag
        })
    });
    let matches = command.clone().try_get_matches_from([PROGRAM.into()].into_iter().chain(flags))?;
    T::from_arg_matches(&matches)
}

/// The keys without which there is no rule, as they may be written.
const KEYS_OF_EACH_RULE: [(&str, &str); 2] = [("rooms", "rooms = \"team:*\""), ("join", "join = \"token\"")];

/// A rule of the settings file, whose keys are parsed like flags too.
fn rule(RuleInFile { source, entries }: &RuleInFile) -> Result<RuleSettings, InvocationError> {
    let entry = |key: &str| entries.iter().find(|entry| entry.setting == key);
    if let Some((key, example)) = KEYS_OF_EACH_RULE.iter().find(|(key, _)| entry(key).is_none()) {
        return Err(InvocationError::Wrong(format!("{source}: needs {key}, as in {example}")));
    }
    let source_of = |key: &str| entry(key).map_or(source, |entry| &entry.source).clone();
    parsed(&Command::new(PROGRAM).args(RuleSettings::arguments()), entries).map_err(|error| refusal(&error, source_of))
}

fn flags_of(matches: &ArgMatches, command: &Command) -> Vec<Entry> {
    let entry = |flag: &Arg| {
        let (id, setting) = (flag.get_id().as_str(), flag.get_long()?);
        let is_given = matches.value_source(id) == Some(ValueSource::CommandLine);
        let values = matches.get_raw(id).filter(|_| is_given)?.map(ToOwned::to_owned).collect();
        Some(Entry { setting: setting.to_owned(), values, source: as_flag(setting) })
    };
    command.get_arguments().filter_map(entry).collect()
}

/// The settings that variables give, and a line for each variable that looks like a setting and is none. An empty
/// variable counts as unset.
fn variables_of(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    command: &Command,
) -> (Vec<Entry>, Vec<String>) {
    let settings: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
    let (mut entries, mut warnings) = (Vec::new(), Vec::new());
    // In one order, whatever the system's is.
    for (name, value) in variables.into_iter().collect::<BTreeMap<_, _>>() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        match settings.iter().find(|setting| variable_of(setting) == name) {
            Some(_) if value.is_empty() => {}
            Some(&setting) => {
                entries.push(Entry { setting: setting.to_owned(), values: vec![value], source: name.to_owned() });
            }
            None if is_of_others(name, &value) => {}
            None => warnings.push(unknown_variable(name, &settings)),
        }
    }
    (entries, warnings)
}

/// Whether a variable is not meant as a setting: the fault that a test puts in, and what Kubernetes and Docker set for
/// a service of this name.
fn is_of_others(name: &str, value: &OsString) -> bool {
    let is_fault = cfg!(debug_assertions) && name == "ROOMCAST_FAULT";
    let is_address = name == "ROOMCAST_PORT" && value.to_str().is_some_and(|value| value.contains("://"));
    is_fault
        || is_address
        || name == API_KEY_VARIABLE
        || ["ROOMCAST_SERVICE_", "ROOMCAST_PORT_"].iter().any(|prefix| name.starts_with(prefix))
}

fn unknown_variable(name: &str, settings: &[&str]) -> String {
    let as_setting = name[PREFIX.len()..].to_lowercase().replace('_', "-");
    let meant = did_you_mean(&as_setting, settings.iter().copied(), variable_of);
    let question = meant.map_or(String::new(), |question| format!(": {question}"));
    format!("the variable {name} is no setting and does nothing{question}")
}

/// One line of what clap spreads over several. `source` names a setting as it was given.
fn refusal(error: &clap::Error, source: impl FnOnce(&str) -> String) -> InvocationError {
    let told = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return InvocationError::Print(error.to_string()),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => wrong_value(error, source),
        ErrorKind::UnknownArgument => unknown_flag(error),
        ErrorKind::InvalidSubcommand => misplaced_value(error),
        _ => None,
    };
    InvocationError::Wrong(told.unwrap_or_else(|| {
        let text = error.to_string();
        let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
        let lines: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more")).collect();
        lines.join("; ").trim_start_matches("error: ").to_owned()
    }))
}

/// A value that its setting cannot have: where it was set, the value, the rule.
fn wrong_value(error: &clap::Error, source: impl FnOnce(&str) -> String) -> Option<String> {
    // As in `--workers <COUNT>`.
    let ContextValue::String(flag) = error.get(ContextKind::InvalidArg)? else { return None };
    let setting = flag.trim_start_matches('-').split([' ', '=', '[']).next()?;
    let ContextValue::String(value) = error.get(ContextKind::InvalidValue)? else { return None };
    let source = source(setting);
    // clap itself says best that a flag lacks its value.
    if value.is_empty() && error.kind() == ErrorKind::InvalidValue && source == as_flag(setting) {
        return None;
    }
    let rule = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => format!("one of {}", values.join(", ")),
        // The parsers of numbers speak of Rust's types.
        _ if flag.ends_with("<COUNT>") => {
            let said = error.source()?.to_string();
            let range = said.split_once(" is not in ").map(|(_, range)| range.replace("..=", " to "));
            range.map_or_else(|| "a whole number".to_owned(), |range| format!("a whole number, {range}"))
        }
        _ => error.source()?.to_string(),
    };
    Some(format!("{source} {value:?}: {rule}"))
}

fn unknown_flag(error: &clap::Error) -> Option<String> {
    let ContextValue::String(flag) = error.get(ContextKind::InvalidArg)? else { return None };
    if flag.strip_prefix('-').is_some_and(|rest| rest.starts_with(|character: char| character.is_ascii_digit())) {
        return Some(format!("{flag}: no setting has a negative value"));
    }
    let command = command(false);
    let commands = [&command].into_iter().chain(command.get_subcommands());
    let flags = commands.flat_map(|command| command.get_arguments().filter_map(Arg::get_long));
    let meant = did_you_mean(flag.strip_prefix("--")?, flags, as_flag);
    Some(format!("no flag {flag}: {}", meant.unwrap_or_else(|| "see --help".to_owned())))
}

/// What is said of a value that stands where a task would. A URL may hold a password, so it is not repeated.
fn misplaced_value(error: &clap::Error) -> Option<String> {
    let ContextValue::String(word) = error.get(ContextKind::InvalidSubcommand)? else { return None };
    match word.as_str() {
        "true" | "false" => Some(format!("no task {word}: flags that switch something on take no value")),
        url if url.contains("://") => {
            Some("a URL belongs behind a flag, and commas without blanks separate several".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Invocation {
        Invocation::read([&["roomcast"], arguments].concat(), []).unwrap()
    }

    #[test]
    fn flags_may_stand_before_and_behind_check_config() {
        for arguments in [["check-config", "--workers", "5"], ["--workers", "5", "check-config"]] {
            let invocation = parse(&arguments);
            let task = Task::CheckConfig { explain: None, token: None };
            assert_eq!((invocation.task, invocation.settings.workers), (task, 5));
        }
    }

    #[test]
    fn lists_are_trimmed_wherever_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roomcast.toml");
        let listed = ["https://a.example", "https://b.example"];
        for text in ["['https://a.example ', ' https://b.example']", "'https://a.example, https://b.example'"] {
            std::fs::write(&path, format!("allowed-origins = {text}\n")).unwrap();
            assert_eq!(parse(&["--config", path.to_str().unwrap()]).settings.allowed_origins, listed);
        }
        let list = "https://a.example, https://b.example,";
        assert_eq!(parse(&["--allowed-origins", list]).settings.allowed_origins, listed);
        let variable = [("ROOMCAST_ALLOWED_ORIGINS".into(), list.into())];
        assert_eq!(Invocation::read(["roomcast"], variable).unwrap().settings.allowed_origins, listed);
    }

    #[test]
    fn printed_settings_can_be_read_back() {
        let settings = Settings { shards: Some(3), ready_file: Some("ready".into()), ..Settings::default() };
        let text = toml::to_string(&settings).unwrap();
        assert!(text.contains("message-bytes = \"64KiB\"\n"), "{text}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, &text).unwrap();
        assert_eq!(parse(&["--config", file.path().to_str().unwrap()]).settings, settings);
    }
}
