//! Where each setting was set, so that an error names what its reader can change.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use thiserror::Error;

/// A setting that breaks its rule: its name, its value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.text(str::to_owned))]
pub struct ConfigError {
    name: &'static str,
    value: String,
    /// Other settings stand in braces: `at least {message-bytes}`.
    rule: String,
}

impl ConfigError {
    /// A setting that breaks this rule. Other settings stand in braces.
    pub fn new(name: &'static str, value: impl fmt::Display, rule: impl Into<String>) -> Self {
        Self { name, value: value.to_string(), rule: rule.into() }
    }

    /// A setting with a rule in the words of others, in which braces do not stand for a setting.
    pub fn verbatim(name: &'static str, value: impl fmt::Display, rule: impl fmt::Display) -> Self {
        Self::new(name, value, rule.to_string().replace(['{', '}'], "…"))
    }

    /// Adds what the rule follows from.
    pub(super) fn because(mut self, reason: &str) -> Self {
        self.rule += ", ";
        self.rule += reason;
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

/// One setting as a flag, a variable or a line of the settings file gives it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) setting: String,
    /// One text, or those of a list.
    pub(super) values: Vec<OsString>,
    /// The setting as it is named there: `--workers`, `ROOMCAST_WORKERS`, `settings file a.toml line 3: workers`.
    pub(super) source: String,
}

/// How each setting that is not at its default is named where it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(pub(super) BTreeMap<String, String>);

impl Sources {
    /// The error with its settings named by where they were set: `--workers 0: 1 to 1024`.
    pub fn explain(&self, error: &ConfigError) -> String {
        error.text(|setting| self.0.get(setting).map_or(setting, String::as_str).to_owned())
    }
}

/// The environment variable of a setting.
pub(super) fn variable_of(setting: &str) -> String {
    format!("ROOMCAST_{}", setting.to_uppercase().replace('-', "_"))
}

/// Words of other programs, and our settings for the same.
const OTHER_NAMES: [(&[&str], &[&str]); 3] = [
    (&["port", "listen", "bind", "host", "addr", "address"], &["tcp", "http"]),
    (&["origin", "origins", "cors"], &["allowed-origins"]),
    (&["log-level", "verbose", "level"], &["log"]),
];

/// Names as similar as this count as misspelt: `wrokers` and `workers` are 0.95, `port` and `pong-timeout` 0.75.
const SIMILARITY_MIN: f64 = 0.8;

/// `did you mean --tcp or --http?`, with the settings that a wrong name probably stands for, each as `shown`.
pub(super) fn did_you_mean<'a>(
    wrong: &str,
    settings: impl Iterator<Item = &'a str>,
    shown: impl Fn(&str) -> String,
) -> Option<String> {
    // As variables and other programs write it.
    let wrong = wrong.to_lowercase().replace('_', "-");
    let wrong = &*wrong;
    let names = OTHER_NAMES.iter().find(|(others, _)| others.contains(&wrong)).map(|(_, names)| names.to_vec());
    let names = names.or_else(|| {
        let rated = settings.map(|setting| (strsim::jaro_winkler(wrong, setting), setting));
        let (similarity, nearest) = rated.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
        (similarity >= SIMILARITY_MIN).then(|| vec![nearest])
    })?;
    let names: Vec<String> = names.into_iter().map(shown).collect();
    Some(format!("did you mean {}?", names.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_each_setting_by_where_it_was_set() {
        let error = ConfigError::new("pong-timeout", "30s", "at least 2m, twice {ping-interval} 1m");
        assert_eq!(error.to_string(), "pong-timeout 30s: at least 2m, twice ping-interval 1m");
        let sources = [("ping-interval", "ROOMCAST_PING_INTERVAL"), ("pong-timeout", "a.toml line 3: pong-timeout")];
        let sources = Sources(sources.map(|(setting, source)| (setting.into(), source.into())).into());
        let explained = "a.toml line 3: pong-timeout 30s: at least 2m, twice ROOMCAST_PING_INTERVAL 1m";
        assert_eq!(sources.explain(&error), explained);
    }

    #[test]
    fn a_misspelt_name_is_recognised_and_a_word_of_another_program_too() {
        let settings = ["workers", "tcp", "http", "pong-timeout", "slow", "slow-after"];
        let meant = |wrong| did_you_mean(wrong, settings.into_iter(), str::to_owned);
        assert_eq!(meant("wokers").unwrap(), "did you mean workers?");
        assert_eq!(meant("slow-afer").unwrap(), "did you mean slow-after?");
        assert_eq!(meant("PONG_TIMEOUT").unwrap(), "did you mean pong-timeout?");
        assert_eq!(meant("port").unwrap(), "did you mean tcp or http?");
        assert_eq!(meant("colour"), None);
    }
}
