//! Output files and the console. Files are opened before anything is measured, so that a wrong path costs no run.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

/// The file name that stands for standard output.
const STANDARD_OUTPUT: &str = "-";

/// Line width where the terminal's width is unknown.
const WORDS_MAX: usize = 150;

/// One output file.
#[derive(Debug)]
pub enum OutputFile {
    StandardOutput,
    /// A file and its path.
    File(PathBuf, File),
}

impl OutputFile {
    /// Opens the file before anything is measured. Keeps its old content until [`Self::write`].
    pub fn open(path: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let Some(path) = path else { return Ok(None) };
        if path == Path::new(STANDARD_OUTPUT) {
            return Ok(Some(Self::StandardOutput));
        }
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Some(Self::File(path.to_owned(), file)))
    }

    /// Replaces the whole content.
    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::StandardOutput => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
            // A pipe or a device cannot be truncated.
            Self::File(_, file) if !file.metadata().is_ok_and(|found| found.is_file()) => file.write_all(bytes),
            Self::File(_, file) => file.set_len(0).and_then(|()| file.write_all(bytes)),
        }
        .with_context(|| format!("writing {}", self.name()))
    }

    /// The path, for error messages.
    fn name(&self) -> String {
        match self {
            Self::StandardOutput => "standard output".to_owned(),
            Self::File(path, _) => path.display().to_string(),
        }
    }
}

/// Writes to the file if there is one.
pub fn write(sink: &mut Option<OutputFile>, bytes: impl FnOnce() -> anyhow::Result<Vec<u8>>) -> anyhow::Result<()> {
    sink.as_mut().map_or(Ok(()), |sink| sink.write(&bytes()?))
}

/// Prints tables and verdicts to standard output, or to standard error if an output file is standard output.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    beside: bool,
}

impl Console {
    /// The console for these output files.
    pub fn beside(sinks: &[&Option<OutputFile>]) -> Self {
        Self { beside: sinks.iter().any(|sink| matches!(sink, Some(OutputFile::StandardOutput))) }
    }

    /// Prints one or several lines.
    pub fn print(self, text: &str) {
        if self.beside { eprintln!("{text}") } else { println!("{text}") }
    }

    /// Prints the path of a file that was written.
    pub fn print_path(self, what: &str, sink: Option<&OutputFile>) {
        if let Some(OutputFile::File(path, _)) = sink {
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            self.print(&format!("{what} written to {}", path.display()));
        }
    }
}

/// Width of the terminal, or the `COLUMNS` variable; `None` if neither is known.
pub fn columns() -> Option<u16> {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    said.or_else(|| Table::new().width()).filter(|columns| *columns > 0)
}

/// Makes the table wrap text within its cells to fit the terminal.
pub fn fit(table: &mut Table) {
    if let Some(columns) = columns() {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
}

/// A table with a name and text in each row.
pub struct NamedRows(Table);

impl NamedRows {
    /// An empty table that fits the terminal.
    pub fn new() -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        fit(&mut table);
        Self(table)
    }

    /// Adds a row.
    pub fn add(&mut self, name: &str, text: String) {
        self.add_in(Color::Reset, name, text);
    }

    /// Adds a row in a colour, which is shown on terminals only.
    pub fn add_in(&mut self, color: Color, name: &str, text: String) {
        let name = Cell::new(name).set_alignment(CellAlignment::Right);
        let colored = |cell: Cell| if color == Color::Reset { cell } else { cell.fg(color) };
        self.0.add_row([colored(name), colored(Cell::new(text))]);
    }
}

impl fmt::Display for NamedRows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Wraps text to the terminal's width, with all lines but the first indented.
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
