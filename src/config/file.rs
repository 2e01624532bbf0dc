//! The settings file: TOML, every value under the name of its flag. Read into texts that are then parsed like flags.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use super::rules::RuleSettings;
use super::sources::{Entry, did_you_mean};

/// What a settings file holds.
#[derive(Default)]
pub(super) struct FromFile {
    /// The settings that are flags as well.
    pub(super) entries: Vec<Entry>,
    pub(super) rules: Vec<RuleSettings>,
}

/// The key of the rules in the file, which is no flag.
const RULE: &str = "rule";

/// The rules alone, of a file that is parsed for its other settings as well.
#[derive(Deserialize)]
struct OnlyRules {
    #[serde(default)]
    rule: Vec<RuleSettings>,
}

/// Reads a settings file. Entries come in the order of the file, so that of several errors the first is told.
///
/// # Errors
/// The file cannot be read, is not TOML, or has a name or a value that is none of a setting. The text says what would
/// be right.
pub(super) fn read(path: &Path) -> Result<FromFile, String> {
    let file = path.display();
    let cannot = |error: &dyn Display| format!("cannot read settings file {file}: {error}");
    // A reload would wait for the next writer of a pipe, or find it empty.
    if !path.metadata().map_err(|error| cannot(&error))?.is_file() {
        return Err(cannot(&"it is no file"));
    }
    let text = fs::read_to_string(path).map_err(|error| cannot(&error))?;
    let located = |offset: usize, what: &str| {
        let line = text[..offset].matches('\n').count() + 1;
        format!("settings file {file} line {line}: {what}")
    };
    let refused = |error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        located(offset, &error.message().replace('\n', "; "))
    };
    let table = DeTable::parse(&text).map_err(refused)?;
    if let Some((offset, key)) = unknown_key_of_rule(table.as_ref()) {
        return Err(located(offset, &key));
    }
    let OnlyRules { rule: rules } = toml::from_str(&text).map_err(refused)?;
    let settings = table.as_ref().iter().filter(|(key, _)| key.as_ref() != RULE);
    let mut pairs: Vec<_> = settings.map(|(key, value)| (key.span().start, key, value)).collect();
    pairs.sort_by_key(|(offset, ..)| *offset);
    let flags = Settings::arguments();
    let entry = |(offset, key, value): (usize, &Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        let setting = key.as_ref().to_string();
        let values = flag_texts(&setting, value.as_ref(), &flags).map_err(|what| located(offset, &what))?;
        Ok(Entry { source: located(offset, &setting), setting, values })
    };
    Ok(FromFile { entries: pairs.into_iter().map(entry).collect::<Result<_, String>>()?, rules })
}

/// The place of the first key of a rule that is none, and what is said of it.
fn unknown_key_of_rule(table: &DeTable<'_>) -> Option<(usize, String)> {
    let rules = table.get(RULE)?.as_ref().as_array()?;
    let keys = RuleSettings::arguments();
    let keys: Vec<&str> = keys.iter().filter_map(Arg::get_long).collect();
    let found = rules.iter().filter_map(|rule| rule.as_ref().as_table()).flat_map(|rule| rule.iter());
    let found = found.map(|(key, _)| (key.span().start, &**key.get_ref()));
    let (offset, unknown) = found.filter(|(_, key)| !keys.contains(key)).min()?;
    let is_setting = Settings::arguments().iter().any(|setting| setting.get_long() == Some(unknown));
    let hint = if is_setting {
        "a setting of the server stands above the first [[rule]]".to_owned()
    } else {
        let meant = did_you_mean(unknown, keys.iter().copied(), |key| format!("`{key}`"));
        meant.unwrap_or_else(|| format!("a rule has {}", keys.join(", ")))
    };
    Some((offset, format!("no key `{unknown}` of a rule: {hint}")))
}

/// What stands behind the flag on a command line for this value, if it has the type of the setting. The value name of
/// the flag says which type that is.
fn flag_texts(setting: &str, value: &DeValue<'_>, flags: &[Arg]) -> Result<Vec<OsString>, String> {
    let Some(flag) = flags.iter().find(|flag| flag.get_long() == Some(setting)) else {
        let meant = did_you_mean(setting, flags.iter().filter_map(Arg::get_long), |name| format!("`{name}`"));
        let hint = (setting == "rules").then(|| "each rule begins with [[rule]]".to_owned()).or(meant);
        let hint = hint.unwrap_or_else(|| "`roomcast settings` prints them all".to_owned());
        return Err(format!("no setting `{setting}`: {hint}"));
    };
    let is_list = matches!(flag.get_action(), ArgAction::Append);
    let value_name = flag.get_value_names().and_then(<[_]>::first).map_or("", |name| name.as_str());
    let rule = match value_name {
        "COUNT" => format!("a whole number without quotes, as in {setting} = 10"),
        "BOOL" => format!("true or false without quotes, as in {setting} = true"),
        "DURATION" => format!("a duration in quotes, as in {setting} = \"10s\""),
        "SIZE" => format!("a size in quotes, as in {setting} = \"64KiB\""),
        _ if is_list => format!("a list of texts in quotes, as in {setting} = [\"one\", \"another\"]"),
        _ => "a text in quotes".to_owned(),
    };
    match (value_name, value) {
        ("COUNT", DeValue::Integer(count)) => Ok(vec![count.to_string().into()]),
        ("BOOL", DeValue::Boolean(is_on)) => Ok(vec![is_on.to_string().into()]),
        ("COUNT" | "BOOL", _) => Err(format!("{setting} {}: {rule}", shown(value))),
        (_, DeValue::String(text)) => Ok(vec![text.as_ref().into()]),
        // As a flag, an empty list is one empty text.
        (_, DeValue::Array(list)) if is_list && list.is_empty() => Ok(vec![OsString::new()]),
        (_, DeValue::Array(list)) if is_list => {
            let texts = list.iter().map(|item| item.as_ref().as_str().map(OsString::from));
            texts.collect::<Option<_>>().ok_or_else(|| format!("{setting}: {rule}"))
        }
        _ => Err(format!("{setting} {}: {rule}", shown(value))),
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", text.as_ref()),
        DeValue::Integer(count) => count.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(is_on) => is_on.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "[…]".to_owned(),
        DeValue::Table(_) => "{…}".to_owned(),
    }
}
