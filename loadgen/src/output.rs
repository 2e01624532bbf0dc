//! Where results go: files, opened before anything is measured, and words beside them. Knows no figure.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use comfy_table::{ContentArrangement, Table};

/// What stands for standard output in place of a file's name.
const STANDARD_OUTPUT: &str = "-";

/// A line of words is no wider than this if nobody knows how wide the terminal is.
const WORDS_MAX: usize = 150;

/// One file that was asked for.
#[derive(Debug)]
pub enum Sink {
    /// Standard output.
    StandardOutput,
    /// A file, and where it is.
    File(PathBuf, File),
}

impl Sink {
    /// Opens it, so that what cannot be written fails before anything is measured. Keeps what is in it until then.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let Some(path) = path else { return Ok(None) };
        if path == Path::new(STANDARD_OUTPUT) {
            return Ok(Some(Self::StandardOutput));
        }
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Some(Self::File(path.to_owned(), file)))
    }

    /// Writes it whole.
    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::StandardOutput => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
            // A pipe or a device has no length.
            Self::File(_, file) if !file.metadata().is_ok_and(|found| found.is_file()) => file.write_all(bytes),
            Self::File(_, file) => file.set_len(0).and_then(|()| file.write_all(bytes)),
        }
        .with_context(|| format!("writing {}", self.name()))
    }

    /// Where it is.
    fn name(&self) -> String {
        match self {
            Self::StandardOutput => "standard output".to_owned(),
            Self::File(path, _) => path.display().to_string(),
        }
    }
}

/// Writes what was asked for, if it was.
pub fn write(sink: &mut Option<Sink>, bytes: impl FnOnce() -> anyhow::Result<Vec<u8>>) -> anyhow::Result<()> {
    sink.as_mut().map_or(Ok(()), |sink| sink.write(&bytes()?))
}

/// Tables and verdicts: on standard output, unless a file goes there.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    beside: bool,
}

impl Words {
    /// Beside these files.
    pub fn beside(sinks: &[&Option<Sink>]) -> Self {
        Self { beside: sinks.iter().any(|sink| matches!(sink, Some(Sink::StandardOutput))) }
    }

    /// Says a line, or several.
    pub fn say(self, words: &str) {
        if self.beside { eprintln!("{words}") } else { println!("{words}") }
    }

    /// Says where something was written.
    pub fn say_where(self, what: &str, sink: Option<&Sink>) {
        if let Some(Sink::File(path, _)) = sink {
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            self.say(&format!("{what} written to {}", path.display()));
        }
    }
}

/// How wide the terminal is; `None` if there is none and `COLUMNS` does not say.
pub fn columns() -> Option<u16> {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    said.or_else(|| Table::new().width()).filter(|columns| *columns > 0)
}

/// Has a table wrap its words rather than its lines.
pub fn fit(table: &mut Table) {
    if let Some(columns) = columns() {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
}

/// Words in lines that fit, all but the first indented.
pub fn wrapped(words: &str) -> String {
    const INDENT: &str = "    ";
    let width = columns().map_or(WORDS_MAX, usize::from);
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if !line.trim().is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(format!("{INDENT}{word}"));
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}
