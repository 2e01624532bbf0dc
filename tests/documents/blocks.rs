//! The code blocks of the documents, with where they stand.

use std::fs;
use std::path::{Path, PathBuf};

/// A code block.
pub struct Block {
    /// As in `docs/http.md`.
    pub document: String,
    /// The line of its fence, from 1.
    pub line: usize,
    /// What stands behind the fence, as `console`; empty for a figure or a few lines that somebody sees.
    pub language: String,
    /// The lines between the fences.
    pub text: String,
}

impl Block {
    /// Where it stands, as compilers say it.
    pub fn place(&self) -> String {
        format!("{}:{}", self.document, self.line)
    }
}

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The code blocks of the documents for users, in their order: the README's, and those of the folder `docs`.
pub fn blocks() -> Vec<Block> {
    let mut documents: Vec<PathBuf> =
        fs::read_dir(root().join("docs")).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.extend(["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    documents.sort();
    documents.iter().flat_map(|path| blocks_of(path)).collect()
}

fn blocks_of(path: &Path) -> Vec<Block> {
    let document = path.strip_prefix(root()).expect("a document of ours").to_str().expect("text").to_owned();
    let text = fs::read_to_string(path).expect("a document");
    let (mut found, mut open) = (Vec::new(), None::<Block>);
    for (line, content) in (1..).zip(text.lines()) {
        match (content.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(language), None) => {
                let language = language.trim().to_owned();
                open = Some(Block { document: document.clone(), line, language, text: String::new() });
            }
            (None, Some(block)) => block.text += &format!("{content}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{document} ends within a block");
    found
}

/// The block of a document in this language that contains a text.
#[track_caller]
pub fn block(document: &str, language: &str, text: &str) -> String {
    let is_meant =
        |block: &Block| block.document == document && block.language == language && block.text.contains(text);
    let found = blocks().into_iter().find(is_meant);
    found.unwrap_or_else(|| panic!("{document} has no {language} with {text:?}")).text
}

/// The commands of a console block, each with the output that is shown for it. A line that begins with two blanks goes on with
/// the line before.
pub fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.replace("\\\n", "").replace("\n  ", "  ").lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
            (None, Some((_, output))) => output.push(line.to_owned()),
            (None, None) => {}
        }
    }
    commands
}
