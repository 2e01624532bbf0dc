//! Every link between the documents leads somewhere: the file is there, and so is the heading; and so are the files and
//! tests that they name. Reads the Markdown as plain text; addresses of the web are not looked at.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no documents of ours.
const SKIPPED: [&str; 3] = ["target", "node_modules", ".git"];

/// Folders of the repository. A path in backticks that begins with one of them names a file or folder; `.rs` may be
/// left out.
const FOLDERS: [&str; 8] = ["benches/", "deploy/", "docs/", "examples/", "loadgen/", "scripts/", "src/", "tests/"];

/// Tests that a document names begin with one of these, and go on with their module.
pub const TESTS: [&str; 7] =
    ["architecture::", "backplane::", "cluster::", "conformance::", "models::", "sockets::", "units::"];

fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !SKIPPED.contains(&name) {
            found.extend(documents(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text outside code blocks.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let is_prose = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    };
    text.lines().filter(is_prose).map(|line| format!("{line}\n")).collect()
}

/// The text outside and inside backticks.
fn split_code(prose: &str) -> (String, Vec<&str>) {
    let parts: Vec<&str> = prose.split('`').collect();
    let outside = parts.iter().step_by(2).copied().collect::<Vec<_>>().join("`");
    (outside, parts.into_iter().skip(1).step_by(2).collect())
}

/// What stands behind each link text: `docs/settings.md#http`.
fn targets(outside_code: &str) -> Vec<String> {
    outside_code
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// The anchors that code hosts make of the headings: lower case, blanks as hyphens, punctuation dropped, repeats
/// numbered.
fn anchors(prose: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    for heading in prose.lines().filter(|line| line.starts_with('#')) {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
        let anchor = kept.collect::<String>().replace(' ', "-");
        let repeats = (1..).map(|number| format!("{anchor}-{number}"));
        let free = [anchor.clone()].into_iter().chain(repeats).find(|anchor| !found.contains(anchor));
        found.extend(free);
    }
    found
}

/// One line for each link of a document that leads nowhere.
fn broken_links(document: &Path) -> Vec<String> {
    let text = prose(&fs::read_to_string(document).expect("a document"));
    let folder = document.parent().expect("a document is in a folder");
    let is_broken = |target: &String| {
        if target.contains("://") || target.starts_with("mailto:") {
            return false;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let file = if path.is_empty() { document.to_owned() } else { folder.join(path) };
        let has_anchor = || fs::read_to_string(&file).is_ok_and(|text| anchors(&prose(&text)).contains(anchor));
        !file.exists() || !anchor.is_empty() && !has_anchor()
    };
    let broken = targets(&split_code(&text).0).into_iter().filter(is_broken);
    broken.map(|target| format!("{}: {target} leads nowhere", document.display())).collect()
}

/// One line for each path in backticks that is not in the repository.
fn missing_paths(root: &Path, document: &Path) -> Vec<String> {
    let text = prose(&fs::read_to_string(document).expect("a document"));
    let is_path = |code: &&str| {
        FOLDERS.iter().any(|folder| code.starts_with(folder)) && !code.contains([' ', '*', '<', '{', '\n', '…'])
    };
    let missing = split_code(&text)
        .1
        .into_iter()
        .filter(is_path)
        .filter(|path| !root.join(path).exists() && !root.join(format!("{path}.rs")).exists());
    missing.map(|path| format!("{}: there is no {path}", document.display())).collect()
}

/// One line for each test in backticks, as in `sockets::tokens::a_connection_belongs_to_one_user`, that is not there.
fn missing_tests(root: &Path, document: &Path) -> Vec<String> {
    let text = prose(&fs::read_to_string(document).expect("a document"));
    let is_missing = |path: &&str| {
        let Some((module, test)) = path.rsplit_once("::") else { return false };
        let is_test = TESTS.iter().any(|tests| path.starts_with(tests)) && !path.contains('…');
        let module = root.join("tests").join(module.replace("::", "/"));
        let files = [module.with_extension("rs"), module.join("mod.rs")];
        let has_test = |file| fs::read_to_string(file).is_ok_and(|text: String| text.contains(&format!("fn {test}(")));
        is_test && !files.into_iter().any(has_test)
    };
    let missing = split_code(&text).1.into_iter().filter(is_missing);
    missing.map(|path| format!("{}: there is no test {path}", document.display())).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let documents = documents(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(documents.iter().any(|document| document.ends_with("docs/settings.md")), "{documents:?}");
    let broken: Vec<String> = documents.iter().flat_map(|document| broken_links(document)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_path_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The changelog tells of files as they were.
    let documents = documents(root).into_iter().filter(|document| !document.ends_with("CHANGELOG.md"));
    let missing: Vec<String> = documents.flat_map(|document| missing_paths(root, &document)).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let missing: Vec<String> = documents(root).iter().flat_map(|document| missing_tests(root, document)).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_decision_is_in_the_index() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decisions");
    let index = fs::read_to_string(folder.join("README.md")).expect("the index");
    let decisions = documents(&folder).into_iter().filter(|path| !path.ends_with("README.md"));
    let names = decisions.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned());
    let missing: Vec<String> = names.filter(|name| !index.contains(&format!("]({name}) |"))).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn a_link_to_nowhere_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("there.md"), "# A title, with `code`\n## Twice\n## Twice\n```\n# no heading\n```\n")
        .expect("a file");
    let good =
        "[a](there.md) ![b](there.md#a-title-with-code) [c](there.md#twice-1) [d](https://example.org/x#y) [e](#own)";
    let unread = "`[f](gone.md)` `src/gone.rs`\n```\n[g](gone.md)\n```\n";
    fs::write(path("a.md"), format!("# Own\n{good}\n{unread}[h](gone.md)\n[i](there.md#no-heading) [j](#two)\n"))
        .expect("a file");
    let told = |target: &str| format!("{}: {target} leads nowhere", path("a.md").display());
    assert_eq!(broken_links(&path("a.md")), ["gone.md", "there.md#no-heading", "#two"].map(told));
    assert_eq!(missing_paths(folder.path(), &path("a.md")).len(), 1);
    assert_eq!(documents(folder.path()), [path("a.md"), path("there.md")]);
}

#[test]
fn a_test_that_is_not_there_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("tests/units")).expect("a folder");
    fs::write(folder.path().join("tests/units/a.rs"), "#[test]\nfn there() {}\n").expect("a file");
    fs::write(folder.path().join("tests/units/mod.rs"), "#[test]\nfn above() {}\n").expect("a file");
    let document = folder.path().join("a.md");
    fs::write(&document, "`units::above` `units::a::there` `units::a::gone` `units::b::there` `std::fs::read`\n")
        .expect("a file");
    let missing = missing_tests(folder.path(), &document);
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].ends_with("units::a::gone") && missing[1].ends_with("units::b::there"), "{missing:?}");
}
