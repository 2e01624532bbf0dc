//! Tokens that clients present and keys of the server API, read from files. They never reach a report or an error text.

use std::path::Path;

use anyhow::{Context, ensure};

/// Reads the file of `--token-file`: one token on each line. Empty lines are skipped.
pub fn read_tokens(path: &Path) -> anyhow::Result<Vec<String>> {
    read("--token-file", path)
}

/// Reads the file of `--api-key-file`: one line with the key.
pub fn read_api_key(path: &Path) -> anyhow::Result<String> {
    let mut keys = read("--api-key-file", path)?;
    ensure!(keys.len() == 1, "--api-key-file {}: {} lines are not one key", path.display(), keys.len());
    Ok(keys.remove(0))
}

fn read(option: &str, path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{option} {}", path.display()))?;
    let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
    let token = |(number, line): (usize, &str)| {
        ensure!(!line.contains(char::is_whitespace), "{option} {}: line {number} is no token", path.display());
        Ok(line.to_owned())
    };
    let tokens = lines.map(token).collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!tokens.is_empty(), "{option} {}: it has no token", path.display());
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, text).unwrap();
        read_tokens(&path).map_err(|error| format!("{error:#}"))
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
