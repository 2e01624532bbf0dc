//! Compresses the web pages of `src/pages` and writes the table of them that `src/pages/mod.rs` includes; and tells the
//! program from which commit and by which compiler it is built.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::write::GzEncoder;
use flate2::{Compression, Crc};

/// Below the folder of the package.
const PAGES: &str = "src/pages";

/// The name of the table, in the folder that Cargo gives the output of build scripts.
const TABLE: &str = "pages.rs";

/// The extensions of files that are served, with their media types. Others are not served.
const MEDIA_TYPES: [(&str, &str); 4] = [
    ("css", "text/css; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

/// The client module, which is served with its comments, since people read it.
const READ_BY_PEOPLE: &str = "roomcast";

/// Files whose paths at the server are not those below `src/pages`.
const PATHS: [(&str, &str); 3] =
    [("chat/index.html", "/"), ("dashboard/index.html", "/dashboard"), ("roomcast.js", "/roomcast.js")];

/// The variable with the commit where git cannot say it, as in packages: its hash, and perhaps a blank and its date.
const COMMIT: &str = "ROOMCAST_COMMIT";

/// The digits of the commit's hash that are shown.
const COMMIT_DIGITS: usize = 12;

/// What the program is made of. Changes elsewhere in the repository do not make it another one.
const SOURCES: [&str; 4] = ["src", "build.rs", "Cargo.toml", "Cargo.lock"];

fn main() {
    tell_build();
    // Cargo looks at each file of the folder.
    println!("cargo::rerun-if-changed={PAGES}");
    println!("cargo::rerun-if-changed=build.rs");
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")).join(PAGES);
    let out = PathBuf::from(variable("OUT_DIR"));
    let mut files = Vec::new();
    find(&root, &mut files);
    files.sort();
    let rows: String = files.iter().filter_map(|file| row(file, &root, &out)).collect();
    fs::write(out.join(TABLE), format!("&[\n{rows}]\n")).expect("the table can be written");
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("Cargo sets it for build scripts")
}

/// Sets what `src/config/version.rs` reads. Only release builds ask git, since a debug build would be made anew after each
/// commit.
fn tell_build() {
    println!("cargo::rerun-if-env-changed={COMMIT}");
    let given = std::env::var(COMMIT).ok().filter(|given| !given.trim().is_empty());
    let is_release = variable("PROFILE") == "release";
    let commit = given.or_else(|| if is_release { commit_of_git() } else { None });
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    let mut words = commit.split_whitespace();
    let hash = words.next().unwrap_or_default();
    let (hash, mark) = hash.strip_suffix("-dirty").map_or((hash, ""), |hash| (hash, "-dirty"));
    let hash = format!("{}{mark}", hash.get(..COMMIT_DIGITS).unwrap_or(hash));
    let date = words.next().map(|date| format!(", {date}")).unwrap_or_default();
    println!("cargo::rustc-env=ROOMCAST_BUILD_COMMIT={hash}");
    println!("cargo::rustc-env=ROOMCAST_BUILD_DATE={date}");
    println!("cargo::rustc-env=ROOMCAST_BUILD_TARGET={}", variable("TARGET"));
    let compiler = output(Command::new(variable("RUSTC")).arg("--version"));
    println!("cargo::rustc-env=ROOMCAST_BUILD_COMPILER={}", compiler.as_deref().unwrap_or("rustc"));
}

/// The commit and its date, with a mark where the sources differ from it; `None` where this is no repository of ours.
fn commit_of_git() -> Option<String> {
    // The sources may have been unpacked within the repository of something else.
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    let (hash, date) = (git(&["rev-parse", "HEAD"])?, git(&["log", "-1", "--format=%cs"])?);
    let changes = git(&[&["status", "--porcelain", "--"], &SOURCES[..]].concat())?;
    let mark = if changes.is_empty() { "" } else { "-dirty" };
    SOURCES.iter().for_each(|source| println!("cargo::rerun-if-changed={source}"));
    // The branch is a file, or a line of packed-refs, in which case its first commit makes a file in the folder.
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"])?;
    let branch = git(&["rev-parse", "--git-path", &branch]).map(PathBuf::from)?;
    let branch = branch.ancestors().find(|path| path.exists()).map(Path::to_owned);
    let files = ["HEAD", "packed-refs"].map(|name| git(&["rev-parse", "--git-path", name]).map(PathBuf::from));
    for file in files.into_iter().flatten().chain(branch).filter(|file| file.exists()) {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    Some(format!("{hash}{mark} {date}"))
}

fn git(arguments: &[&str]) -> Option<String> {
    // Without this, `status` would write the index.
    output(Command::new("git").arg("--no-optional-locks").args(arguments))
}

/// What a command prints that succeeds, in the folder of the package.
fn output(command: &mut Command) -> Option<String> {
    let output = command.current_dir(variable("CARGO_MANIFEST_DIR")).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Adds all files below a folder.
fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { find(&path, files) } else { files.push(path) }
    }
}

/// The row of a file, which is compressed on the way; `None` if it is not served.
fn row(file: &Path, root: &Path, out: &Path) -> Option<String> {
    let extension = file.extension()?;
    let (_, media_type) = MEDIA_TYPES.iter().find(|(served, _)| extension == *served)?;
    let name = file.strip_prefix(root).ok()?.to_str().expect("names of pages are text");
    let own_path = PATHS.iter().find(|(named, _)| *named == name);
    let path = own_path.map_or_else(|| format!("/pages/{name}"), |(_, path)| (*path).to_owned());
    let source = fs::read_to_string(file).expect("a page can be read");
    let is_code = extension == "js" || extension == "css";
    let text = if is_code && !name.starts_with(READ_BY_PEOPLE) { without_comments(&source) } else { source };
    let bytes = text.into_bytes();
    // No page has a `+` in its name.
    let plain_file = out.join(name.replace('/', "+"));
    fs::write(&plain_file, &bytes).expect("a page can be written");
    let gzip_file = plain_file.with_extension(format!("{}.gz", extension.display()));
    fs::write(&gzip_file, compressed(&bytes)).expect("a compressed page can be written");
    let mut checksum = Crc::new();
    checksum.update(&bytes);
    // The same in all builds of the same file, for caches in front of several servers.
    let tag = format!("{:08x}-{:x}", checksum.sum(), bytes.len());
    Some(format!(
        "    Page {{\n        path: {path:?},\n        media_type: {media_type:?},\n        \
         bytes: include_bytes!({plain_file:?}),\n        gzip: include_bytes!({gzip_file:?}),\n        \
         etag: \"\\\"{tag}\\\"\",\n        gzip_etag: \"\\\"{tag}-gzip\\\"\",\n    }},\n"
    ))
}

/// A script or a style sheet without the comments at the beginnings of lines.
fn without_comments(text: &str) -> String {
    let (mut kept, mut is_inside) = (String::new(), false);
    for line in text.lines() {
        is_inside |= line.trim_start().starts_with("/*");
        let code = match line.split_once("*/") {
            Some((_, behind)) if is_inside => {
                is_inside = false;
                behind
            }
            _ if is_inside => "",
            _ => line,
        };
        if !code.trim().is_empty() && !code.trim_start().starts_with("//") {
            kept.push_str(code);
            kept.push('\n');
        }
    }
    kept
}

/// The bytes as gzip, in the same bytes at each build: the header has neither time nor name.
fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}
