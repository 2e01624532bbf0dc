//! The dialogs of the documents, as they stand there, with the built server. A dialog is what a person types at a
//! terminal with the answers in between; a command that pipes text into `nc` is run up to the pipe, and a line client
//! says what comes out.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{Forwarder, Lines, Process, Program, WELCOME, built, until};

use super::blocks::{block, commands};

/// How the lines of the server begin. A person types every other line of a dialog.
const SAID_BY_SERVER: [&str; 9] =
    ["Welcome!", "Joined ", "You are ", "[", "END HISTORY ", "Position ", "GAP ", "ERR ", "Authenticated as "];

/// Signs a token with the secret of `main.key` that has expired so long ago that the first digits stay the same for a
/// minute.
const EXPIRED_TOKEN: &str = r#"
import base64, hashlib, hmac, json, time
part = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
parts = {"alg": "HS256"}, {"sub": "ada", "exp": int(time.time()) - 6000000}
signed = b".".join(part(json.dumps(it).encode()) for it in parts)
print((signed + b"." + part(hmac.new(open("main.key", "rb").read(), signed, hashlib.sha256).digest())).decode())
"#;

/// Types and reads a dialog line by line. `before` sees each line before it is waited for.
fn converse(client: &mut Lines, dialog: &str, mut before: impl FnMut(&str)) {
    for line in dialog.lines().filter(|line| !line.starts_with("$ ")) {
        if SAID_BY_SERVER.iter().any(|prefix| line.starts_with(prefix)) {
            before(line);
            client.expect(line);
        } else {
            client.send(format!("{line}\n"));
        }
    }
}

/// A member of a room under this name.
fn member(server: &Program, room: &str, name: &str) -> Lines {
    let mut client = Lines::member(server.tcp, room);
    client.send(format!("NICK {name}\n"));
    client.expect(&format!("You are {name}"));
    client
}

/// Says a line and hears it.
fn say(client: &mut Lines, name: &str, text: &str) {
    client.send(format!("{text}\n"));
    client.expect(&format!("[{name}] {text}"));
}

/// Waits until the room of a member has so many of them.
fn until_members(member: &mut Lines, members: usize) {
    until(|| {
        member.send("WHO\n");
        member.line().split(", ").count() == members
    });
}

/// What a command line prints in this folder, where our program is on the path.
fn print(folder: &Path, command: &str) -> String {
    let roomcast = built("roomcast");
    let path = format!("{}:/usr/bin:/bin", roomcast.parent().expect("a folder").display());
    let mut shell = Command::new("bash");
    shell.args(["--norc", "-c", command]).current_dir(folder).env_clear().env("PATH", path);
    let ended = Process::run(&mut shell);
    assert_eq!(ended.code, Some(0), "{command}: {}", ended.err);
    ended.out
}

/// What the server answers to a command line that ends in `| nc`.
fn answers(server: &Program, folder: &Path, command: &str) -> String {
    let (said, _) = command.split_once(" | nc -N localhost 8080").expect("a pipe to the server");
    let mut client = Lines::connect(server.tcp);
    client.send(print(folder, said));
    client.end_input();
    client.rest()
}

/// A server whose settings are a block of a document, in this folder.
fn start_with(folder: &Path, settings: &str) -> Program {
    fs::write(folder.join("roomcast.toml"), settings).expect("a file");
    let mut command = Program::command(&["--config", "roomcast.toml"]);
    command.current_dir(folder);
    Program::start_command(command)
}

#[test]
fn the_dialog_of_the_protocol_is_as_it_is_shown() {
    let server = Program::start(&[]);
    converse(&mut Lines::connect(server.tcp), &block("docs/protocol.md", "console", "NICK ada"), |_| {});
}

#[test]
fn the_dialogs_of_history_are_as_they_are_shown() {
    let server = Program::start(&[]);
    let mut bob = member(&server, "builds", "bob");
    for build in ["build 38 is red", "build 39 is green", "build 40 is green"] {
        say(&mut bob, "bob", build);
    }
    bob.send("POSITION\n");
    let position = bob.line();
    let (epoch, _) = position.strip_prefix("Position ").and_then(|it| it.split_once('-')).expect("a position");
    let shown = |text: &str| block("docs/history.md", "console", text).replace("1k8cgg2m5u178", epoch);

    let mut ada = Lines::connect(server.tcp);
    converse(&mut ada, &shown("NICK ada"), |line| {
        if let Some(said) = line.strip_prefix("[bob] build 41").map(|rest| format!("build 41{rest}")) {
            say(&mut bob, "bob", &said);
        }
    });
    drop(ada);
    say(&mut bob, "bob", "build 42 is red");
    say(&mut bob, "bob", "build 43 is live");
    converse(&mut Lines::connect(server.tcp), &shown("0003\nPOSITION"), |_| {});
    // The greeting is not shown again.
    let mut stranger = Lines::connect(server.tcp);
    stranger.expect(WELCOME);
    converse(&mut stranger, &shown("0099\nPOSITION"), |_| {});
}

#[test]
fn the_program_of_history_hears_each_message_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Program::start(&[]);
    let forwarder = Forwarder::start(server.tcp);
    let code = block("docs/history.md", "python", "def listen");
    let code = code.replace("\"localhost\", 8080", &format!("\"127.0.0.1\", {}", forwarder.address.port()));
    fs::write(folder.path().join("listen.py"), code).expect("a file");
    let mut bob = member(&server, "builds", "bob");
    let mut program = Process::start_piped(Command::new("python3").arg("-u").arg(folder.path().join("listen.py")));
    let heard = program.stdout();
    until_members(&mut bob, 2);
    say(&mut bob, "bob", "before");
    heard.until("[bob] before");
    forwarder.close();
    until_members(&mut bob, 1);
    say(&mut bob, "bob", "while it is away");
    forwarder.open();
    assert_eq!(heard.until("[bob] while"), ["[bob] while it is away"]);
    program.signal_until_end(harness::Signal::KILL);
}

#[test]
fn the_errors_of_the_protocol_are_as_they_are_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("main.key"), [b'k'; 32]).expect("a file");
    let rules = "token-secret-file = [\"main.key\"]\n[[rule]]\nrooms = \"news\"\njoin = \"anyone\"\npublish = \"nobody\"\n\
        [[rule]]\nname = \"team rooms\"\nrooms = \"team:*\"\njoin = \"token\"\n";
    let server = start_with(folder.path(), rules);
    let ada = print(folder.path(), "roomcast gen-token --config roomcast.toml --user ada");
    let expired = print(folder.path(), &format!("python3 -c '{EXPIRED_TOKEN}'"));
    let refused = |server: &Program, said: &str| {
        let mut client = Lines::connect(server.tcp);
        client.send(format!("{said}QUIT\n"));
        client.rest()
    };
    let open = [
        refused(&server, "JOIN a b\n"),
        refused(&server, "JOIN news\nhello\n"),
        refused(&server, "JOIN elsewhere\n"),
        refused(&server, &format!("AUTH {}\nNICK bob\n", ada.trim())),
        refused(&server, "JOIN team:a\n"),
    ];
    let closed = start_with(folder.path(), &format!("anonymous = \"deny\"\n{rules}"));
    let answers = [open.concat(), refused(&closed, "JOIN news\n")].concat();
    for (document, text) in [("docs/protocol.md", "room-name"), ("docs/protocol.md", "lets nobody")] {
        let shown = block(document, "", text);
        for line in shown.lines().filter(|line| !line.contains("expired")) {
            assert!(answers.lines().any(|answer| answer == line), "{document}: {line}\n{answers}");
        }
    }
    let late = refused(&closed, &format!("AUTH {}\n", expired.trim()));
    assert!(late.contains("ERR forbidden token: expired 60000"), "{late}");
}

#[test]
fn the_first_steps_of_security_lead_where_they_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    print(folder, &commands(&block("docs/security.md", "console", "openssl rand"))[0].0);
    let server = start_with(folder, &block("docs/security.md", "toml", "\"lobby\""));
    let start = commands(&block("docs/security.md", "console", "> token"));
    assert_eq!(start[0].0, "roomcast --config roomcast.toml");
    print(folder, &start[1].0);
    let (command, shown) = commands(&block("docs/security.md", "console", "AUTH $(cat token)")).remove(0);
    assert_eq!(answers(&server, folder, &command).lines().collect::<Vec<_>>(), shown);
    let (command, shown) = commands(&block("docs/security.md", "console", "--explain")).remove(0);
    assert_eq!(print(folder, &command).lines().collect::<Vec<_>>(), shown);
}

#[test]
fn a_key_is_printed_as_it_is_shown() {
    let (command, shown) = commands(&block("docs/security.md", "console", "gen-key")).remove(0);
    let printed = print(&std::env::temp_dir(), &command);
    // The key and its hash are other ones each time, and the hash is not shown whole.
    let same = |line: &str| {
        let line = line.split("sha256 = \"").next().unwrap_or_default().to_owned()
            + line.rsplit("\", may").next().unwrap_or_default();
        line.strip_prefix("rck_").map_or(line.clone(), |_| "rck_".to_owned())
    };
    assert_eq!(printed.lines().map(same).collect::<Vec<_>>(), shown.iter().map(|line| same(line)).collect::<Vec<_>>());
}

#[test]
fn the_shell_of_the_readme_talks_to_rooms() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Program::start(&[]);
    let lines = commands(&block("README.md", "console", "build 43 is live\\n"));
    let [said, read] = [0, 1].map(|index| answers(&server, folder.path(), &lines[index].0));
    assert!(said.contains("Joined lobby\n[") && said.contains("] build 43 is live"), "{said}");
    assert!(read.contains("] build 43 is live\nEND HISTORY "), "{read}");

    print(folder.path(), "openssl rand -base64 32 > main.key");
    let server = start_with(folder.path(), &block("README.md", "toml", "main.key"));
    let lines = commands(&block("README.md", "console", "TOKEN="));
    let command = format!("{}; {}", lines[0].0, lines[1].0);
    let said = answers(&server, folder.path(), &command);
    assert!(said.ends_with("Authenticated as ada\nJoined team:a\n[ada] hello\n"), "{said}");
}
