//! Every variable that the documents, the examples and the packages name is one that the program reads.

use std::fs;
use std::path::{Path, PathBuf};

use roomcast::config::{API_KEY_VARIABLE, Invocation, InvocationError};

const PREFIX: &str = "ROOMCAST_";

/// The variable of the settings file, that of the build, and those that are meant by no setting.
const OTHERS: [&str; 5] = ["ROOMCAST_COMMIT", "ROOMCAST_CONFIG", "ROOMCAST_FAULT", "ROOMCAST_PORT", "ROOMCAST_SERVICE"];

/// Folders whose files are read, without the folders within.
const FOLDERS: [&str; 6] =
    ["docs", "examples/cluster", "deploy", "deploy/deb", "deploy/helm/roomcast/templates", "deploy/systemd"];

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = FOLDERS.map(|folder| fs::read_dir(root.join(folder)).expect("a folder"));
    let files = folders.into_iter().flatten().map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.is_file()).chain(["README.md", "Dockerfile"].map(|file| root.join(file))).collect()
}

/// The variables that a text names. A word that goes on behind the prefix with something else names none.
fn variables(text: &str) -> impl Iterator<Item = String> {
    text.match_indices(PREFIX).filter_map(|(start, _)| {
        let name = text[start..].split(|character: char| !character.is_ascii_uppercase() && character != '_').next()?;
        (name.len() > PREFIX.len()).then(|| name.trim_end_matches('_').to_owned())
    })
}

#[test]
fn every_variable_that_is_named_is_read() {
    let page = match Invocation::parse(["roomcast", "settings"]) {
        Err(InvocationError::Print(page)) => page,
        other => panic!("no text was printed: {other:?}"),
    };
    let is_read = |name: &String| {
        page.contains(&format!("; {name})")) || name == API_KEY_VARIABLE || OTHERS.contains(&name.as_str())
    };
    let files = files();
    assert!(files.iter().any(|file| file.ends_with("examples/cluster/compose.yaml")), "{files:?}");
    for file in files.iter().filter(|file| file.extension().is_none_or(|extension| extension != "png")) {
        let text = fs::read_to_string(file).expect("a text");
        let unknown: Vec<String> = variables(&text).filter(|name| !is_read(name)).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", file.display());
    }
}
