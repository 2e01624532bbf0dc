//! The settings file: TOML, every value under the name of its flag. Read into texts that are then parsed like flags.

use std::any::TypeId;
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{Arg, ArgAction};
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::sources::{Source, meant};
use super::units::{Size, Span};

/// A settings file that cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read settings file {path}: {error}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is no TOML, or says something that is no setting.
    #[error("settings file {path} line {line}: {what}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What is wrong and what would be right.
        what: String,
    },
}

/// What a file says of one setting.
pub(super) struct Entry {
    pub(super) setting: String,
    /// One text, or those of a list.
    pub(super) values: Vec<String>,
    pub(super) source: Source,
}

/// Reads a file in which the settings of these flags may stand.
pub(super) fn read(path: &Path, flags: &[&Arg]) -> Result<Vec<Entry>, FileError> {
    let text = fs::read_to_string(path).map_err(|error| FileError::Unreadable { path: path.into(), error })?;
    let line = |offset: usize| text[..offset].matches('\n').count() + 1;
    let invalid = |offset, what| FileError::Invalid { path: path.into(), line: line(offset), what };
    let table = DeTable::parse(&text)
        .map_err(|error| invalid(error.span().map_or(0, |span| span.start), error.message().replace('\n', "; ")))?;
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let (setting, offset): (&str, _) = (AsRef::<str>::as_ref(key.as_ref()), key.span().start);
        let values = values(setting, value.as_ref(), flags).map_err(|what| invalid(offset, what))?;
        let source = Source::File { path: path.into(), line: line(offset) };
        Ok(Entry { setting: setting.to_owned(), values, source })
    };
    let mut entries = table.as_ref().iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    // As they stand in the file, so that of several errors the first is told.
    entries.sort_by_key(|entry| match entry.source {
        Source::File { line, .. } => line,
        Source::Flag | Source::Variable => 0,
    });
    Ok(entries)
}

/// The texts of a value, if it is of the kind that its setting has.
fn values(setting: &str, value: &DeValue<'_>, flags: &[&Arg]) -> Result<Vec<String>, String> {
    let Some(flag) = flags.iter().find(|flag| flag.get_long() == Some(setting)) else {
        return Err(no_setting(setting, flags));
    };
    let kind = Kind::of(flag);
    match (kind, value) {
        (Kind::Counter, DeValue::Integer(count)) => Ok(vec![count.to_string()]),
        (Kind::Switch, DeValue::Boolean(is_on)) => Ok(vec![is_on.to_string()]),
        (Kind::Duration | Kind::Size | Kind::Text | Kind::List, DeValue::String(text)) => Ok(vec![text.to_string()]),
        // As a flag an empty list is one empty text.
        (Kind::List, DeValue::Array(list)) if list.is_empty() => Ok(vec![String::new()]),
        (Kind::List, DeValue::Array(list)) => {
            let texts = list.iter().map(|item| item.as_ref().as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(|| format!("{setting}: {}", kind.rule(setting)))
        }
        _ => Err(format!("{setting} {}: {}", shown(value), kind.rule(setting))),
    }
}

fn no_setting(name: &str, flags: &[&Arg]) -> String {
    let meant = meant(name, flags.iter().filter_map(|flag| flag.get_long()));
    if meant.is_empty() {
        return format!("no setting `{name}`: `roomcast check-config` prints them all");
    }
    let meant: Vec<String> = meant.into_iter().map(|setting| format!("`{setting}`")).collect();
    format!("no setting `{name}`: did you mean {}?", meant.join(" or "))
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

/// How the value of a setting is written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Switch,
    Duration,
    Size,
    List,
    Text,
}

impl Kind {
    /// The kind of a flag's values.
    pub(super) fn of(flag: &Arg) -> Self {
        let type_id = flag.get_value_parser().type_id();
        let is_one_of = |types: &[TypeId]| types.iter().any(|one| type_id == *one);
        if matches!(flag.get_action(), ArgAction::Append) {
            Self::List
        } else if is_one_of(&[TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>()]) {
            Self::Counter
        } else if is_one_of(&[TypeId::of::<bool>()]) {
            Self::Switch
        } else if is_one_of(&[TypeId::of::<Span>()]) {
            Self::Duration
        } else if is_one_of(&[TypeId::of::<Size>()]) {
            Self::Size
        } else {
            Self::Text
        }
    }

    fn rule(self, setting: &str) -> String {
        let (what, example) = match self {
            Self::Counter => ("a whole number without quotes", "10"),
            Self::Switch => ("true or false without quotes", "true"),
            Self::Duration => ("a duration in quotes", "\"10s\""),
            Self::Size => ("a size in quotes", "\"64KiB\""),
            Self::List => ("a list of texts in quotes", "[\"one\", \"another\"]"),
            Self::Text => return "a text in quotes".to_owned(),
        };
        format!("{what}, as in {setting} = {example}")
    }
}
