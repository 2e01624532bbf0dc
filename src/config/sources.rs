//! Where each setting was set, so that an error names what its reader can change.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// A setting out of its range: which, what it is, what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.text(str::to_owned))]
pub struct ConfigError {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// Other settings in braces: `at least {message-bytes}`.
    pub(super) rule: String,
}

impl ConfigError {
    /// A setting that breaks a rule which its reader learns only from the system. Other settings stand in braces.
    pub fn new(name: &'static str, value: impl fmt::Display, rule: String) -> Self {
        Self { name, value: value.to_string(), rule }
    }

    /// Adds what the range follows from.
    pub(super) fn since(mut self, reason: String) -> Self {
        self.rule += ", ";
        self.rule += &reason;
        self
    }

    /// The error with every setting under the name that `name` gives it.
    fn text(&self, name: impl Fn(&str) -> String) -> String {
        let mut text = format!("{} {}: ", name(self.name), self.value);
        for (index, part) in self.rule.split(['{', '}']).enumerate() {
            // Every other part stood in braces.
            text += &if index % 2 == 1 { name(part) } else { part.to_owned() };
        }
        text
    }
}

/// Where a setting was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// By a flag.
    Flag,
    /// By an environment variable.
    Variable,
    /// In the settings file.
    File {
        /// Which file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
}

impl Source {
    /// The setting, named as it stands there.
    pub(super) fn name(&self, setting: &str) -> String {
        match self {
            Self::Flag => format!("--{setting}"),
            Self::Variable => variable_of(setting),
            Self::File { path, line } => format!("settings file {} line {line}: {setting}", path.display()),
        }
    }
}

/// The source of each setting that is not at its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(BTreeMap<String, Source>);

impl Sources {
    pub(super) fn set(&mut self, setting: &str, source: Source) {
        self.0.insert(setting.to_owned(), source);
    }

    /// The error with its settings named by where they were set: `--workers 0: 1 to 1024`.
    pub fn explain(&self, error: &ConfigError) -> String {
        error.text(|setting| self.0.get(setting).map_or_else(|| setting.to_owned(), |source| source.name(setting)))
    }
}

/// The environment variable of a setting.
pub(super) fn variable_of(setting: &str) -> String {
    format!("ROOMCAST_{}", setting.to_uppercase().replace('-', "_"))
}

/// What people write for settings that have other names.
const OTHER_NAMES: [(&[&str], &[&str]); 3] = [
    (&["port", "listen", "bind", "host", "addr", "address"], &["tcp", "http"]),
    (&["origin", "origins", "cors"], &["allowed-origins"]),
    (&["log-level", "verbose", "level"], &["log"]),
];

/// Names as similar as this count as misspelt: `wrokers` and `workers` are 0.95, `port` and `pong-timeout` 0.75.
const SIMILARITY_MIN: f64 = 0.8;

/// The settings that were probably meant: none, or one, or alternatives.
pub(super) fn meant<'a>(wrong: &str, settings: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    if let Some((_, names)) = OTHER_NAMES.iter().find(|(others, _)| others.contains(&wrong)) {
        return names.to_vec();
    }
    let rated = settings.map(|setting| (strsim::jaro_winkler(wrong, setting), setting));
    let nearest = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    nearest.filter(|(similarity, _)| *similarity >= SIMILARITY_MIN).map(|(_, setting)| setting).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_each_setting_by_where_it_was_set() {
        let mut sources = Sources::default();
        let rule = "at least 2m, twice {ping-interval} 1m".into();
        let error = ConfigError { name: "pong-timeout", value: "30s".into(), rule };
        assert_eq!(error.to_string(), "pong-timeout 30s: at least 2m, twice ping-interval 1m");
        sources.set("ping-interval", Source::Variable);
        sources.set("pong-timeout", Source::File { path: "a.toml".into(), line: 3 });
        assert_eq!(
            sources.explain(&error),
            "settings file a.toml line 3: pong-timeout 30s: at least 2m, twice ROOMCAST_PING_INTERVAL 1m"
        );
    }

    #[test]
    fn a_misspelt_name_is_recognised_and_one_of_another_program_too() {
        let meant = |wrong| meant(wrong, ["workers", "tcp", "http", "pong-timeout", "slow", "slow-after"].into_iter());
        assert_eq!(meant("wokers"), ["workers"]);
        assert_eq!(meant("slow-afer"), ["slow-after"]);
        assert_eq!(meant("port"), ["tcp", "http"]);
        assert!(meant("colour").is_empty());
    }
}
