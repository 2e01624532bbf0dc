//! Tokens that clients present, read from a file. They never reach a report or an error text.

use std::path::Path;

use anyhow::{Context, ensure};

/// Reads one token from each line. Empty lines are skipped.
pub fn read(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--token-file {}", path.display()))?;
    let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
    let token = |(number, line): (usize, &str)| {
        ensure!(!line.contains(char::is_whitespace), "--token-file {}: line {number} is no token", path.display());
        Ok(line.to_owned())
    };
    let tokens = lines.map(token).collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!tokens.is_empty(), "--token-file {}: it has no token", path.display());
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn each_line_is_a_token() {
        assert_eq!(read_text("a.b.c\n\nd.e.f\r\n"), Ok(vec!["a.b.c".to_owned(), "d.e.f".to_owned()]));
    }

    #[test]
    fn a_line_that_is_no_token_is_named_by_its_number_alone() {
        let error = read_text("a.b.c\nsecret words\n").unwrap_err();
        assert!(error.ends_with("line 2 is no token") && !error.contains("secret"), "{error}");
        assert!(read_text("\n").unwrap_err().ends_with("it has no token"));
    }
}
