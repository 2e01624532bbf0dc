//! The settings file: TOML, every value under the name of its flag. Read into texts that are then parsed like flags.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use super::rules::RuleSettings;
use super::sources::{Entry, RULE, RuleInFile, did_you_mean};

/// What a settings file holds.
#[derive(Default)]
pub(super) struct FromFile {
    /// The settings that are flags as well.
    pub(super) entries: Vec<Entry>,
    pub(super) rules: Vec<RuleInFile>,
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
        let span = error.span().unwrap_or_default();
        let what = error.message().replace('\n', "; ");
        // The other errors of TOML say themselves what they are about.
        let key = if what == "duplicate key" { format!(" `{}`", &text[span.clone()]) } else { String::new() };
        located(span.start, &(what + &key))
    };
    let table = DeTable::parse(&text).map_err(refused)?;
    let table = table.as_ref();
    let settings = table.iter().filter(|(key, _)| key.as_ref() != RULE);
    let entries = entries(settings, &Settings::arguments(), no_setting, &located)?;
    let rules = table.get(RULE).map_or(Ok(Vec::new()), |rules| rules_in(rules, &located))?;
    Ok(FromFile { entries, rules })
}

/// The rules, each with its entries. `located` says in which line something is.
fn rules_in(value: &Spanned<DeValue<'_>>, located: &dyn Fn(usize, &str) -> String) -> Result<Vec<RuleInFile>, String> {
    let no_rule = || located(value.span().start, &format!("{RULE}: each rule begins with [[{RULE}]]"));
    let keys = RuleSettings::arguments();
    let rule = |rule: &Spanned<DeValue<'_>>| {
        let table = rule.as_ref().as_table().ok_or_else(no_rule)?;
        let source = located(rule.span().start, RULE);
        Ok(RuleInFile { source, entries: entries(table.iter(), &keys, no_key_of_rule, located)? })
    };
    value.as_ref().as_array().ok_or_else(no_rule)?.iter().map(rule).collect()
}

/// The entries of a table in the order of the file, whose keys are these flags. `unknown` is what is said of a key that is
/// none, and `located` says in which line something is.
fn entries<'a>(
    table: impl Iterator<Item = (&'a Spanned<Cow<'a, str>>, &'a Spanned<DeValue<'a>>)>,
    flags: &[Arg],
    unknown: fn(&str, &[Arg]) -> String,
    located: &dyn Fn(usize, &str) -> String,
) -> Result<Vec<Entry>, String> {
    let mut pairs: Vec<_> = table.map(|(key, value)| (key.span().start, key, value)).collect();
    pairs.sort_by_key(|(offset, ..)| *offset);
    let entry = |(offset, key, value): (usize, &Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        let setting = key.as_ref().to_string();
        let flag = flags.iter().find(|flag| flag.get_long() == Some(&*setting));
        let flag = flag.ok_or_else(|| located(offset, &unknown(&setting, flags)))?;
        let values = flag_texts(&setting, value.as_ref(), flag).map_err(|what| located(offset, &what))?;
        Ok(Entry { source: located(offset, &setting), setting, values })
    };
    pairs.into_iter().map(entry).collect()
}

fn no_setting(setting: &str, flags: &[Arg]) -> String {
    let meant = did_you_mean(setting, flags.iter().filter_map(Arg::get_long), |name| format!("`{name}`"));
    let hint = (setting == "rules").then(|| format!("each rule begins with [[{RULE}]]")).or(meant);
    let hint = hint.unwrap_or_else(|| "`roomcast settings` prints them all".to_owned());
    format!("no setting `{setting}`: {hint}")
}

fn no_key_of_rule(key: &str, keys: &[Arg]) -> String {
    let keys: Vec<&str> = keys.iter().filter_map(Arg::get_long).collect();
    let is_setting = Settings::arguments().iter().any(|setting| setting.get_long() == Some(key));
    let hint = if is_setting {
        format!("a setting of the server stands above the first [[{RULE}]]")
    } else {
        let meant = did_you_mean(key, keys.iter().copied(), |key| format!("`{key}`"));
        meant.unwrap_or_else(|| format!("a rule has {}", keys.join(", ")))
    };
    format!("no key `{key}` of a rule: {hint}")
}

/// What stands behind the flag on a command line for this value, if it has the type of the setting. The value name of
/// the flag says which type that is.
fn flag_texts(setting: &str, value: &DeValue<'_>, flag: &Arg) -> Result<Vec<OsString>, String> {
    let is_list = matches!(flag.get_action(), ArgAction::Append);
    let value_name = flag.get_value_names().and_then(<[_]>::first).map_or("", |name| name.as_str());
    let rule = match value_name {
        "COUNT" => format!("a whole number without quotes, as in {setting} = 10"),
        "BOOL" => format!("true or false without quotes, as in {setting} = true"),
        "DURATION" => format!("a duration in quotes, as in {setting} = \"10s\""),
        "SIZE" => format!("a size in quotes, as in {setting} = \"64KiB\""),
        "PATTERN" => format!("one pattern in quotes, as in {setting} = \"team:*\"; another one has a rule of its own"),
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
