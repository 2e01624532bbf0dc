//! Where each setting was set, so that an error names what its reader can change.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use thiserror::Error;

/// A setting that breaks its rule: its name, its value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.text(self.name, str::to_owned))]
pub struct ConfigError {
    name: &'static str,
    /// The number of the rule of rooms to which the setting belongs.
    of_rule: Option<usize>,
    value: String,
    /// Other settings stand in braces: `at least {message-bytes}`.
    rule: String,
}

impl ConfigError {
    /// A setting that breaks this rule. Other settings stand in braces.
    pub fn new(name: &'static str, value: impl fmt::Display, rule: impl Into<String>) -> Self {
        Self { name, of_rule: None, value: value.to_string(), rule: rule.into() }
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

    /// The same error of a rule of rooms, by its number from 1.
    pub fn of_rule(self, number: usize) -> Self {
        Self { of_rule: Some(number), ..self }
    }

    /// The error with its setting under the name `own`, and every other under the name that `name` gives it.
    fn text(&self, own: &str, name: impl Fn(&str) -> String) -> String {
        let mut text = format!("{own} {}: ", self.value);
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

/// The key of the rules of rooms in the settings file, which is no flag.
pub(super) const RULE: &str = "rule";

/// A rule as the settings file gives it.
#[derive(Clone, Debug)]
pub(super) struct RuleInFile {
    /// The rule as it is named there: `settings file a.toml line 3: rule`.
    pub(super) source: String,
    /// Its keys.
    pub(super) entries: Vec<Entry>,
}

/// How each setting that is not at its default is named where it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(pub(super) BTreeMap<String, String>);

impl Sources {
    /// The error with its settings named by where they were set: `--workers 0: 1 to 1024`.
    pub fn explain(&self, error: &ConfigError) -> String {
        let own = match error.of_rule {
            Some(number) => self.0.get(&key_of_rule(number, error.name)),
            None => self.0.get(error.name),
        };
        let name = |setting: &str| self.0.get(setting).map_or(setting, String::as_str).to_owned();
        error.text(own.map_or(error.name, String::as_str), name)
    }

    /// Adds where a rule, by its number from 1, and each of its keys was set.
    pub(super) fn add_rule(&mut self, number: usize, RuleInFile { source, entries }: RuleInFile) {
        self.0.insert(key_of_rule(number, RULE), source);
        let keys = entries.into_iter().map(|entry| (key_of_rule(number, &entry.setting), entry.source));
        self.0.extend(keys);
    }
}

/// What stands for a key of a rule among the settings, or for the rule itself.
fn key_of_rule(number: usize, key: &str) -> String {
    format!("{RULE} {number} {key}")
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
    fn an_error_of_a_rule_names_the_line_of_its_own_key_or_of_the_rule() {
        let named = |setting: &str, line: usize| (setting.to_owned(), format!("a.toml line {line}: {setting}"));
        let mut sources = Sources([named("history-age", 1)].into());
        let (setting, source) = named("history-age", 4);
        let entries = vec![Entry { setting, values: Vec::new(), source }];
        sources.add_rule(2, RuleInFile { source: named(RULE, 3).1, entries });
        let explained = |setting, of_rule| {
            let error = ConfigError::new(setting, "1ms", "1s to 1day");
            sources.explain(&if of_rule { error.of_rule(2) } else { error })
        };
        assert_eq!(explained("history-age", true), "a.toml line 4: history-age 1ms: 1s to 1day");
        assert_eq!(explained("history-age", false), "a.toml line 1: history-age 1ms: 1s to 1day");
        assert_eq!(explained(RULE, true), "a.toml line 3: rule 1ms: 1s to 1day");
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
