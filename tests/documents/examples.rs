//! Every example of the documents is run or checked. Settings are read by `check-config`; the command lines of our programs
//! are parsed as the programs do it; what other programs and languages need is run by the tests that are named here.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{Identity, Process, built};
use roomcast::config::{Invocation, InvocationError};

use super::blocks::{Block, block, blocks, commands, root};

/// The tests that run the blocks of a document in a language. Each names the document.
const RUN_BY: [(&str, &str, &str); 17] = [
    ("README.md", "html", "tests/pages/roomcast_documents.test.cjs"),
    ("README.md", "js", "tests/sdks/documents.test.cjs"),
    ("docs/history.md", "python", "tests/documents/dialogs.rs"),
    ("docs/hooks.md", "json", "tests/documents/examples.rs"),
    ("docs/hooks.md", "python", "tests/sockets/hooks/example.rs"),
    ("docs/http.md", "html", "tests/sdks/http_document.test.cjs"),
    ("docs/javascript.md", "html", "tests/pages/roomcast_documents.test.cjs"),
    ("docs/javascript.md", "js", "tests/pages/roomcast_documents.test.cjs"),
    ("docs/protocol.md", "js", "tests/pages/roomcast_documents.test.cjs"),
    ("docs/proxies.md", "caddyfile", "tests/proxies/run"),
    ("docs/proxies.md", "haproxy", "tests/proxies/run"),
    ("docs/proxies.md", "nginx", "tests/proxies/run"),
    ("docs/cluster.md", "nginx", "tests/proxies/run"),
    ("docs/sdks.md", "html", "tests/sdks/documents.test.cjs"),
    ("docs/sdks.md", "js", "tests/sdks/documents.test.cjs"),
    ("docs/sdks.md", "python", "tests/sdks/documents.test.cjs"),
    // There is no Dart to be had: the test says so.
    ("docs/sdks.md", "dart", "tests/sdks/documents.test.cjs"),
];

/// Languages of which every block is checked in this file.
const CHECKED: [&str; 2] = ["console", "toml"];

/// Programs of others in the documents. An unknown name is probably a mistake in writing.
const PROGRAMS: &str = "apt-get cargo cat chmod curl dd dig docker dpkg git groupadd helm install jq journalctl kill kubectl \
    ldd ls mkdir nats-server nc openssl perf pidof promtool rm rustup sed sha256sum sleep strace sudo systemctl systemd-analyze tar taskset \
    tee useradd";

/// A shell in which no program runs. Each call of ours is written to descriptor 3, a word a line, with an empty line at its
/// end; so is each word that is no known program. Nothing is written into a pipe: its reader may be gone already, and the
/// signal would end the writer before its next call is seen.
const SHELL: &str = r#"
PATH=/nowhere
say() { builtin printf '%s\n' "$@" '' >&3; }
echo() { :; }
printf() { :; }
roomcast() { say roomcast "$@"; }
loadgen() { say loadgen "$@"; }
own() { say own "$1"; }
command_not_found_handle() { say unknown "$1"; }
exec 3>&1 >/dev/null 2>/dev/null
for program in $PROGRAMS; do eval "$program() { :; }"; done
cargo() {
    case "$1 $*" in
        run*" -p loadgen "*"-- "*) while [[ $1 != -- ]]; do shift; done; shift; say loadgen "$@" ;;
        *) ;;
    esac
}
eval "$COMMAND"
"#;

/// The calls that a command line makes: a program, and its arguments.
fn calls(command: &str) -> Vec<(String, Vec<String>)> {
    let folder = tempfile::tempdir().expect("a folder");
    // Programs of the repository are named by their paths.
    let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    for word in &mut words {
        if ["examples/", "scripts/", "tests/"].iter().any(|own| word.starts_with(own)) {
            *word = format!("own {word}");
        }
    }
    let mut shell = Command::new("bash");
    shell.args(["--norc", "-c", SHELL]).current_dir(&folder).env_clear();
    shell.env("PROGRAMS", PROGRAMS).env("COMMAND", words.join(" "));
    let said = Process::run(&mut shell).out;
    let call = |call: &str| {
        let mut words = call.lines().map(str::to_owned);
        Some((words.next()?, words.collect()))
    };
    said.split("\n\n").filter_map(call).collect()
}

/// What is wrong with a call.
fn mistake((program, arguments): &(String, Vec<String>)) -> Option<String> {
    match program.as_str() {
        "roomcast" => {
            let words = ["roomcast".to_owned()].into_iter().chain(arguments.iter().cloned());
            match Invocation::parse(words) {
                // The flags have been understood before a file is read.
                Err(InvocationError::Wrong(wrong)) if !wrong.contains("cannot read settings file") => Some(wrong),
                _ => None,
            }
        }
        "loadgen" => {
            // It is built with the workspace; the sources of the server say nothing of its age.
            let loadgen = built("roomcast").with_file_name("loadgen");
            let ended = Process::run(Command::new(loadgen).args(arguments).arg("--help"));
            (ended.code != Some(0)).then_some(ended.err)
        }
        "own" => (!root().join(&arguments[0]).is_file()).then(|| format!("there is no {}", arguments[0])),
        _ => Some(format!("{} is no program that is known here", arguments[0])),
    }
}

fn mistakes(block: &Block) -> Vec<String> {
    let calls = commands(&block.text).into_iter().flat_map(|(command, _)| calls(&command));
    calls.filter_map(|call| mistake(&call)).map(|wrong| format!("{}: {wrong}", block.place())).collect()
}

#[test]
fn every_command_line_is_one_that_the_programs_take() {
    let consoles = blocks().into_iter().filter(|block| block.language == "console");
    let wrong: Vec<String> = consoles.flat_map(|block| mistakes(&block)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_wrong_command_line_is_found() {
    let wrong = |text: &str| {
        let block = Block { document: "a.md".into(), line: 7, language: "console".into(), text: text.into() };
        mistakes(&block)
    };
    assert_eq!(
        wrong("$ roomcast --tcp 127.0.0.1:0 &\n$ KEY=$(sed -n 2p a); curl x | nc y 1\nroomcast --none\n"),
        [""; 0]
    );
    assert_eq!(
        wrong("$ examples/cluster/run\n$ loadgen --clients 7\n$ cargo run --release -p loadgen -- --rate 1\n"),
        [""; 0]
    );
    for (text, said) in [
        ("$ (printf a; roomcast gen-tokn) | nc x 1\n", "a.md:7: "),
        ("$ A=$(roomcast --tpc 127.0.0.1:0)\n", "a.md:7: no flag --tpc"),
        ("$ cargo run --release -p loadgen -- --client 7\n", "a.md:7: error: unexpected argument '--client'"),
        ("$ scripts/none\n", "a.md:7: there is no scripts/none"),
        ("$ systmctl reload roomcast\n", "a.md:7: systmctl is no program"),
    ] {
        let found = wrong(text);
        assert!(found.len() == 1 && found[0].starts_with(said), "{text}: {found:?}");
    }
}

/// Writes the files that settings may name. What the documents say of paths is not of this machine.
fn write_named_files(folder: &Path) {
    Identity::signed_for(&["localhost"]).write(folder);
    fs::write(folder.join("main.key"), "0123456789abcdef0123456789abcdef").expect("a file");
    fs::write(folder.join("keys.toml"), "").expect("a file");
}

/// The settings with each path as a file of the folder.
fn with_paths_in(folder: &Path, settings: &str) -> String {
    let local = |line: &str| match line.split_once(" = \"/") {
        Some((name, rest)) => {
            let (path, behind) = rest.split_once('"').expect("a closing quote");
            let file = match name {
                "tls-cert" => "certificate.pem",
                "tls-key" => "key.pem",
                _ => path.rsplit('/').next().expect("a name"),
            };
            format!("{name} = \"{}\"{behind}", folder.join(file).display())
        }
        None => line.to_owned(),
    };
    settings.lines().map(|line| local(line) + "\n").collect()
}

#[test]
fn every_settings_file_is_one_that_the_server_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    write_named_files(folder.path());
    for block in blocks().into_iter().filter(|block| block.language == "toml") {
        let settings = with_paths_in(folder.path(), &block.text);
        fs::write(folder.path().join("roomcast.toml"), &settings).expect("a file");
        let mut command = Command::new(built("roomcast"));
        // Rules that ask for users need a way to be one, which stands in another block.
        command.args(["check-config", "--config", "roomcast.toml"]).current_dir(&folder);
        if !settings.contains("token-secret-file") {
            command.args(["--token-secret-file", "main.key"]);
        }
        let ended = Process::run(&mut command);
        assert_eq!(ended.code, Some(0), "{}: {}", block.place(), ended.err);
    }
}

#[test]
fn every_example_is_run_or_checked() {
    let blocks = blocks();
    let is_run = |block: &&Block| {
        let names_it = |(document, language, _): &&(&str, &str, &str)| {
            (*document, *language) == (&block.document, &block.language)
        };
        block.language.is_empty()
            || CHECKED.contains(&block.language.as_str())
            || RUN_BY.iter().any(|row| names_it(&row))
    };
    let unchecked: Vec<String> = blocks.iter().filter(|block| !is_run(block)).map(Block::place).collect();
    assert_eq!(unchecked, [""; 0], "nothing runs or checks these");
    for (document, language, test) in RUN_BY {
        assert!(
            blocks.iter().any(|block| (block.document.as_str(), block.language.as_str()) == (document, language)),
            "{document} has no {language}: take it from the table"
        );
        let text = fs::read_to_string(root().join(test)).expect("a test");
        assert!(text.contains(document), "{test} does not name {document}");
    }
}

#[test]
fn the_request_of_a_hook_is_json() {
    let json = block("docs/hooks.md", "json", "{");
    serde_json::from_str::<serde_json::Value>(&json).unwrap_or_else(|error| panic!("{error}\n{json}"));
}
