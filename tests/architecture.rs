//! The shape of the code, read from its text: floors, absences, lengths. Nothing is compiled or run here.

use std::fs;
use std::path::Path;

/// Module → floor. A module uses only lower floors, so those of one floor do not see each other.
const FLOORS: [(&str, u8); 26] = [
    ("main", 9),
    ("server", 8),
    ("commands", 8),
    ("process", 8),
    ("worker", 7),
    ("transport", 6),
    ("api", 5),
    ("session", 4),
    ("broker", 3),
    ("access", 2),
    ("backplane", 2),
    ("hooks", 2),
    ("writer", 2),
    ("net", 1),
    ("auth", 1),
    ("stats", 1),
    ("protocol", 0),
    ("config", 0),
    ("fault", 0),
    ("log", 0),
    ("mailbox", 0),
    ("memory", 0),
    ("metrics", 0),
    ("pages", 0),
    ("probe", 0),
    ("shutdown", 0),
];

/// The floors of `loadgen`.
const LOADGEN_FLOORS: [(&str, u8); 36] = [
    ("main", 8),
    ("capacity", 7),
    ("compare", 7),
    ("limit", 7),
    ("overload", 7),
    ("measure", 6),
    ("arguments", 5),
    ("coordinator", 5),
    ("spawn", 5),
    ("bare", 4),
    ("report", 4),
    ("worker", 4),
    ("inflate", 3),
    ("messages", 3),
    ("schedule", 3),
    ("candidate", 2),
    ("dialect", 2),
    ("room_order", 2),
    ("assignment", 2),
    ("child_processes", 1),
    ("payload", 1),
    ("workload", 1),
    ("comebacks", 1),
    ("clock", 0),
    ("listeners", 0),
    ("descriptors", 0),
    ("priority", 0),
    ("verdict", 0),
    ("latency", 0),
    ("objective", 0),
    ("output", 0),
    ("reasons", 0),
    ("median_range", 0),
    ("target", 0),
    ("tls", 0),
    ("tokens", 0),
];

/// The folders with floors.
const BUILDINGS: [(&str, &[(&str, u8)]); 2] = [("src", &FLOORS), ("loadgen/src", &LOADGEN_FLOORS)];

/// The floors within `transport`, whose ways in do not know each other.
const TRANSPORT_FLOORS: [(&str, u8); 10] = [
    ("connection", 2),
    ("emulation", 1),
    ("http", 3),
    ("input_guard", 1),
    ("keepalive", 1),
    ("metrics", 0),
    ("stream", 3),
    ("sweep", 0),
    ("tcp", 3),
    ("websocket", 3),
];

/// Folders whose files stand on floors of their own.
const FLOORS_WITHIN: [(&str, &[(&str, u8)]); 1] = [("transport", &TRANSPORT_FLOORS)];

/// Words that must not occur in `src/`: state has one owner, which gets messages.
const LOCKS: [&str; 4] = ["Mutex", "RwLock", "DashMap", "broadcast::"];

/// Words that must not occur in `src/protocol/`, which does no I/O and never waits.
const IO: [&str; 10] =
    ["tokio", "std::net", "std::fs", "std::os", "std::thread", "std::time", "mio", "socket2", "rustix", ".await"];

/// The most lines of a file.
const FILE_LINES_MAX: usize = 400;

/// A source file, by its path from `src/`.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let (path, text) = (path.to_owned(), text.to_owned());
        Self { path, text }
    }

    /// The module that the file is, from the crate root.
    fn module(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').filter(|name| *name != "lib").collect()
    }

    /// Its lines with their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let bare = self.text.lines().map(|line| line.split("//").next().unwrap_or_default());
        (1..).zip(bare)
    }
}

/// Every path that the file names from `crate` or `super`, resolved from the crate root, with its line.
fn named_paths(source: &Source) -> Vec<(usize, Vec<String>)> {
    let module = source.module();
    let mut inner: Option<&str> = None;
    let mut found = Vec::new();
    for (number, line) in source.code() {
        // As rustfmt lays it out: a module within the file opens and closes in the first column.
        if let Some(name) = line.trim_end().strip_suffix(" {").and_then(|line| line.split("mod ").nth(1)) {
            inner = (!line.starts_with(' ')).then_some(name);
        } else if line == "}" {
            inner = None;
        }
        let here: Vec<&str> = module.iter().copied().chain(inner).collect();
        found.extend(paths_in(line).into_iter().map(|path| (number, resolve(&here, &path))));
    }
    found
}

/// The paths of a line that begin at `crate::` or `super::`, as far as they are names. `use crate::{a, b::c}` names as
/// many as it has parts; spread over several lines it names the crate root, which nothing may.
fn paths_in(line: &str) -> Vec<String> {
    let is_name = |character: char| character.is_alphanumeric() || matches!(character, '_' | ':');
    let is_path = |word: &&str| word.starts_with("crate::") || word.starts_with("super::");
    let words = line.split(|character| !is_name(character)).filter(is_path);
    match line.trim().strip_prefix("use ").and_then(|line| line.split_once("::{")) {
        Some((root @ ("crate" | "super"), names)) if names.len() > 1 => {
            let names = names.split([',', '}', '{', ';']).map(str::trim);
            names.filter(|name| !name.is_empty()).map(|name| format!("{root}::{name}")).collect()
        }
        _ => words.map(str::to_owned).collect(),
    }
}

/// A path from where it stands to the crate root.
fn resolve(here: &[&str], path: &str) -> Vec<String> {
    let mut at: Vec<String> = here.iter().map(|&name| name.to_owned()).collect();
    for name in path.split("::").filter(|name| !name.is_empty()) {
        match name {
            "crate" => at.clear(),
            "super" => drop(at.pop()),
            "self" => {}
            name => at.push(name.to_owned()),
        }
    }
    at
}

fn floor(floors: &[(&str, u8)], module: &str) -> Option<u8> {
    let row = floors.iter().find(|(name, _)| *name == module);
    row.map(|(_, floor)| *floor)
}

/// The forbidden uses of a file, one line each.
fn misuses(floors: &[(&str, u8)], source: &Source) -> Vec<String> {
    let module = source.module();
    let Some(&own) = module.first() else {
        return Vec::new();
    };
    let Some(own_floor) = floor(floors, own) else {
        return vec![format!("{}: {own} has no floor", source.path)];
    };
    let misuse = |(number, path): (usize, Vec<String>)| {
        let why = match path.first().map(String::as_str) {
            None => Some("uses the crate root".to_owned()),
            Some(target) if target == own => sees_sibling(&module, &path),
            Some(target) => match floor(floors, target) {
                None => Some(format!("uses {target}, which has no floor")),
                Some(floor) => {
                    (floor >= own_floor).then(|| format!("uses {target} on floor {floor}, from {own_floor}"))
                }
            },
        };
        why.map(|why| format!("{}:{number}: {why}", source.path))
    };
    named_paths(source).into_iter().filter_map(misuse).collect()
}

/// What is wrong if a file of a folder with floors of its own names another of them, or the folder itself.
fn sees_sibling(module: &[&str], path: &[String]) -> Option<String> {
    let (_, floors) = FLOORS_WITHIN.iter().find(|(folder, _)| *folder == module[0])?;
    let own = module.get(1)?;
    let Some(sibling) = path.get(1).map(String::as_str) else { return Some(format!("{own} uses its parent")) };
    let is_below = floor(floors, sibling) < floor(floors, own);
    (sibling != *own && !is_below).then(|| format!("{own} uses {sibling}"))
}

/// The lines whose code holds one of these.
fn lines_with(source: &Source, words: &[&str]) -> Vec<String> {
    let found = |(number, line): (usize, &str)| {
        let word = words.iter().find(|word| line.contains(**word))?;
        Some(format!("{}:{number}: {word}", source.path))
    };
    source.code().filter_map(found).collect()
}

/// All Rust files below a folder of the package.
fn sources(folder: &str) -> Vec<Source> {
    files(folder, &["rs"])
}

/// All files with these extensions below a folder of the package.
fn files(folder: &str, extensions: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|found| extensions.iter().any(|extension| found == *extension)) {
                let path = entry.strip_prefix(&root).expect("below the root").to_str().expect("text");
                found.push(Source::new(path, &fs::read_to_string(&entry).expect("text")));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no source");
    found
}

const NOTHING: [String; 0] = [];

#[test]
fn modules_use_only_lower_floors() {
    for (folder, floors) in BUILDINGS {
        let misuses: Vec<String> = sources(folder).iter().flat_map(|source| misuses(floors, source)).collect();
        assert_eq!(misuses, NOTHING, "{folder}");
    }
}

#[test]
fn every_module_that_is_declared_has_a_floor_and_every_floor_its_module() {
    for (folder, floors) in BUILDINGS {
        let sources = sources(folder);
        let mut declared: Vec<&str> = sources.iter().filter_map(|source| source.module().first().copied()).collect();
        declared.sort_unstable();
        declared.dedup();
        let mut floors: Vec<&str> = floors.iter().map(|(module, _)| *module).collect();
        floors.sort_unstable();
        assert_eq!(declared, floors, "{folder}");
    }
}

#[test]
fn there_is_no_lock() {
    let locks: Vec<String> = sources("src").iter().flat_map(|source| lines_with(source, &LOCKS)).collect();
    assert_eq!(locks, NOTHING);
}

#[test]
fn no_timeout_hangs_on_the_wall_clock() {
    let clocks = ["SystemTime", "UNIX_EPOCH"];
    let sources = sources("src");
    // It reads the time at which something was published, which is only shown.
    let others = sources.iter().filter(|source| source.path != "broker/now.rs");
    let read: Vec<String> = others.flat_map(|source| lines_with(source, &clocks)).collect();
    assert_eq!(read, NOTHING);
}

#[test]
fn the_protocol_does_no_io() {
    let io: Vec<String> = sources("src/protocol").iter().flat_map(|source| lines_with(source, &IO)).collect();
    assert_eq!(io, NOTHING);
}

#[test]
fn no_file_is_too_long_to_be_read() {
    let folders = ["src", "tests", "benches", "examples", "fuzz", "loadgen/src", "loadgen/tests"]
        .map(|folder| (folder, sources(folder)));
    let pages = ("src/pages", files("src/pages", &["css", "html", "js"]));
    for (folder, sources) in folders.into_iter().chain([pages]) {
        for Source { path, text } in sources {
            let lines = text.lines().count();
            assert!(lines <= FILE_LINES_MAX, "{folder}/{path} has {lines} lines");
        }
    }
}

#[test]
fn neither_the_load_generator_nor_the_harness_of_the_tests_links_the_server() {
    for package in ["loadgen", "tests/harness"] {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(package).join("Cargo.toml");
        let manifest: toml::Table = toml::from_str(&fs::read_to_string(manifest).unwrap()).unwrap();
        let dependencies = ["dependencies", "dev-dependencies", "build-dependencies"].map(|kind| manifest.get(kind));
        for dependency in dependencies.into_iter().flatten().filter_map(toml::Value::as_table) {
            assert!(!dependency.contains_key("roomcast"), "{package}: an independent witness has its own code");
        }
    }
}

/// Made-up files with their texts and their errors.
const BREAKING: [(&str, &str, &str); 16] = [
    ("session.rs", "use crate::transport::tcp;", "session.rs:1: uses transport on floor 6, from 4"),
    ("writer/task.rs", "\n    crate::broker::Room::new()", "writer/task.rs:2: uses broker on floor 3, from 2"),
    ("config/mod.rs", "use crate::protocol::names;", "config/mod.rs:1: uses protocol on floor 0, from 0"),
    ("server/mod.rs", "use crate::process::print;", "server/mod.rs:1: uses process on floor 8, from 8"),
    ("session.rs", "use super::worker::Worker;", "session.rs:1: uses worker on floor 7, from 4"),
    ("broker/room.rs", "use super::super::session::A;", "broker/room.rs:1: uses session on floor 4, from 3"),
    ("writer/mod.rs", "use crate::{config, broker::Room};", "writer/mod.rs:1: uses broker on floor 3, from 2"),
    ("writer/mod.rs", "use crate::{", "writer/mod.rs:1: uses the crate root"),
    ("session.rs", "use crate::shard::A;", "session.rs:1: uses shard, which has no floor"),
    ("session.rs", "use super::*;", "session.rs:1: uses the crate root"),
    ("transport/tcp.rs", "use super::websocket::A;", "transport/tcp.rs:1: tcp uses websocket"),
    ("transport/http.rs", "use super::websocket::A;", "transport/http.rs:1: http uses websocket"),
    ("transport/connection.rs", "use super::tcp::A;", "transport/connection.rs:1: connection uses tcp"),
    ("transport/metrics.rs", "use crate::transport::tcp;", "transport/metrics.rs:1: metrics uses tcp"),
    ("transport/tcp.rs", "use super::*;", "transport/tcp.rs:1: tcp uses its parent"),
    ("gossip.rs", "", "gossip.rs: gossip has no floor"),
];

#[test]
fn the_check_of_floors_fails_on_code_that_breaks_them() {
    for (path, text, misuse) in BREAKING {
        assert_eq!(misuses(&FLOORS, &Source::new(path, text)), [misuse], "{text}");
    }
}

/// Made-up files with their texts, which are right.
const KEEPING: [(&str, &str); 6] = [
    ("session.rs", "use crate::broker::Room; // not crate::server"),
    ("session.rs", "mod tests {\n    use super::*;\n    use super::super::broker::Room;\n}"),
    ("broker/room.rs", "use super::shard::Shard;\nuse super::ShardIndex;"),
    ("transport/tcp.rs", "use super::connection::Client;\nmod tests {\n    use super::*;\n}"),
    ("transport/tcp.rs", "pub(crate) fn a() {}\npub(super) fn b() {}"),
    ("lib.rs", "pub mod broker;"),
];

#[test]
fn the_check_of_floors_passes_what_keeps_to_them() {
    for (path, text) in KEEPING {
        assert_eq!(misuses(&FLOORS, &Source::new(path, text)), NOTHING, "{text}");
    }
}

#[test]
fn the_checks_of_words_fail_on_code_that_has_them() {
    let lock = Source::new("session.rs", "// a Mutex\nuse std::sync::Mutex;");
    assert_eq!(lines_with(&lock, &LOCKS), ["session.rs:2: Mutex"]);
    let io = Source::new("lines.rs", "use std::io::Write;\nuse tokio::net::TcpStream;");
    assert_eq!(lines_with(&io, &IO), ["lines.rs:2: tokio"]);
}
