//! The settings file: TOML, every value under the name of its flag. Read into texts that are then parsed like flags.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use super::sources::{Entry, did_you_mean};

/// Reads a settings file. Entries come in the order of the file, so that of several errors the first is told.
///
/// # Errors
/// The file cannot be read, is not TOML, or has a name or a value that is none of a setting. The text says what would be right.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let file = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read settings file {file}: {error}"))?;
    let place = |offset: usize| format!("settings file {file} line {}", text[..offset].matches('\n').count() + 1);
    let invalid = |offset, what: String| format!("{}: {what}", place(offset));
    let table = DeTable::parse(&text)
        .map_err(|error| invalid(error.span().map_or(0, |span| span.start), error.message().replace('\n', "; ")))?;
    let flags = Settings::arguments();
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let (setting, offset): (&str, _) = (AsRef::<str>::as_ref(key.as_ref()), key.span().start);
        let values = values(setting, value.as_ref(), &flags).map_err(|what| invalid(offset, what))?;
        let source = invalid(offset, setting.to_owned());
        Ok(Entry { setting: setting.to_owned(), values: values.into_iter().map(OsString::from).collect(), source })
    };
    let mut pairs: Vec<_> = table.as_ref().iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    pairs.into_iter().map(entry).collect()
}

/// The texts of a value, if it has the type of its setting. The flag's value name says which type that is.
fn values(setting: &str, value: &DeValue<'_>, flags: &[Arg]) -> Result<Vec<String>, String> {
    let Some(flag) = flags.iter().find(|flag| flag.get_long() == Some(setting)) else {
        let meant = did_you_mean(setting, flags.iter().filter_map(Arg::get_long), |name| format!("`{name}`"));
        let hint = meant.unwrap_or_else(|| "`roomcast settings` prints them all".to_owned());
        return Err(format!("no setting `{setting}`: {hint}"));
    };
    let is_list = matches!(flag.get_action(), ArgAction::Append);
    let value_name = flag.get_value_names().and_then(<[_]>::first).map_or("", |name| name.as_str());
    let (what, example) = match value_name {
        "COUNT" => ("a whole number without quotes", "10"),
        "BOOL" => ("true or false without quotes", "true"),
        "DURATION" => ("a duration in quotes", "\"10s\""),
        "SIZE" => ("a size in quotes", "\"64KiB\""),
        _ if is_list => ("a list of texts in quotes", "[\"one\", \"another\"]"),
        _ => ("a text in quotes", "\"…\""),
    };
    let rule = format!("{what}, as in {setting} = {example}");
    match (value_name, value) {
        ("COUNT", DeValue::Integer(count)) => Ok(vec![count.to_string()]),
        ("BOOL", DeValue::Boolean(is_on)) => Ok(vec![is_on.to_string()]),
        ("COUNT" | "BOOL", _) => Err(format!("{setting} {}: {rule}", shown(value))),
        (_, DeValue::String(text)) => Ok(vec![text.to_string()]),
        // As a flag, an empty list is one empty text.
        (_, DeValue::Array(list)) if is_list && list.is_empty() => Ok(vec![String::new()]),
        (_, DeValue::Array(list)) if is_list => {
            let texts = list.iter().map(|item| item.as_ref().as_str().map(str::to_owned));
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
