//! The settings file that `roomcast default-config` prints: every setting with its help, commented out at its default, and
//! a rule. Prose stands behind `##`, settings behind `#`.

use std::fmt::Write;

use clap::Arg;

use super::help::{default, name, texts, values, wrap};
use super::{RuleSettings, Settings};

/// What is put in for settings without a default, or whose default depends on the machine, and for the keys of a rule.
const EXAMPLES: [(&str, &str); 33] = [
    ("allowed-origins", r#"["https://example.org"]"#),
    ("api-keys-file", r#""/etc/roomcast/api.keys""#),
    ("cluster", r#"["nats://10.0.0.1:4222", "nats://10.0.0.2:4222"]"#),
    ("cluster-ca", r#""/etc/roomcast/nats-ca.pem""#),
    ("cluster-certificate", r#""/etc/roomcast/nats-client.pem""#),
    ("cluster-key", r#""/etc/roomcast/nats-client.key""#),
    ("cluster-replicas", "3"),
    ("hook-networks", r#"["127.0.0.1", "10.1.0.0/16"]"#),
    ("hook-secret-file", r#""/etc/roomcast/hook.key""#),
    ("hook-url", r#""https://app.example/hook""#),
    ("hosts", r#"["chat.example"]"#),
    ("max-clients", "20000"),
    ("ready-file", r#""/run/roomcast/ready""#),
    ("shards", "4"),
    ("tls-cert", r#""/etc/roomcast/chat.example.pem""#),
    ("tls-key", r#""/etc/roomcast/chat.example.key""#),
    ("token-audience", r#""chat""#),
    ("token-issuer", r#""https://app.example""#),
    ("token-jwks-file", r#"["/etc/roomcast/jwks.json"]"#),
    ("token-public-key-file", r#"["/etc/roomcast/issuer.pem"]"#),
    ("token-secret-file", r#"["/etc/roomcast/tokens.key"]"#),
    ("trusted-proxies", r#"["10.0.0.0/8"]"#),
    ("workers", "4"),
    ("rule.name", r#""team rooms""#),
    ("rule.rooms", r#""team:*""#),
    ("rule.join", r#""token""#),
    ("rule.publish", r#""member""#),
    ("rule.history", r#""token""#),
    ("rule.presence", r#""token""#),
    ("rule.room-members", "500"),
    ("rule.history-messages", "1000"),
    ("rule.history-age", r#""1h""#),
    ("rule.presence-events", "true"),
];

const INTRODUCTION: &str = "\
Settings of Roomcast, as `roomcast default-config` prints them: each with its default, or with an example.

A line behind one # is a setting. To change it, take away the # and the blank. A variable of the environment overrides \
it (ROOMCAST_PING_INTERVAL), and so does a flag (--ping-interval). `roomcast check-config --config FILE` prints what \
applies, or one line that says what is wrong.";

const RULES: &str = "\
Who may do what in which rooms, and the limits of these rooms. The first rule whose pattern is that of a room applies \
to it, so special rules stand first. Where no rule applies, and without any, see docs/security.md.";

/// The lines fit a terminal.
const WIDTH: usize = 100;

/// The whole file.
pub(super) fn default_file() -> String {
    let mut file = String::new();
    prose(&mut file, INTRODUCTION);
    file.push('\n');
    let settings = Settings::arguments();
    for group in settings.chunk_by(|one, other| one.get_help_heading() == other.get_help_heading()) {
        title(&mut file, group[0].get_help_heading().unwrap_or_default());
        for setting in group {
            let (summary, details) = texts(setting);
            let paragraphs: Vec<String> =
                [summary].into_iter().chain(details).chain(values(setting, "")).map(|text| text + "\n\n").collect();
            prose(&mut file, &paragraphs.concat());
            let (value, is_default) = value(setting);
            if !is_default {
                prose(&mut file, &format!("Default: {}. An example:", default(setting, "")));
            }
            let _ = writeln!(file, "# {} = {value}\n", name(setting));
        }
    }
    title(&mut file, "Rules");
    rule(&mut file);
    file
}

/// An example of a rule.
fn rule(file: &mut String) {
    prose(file, RULES);
    who_texts("").for_each(|who| prose(file, &who));
    file.push('\n');
    *file += "# [[rule]]\n";
    for key in RuleSettings::arguments() {
        prose(file, &texts(&key).0);
        let _ = writeln!(file, "# {} = {}", name(&key), value_in_rule(&key));
    }
}

fn title(file: &mut String, title: &str) {
    let _ = writeln!(file, "## {title}\n## {}\n", "=".repeat(title.len()));
}

/// Appends paragraphs behind `##`.
fn prose(file: &mut String, paragraphs: &str) {
    for paragraph in paragraphs.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        wrap(file, paragraph, "## ", WIDTH);
        // Directly above what comes next.
        file.pop();
    }
}

/// The value of a setting in the file, and whether it is the default of every machine.
pub(super) fn value(setting: &Arg) -> (String, bool) {
    if let Some(example) = example(name(setting)) {
        return (example.to_owned(), false);
    }
    let default = setting.get_default_values().first().and_then(|value| value.to_str()).unwrap_or_default();
    let is_bare =
        setting.get_value_names().is_some_and(|names| names.iter().any(|name| name == "COUNT" || name == "BOOL"));
    (if is_bare { default.to_owned() } else { toml::Value::from(default).to_string() }, true)
}

/// What is said of each of those who may have a right by a rule.
pub(super) fn who_texts(quote: &str) -> impl Iterator<Item = String> {
    let join = RuleSettings::arguments().into_iter().find(|key| name(key) == "join");
    join.map(|join| values(&join, quote)).into_iter().flatten()
}

/// An example of the value of a rule's key.
pub(super) fn value_in_rule(key: &Arg) -> &'static str {
    example(&format!("rule.{}", name(key))).unwrap_or_default()
}

fn example(name: &str) -> Option<&'static str> {
    EXAMPLES.iter().find(|(other, _)| *other == name).map(|(_, example)| *example)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{Config, Invocation};

    /// The settings of a file.
    fn read(text: &str) -> Settings {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Invocation::parse(["roomcast", "--config", file.path().to_str().unwrap()]).unwrap().settings
    }

    /// The file with the settings of which this is true, by the line in front of them.
    fn uncommented(file: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        let mut before = "";
        let mut text = String::new();
        for line in file.lines() {
            let setting = line.strip_prefix("# ").filter(|_| is_wanted(before));
            text += &format!("{}\n", setting.unwrap_or(line));
            before = line;
        }
        text
    }

    #[test]
    fn every_example_is_of_a_setting_and_every_setting_without_a_default_has_one() {
        let (settings, keys) = (Settings::arguments(), RuleSettings::arguments());
        let names = settings.iter().map(|setting| name(setting).to_owned());
        let names: Vec<String> = names.chain(keys.iter().map(|key| format!("rule.{}", name(key)))).collect();
        let unknown: Vec<&str> =
            EXAMPLES.iter().map(|(name, _)| *name).filter(|name| !names.iter().any(|other| other == name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(settings.iter().all(|setting| !value(setting).0.is_empty()));
        assert!(keys.iter().all(|key| !value_in_rule(key).is_empty()));
    }

    #[test]
    fn the_file_changes_nothing_as_it_is_nor_with_every_default_uncommented() {
        let file = default_file();
        assert_eq!(read(&file), Settings::default());
        let (settings, _) = file.split_once("# [[rule]]").unwrap();
        let text = uncommented(settings, |before| !before.ends_with("An example:"));
        let defaults = Settings::arguments().iter().filter(|setting| value(setting).1).count();
        assert_eq!(toml::from_str::<toml::Table>(&text).unwrap().len(), defaults);
        assert_eq!(read(&text), Settings::default());
    }

    #[test]
    fn every_example_has_the_type_of_its_setting_and_the_rule_has_every_key() {
        let settings = read(&uncommented(&default_file(), |_| true));
        assert_eq!((settings.workers, settings.allowed_origins.len(), settings.nats.cluster.len()), (4, 1, 2));
        let rule = toml::Table::try_from(&settings.rules[0]).unwrap();
        assert_eq!(rule.len(), RuleSettings::arguments().len());
        let alone = Settings { rules: settings.rules, token_secret_file: vec!["a.key".into()], ..Settings::default() };
        Config::try_from(alone).unwrap();
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let file = default_file();
        assert_eq!(file.lines().find(|line| line.chars().count() > WIDTH), None);
    }
}
