//! The commands of the built binary around tokens, keys and rules.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use harness::{CertificateFiles, Ended, Identity, Process, Program};
use roomcast::auth::api_keys::{ApiKeys, ApiRight};
use roomcast::protocol::names::RoomName;
use tempfile::TempDir;

const RULES: &str = "\
[[rule]]
name = \"team rooms\"
rooms = \"team:*\"
join = \"token\"
publish = \"token\"
";

/// A folder with a secret `main.key` and a settings file that names it.
struct Files(TempDir);

impl Files {
    fn new(settings: &str) -> Self {
        let files = Self(tempfile::tempdir().expect("a folder"));
        files.write("main.key", "0123456789abcdef0123456789abcdef\n");
        let secret = files.path("main.key");
        files.write("roomcast.toml", &format!("token-secret-file = [{secret:?}]\n{settings}"));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
        fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).expect("a file");
    }

    /// Runs a command with the settings file.
    fn run(&self, arguments: &[&str]) -> Ended {
        let config = self.path("roomcast.toml");
        Program::run(&[arguments, &["--config", config.to_str().expect("a path in UTF-8")]].concat())
    }

    /// What a command prints that succeeds.
    #[track_caller]
    fn print(&self, arguments: &[&str]) -> String {
        let Ended { code, out, err } = self.run(arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        out
    }

    /// A file with the token that `gen-token` prints for these arguments.
    #[track_caller]
    fn token(&self, arguments: &[&str]) -> String {
        self.write("token", &self.print(&[&["gen-token"], arguments].concat()));
        self.path("token").to_str().expect("a path in UTF-8").to_owned()
    }
}

#[track_caller]
fn expect_refusal(ended: &Ended, parts: &[&str]) {
    let Ended { code, out, err } = ended;
    assert_eq!((*code, out.as_str(), err.lines().count()), (Some(2), "", 1), "{err}");
    assert!(parts.iter().all(|part| err.contains(part)), "{err}");
}

#[test]
fn a_generated_key_is_accepted_from_the_line_that_is_printed_for_it() {
    let arguments = ["gen-key", "backend", "--may", "publish,history", "--room", "team:*"];
    let output = Program::run(&arguments);
    assert_eq!((output.code, output.err.as_str()), (Some(0), ""));
    let [_, key, _, line] = output.out.lines().collect::<Vec<_>>()[..] else { panic!("{}", output.out) };
    let keys = ApiKeys::parse(line).unwrap();
    let found = keys.authenticate(key).unwrap();
    assert_eq!(found.name(), "backend");
    assert!(found.may(ApiRight::History, Some(&RoomName::parse("team:a").unwrap())));
    assert!(!found.may(ApiRight::History, Some(&RoomName::parse("desk").unwrap())));
    assert_ne!(Program::run(&arguments).out, output.out);
}

#[test]
fn a_key_with_a_bad_name_or_right_is_refused() {
    expect_refusal(&Program::run(&["gen-key", "two words"]), &["the name of a key \"two words\": 1 to 64 letters"]);
    expect_refusal(&Program::run(&["gen-key", "a", "--may", "read"]), &["may \"read\": one of publish, "]);
    expect_refusal(&Program::run(&["gen-key"]), &["<NAME>"]);
}

#[test]
fn a_generated_token_is_valid_and_explained() {
    let files = Files::new("token-issuer = 'tests'\ntoken-audience = 'rooms'\n");
    let rooms = ["--room", "team:*=join,publish", "--room", "a=b=history"];
    let token = files.token(&[&["--user", "u1", "--name", "Ada Lovelace", "--expires", "30m"], &rooms[..]].concat());
    let words = files.print(&["check-token", &token]);
    for part in [
        "\"kid\": \"main\"",
        "\"iss\": \"tests\"",
        "keys of this server: main (HS256, HS384, HS512)\n",
        "valid: yes\n",
        "user: \"u1\"\n",
        "label: \"Ada Lovelace\"\n",
        " a=b (history) team:* (join, publish)\n",
        "server-side subscriptions: none\n",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn the_token_of_a_subscription_is_made_and_explained_as_one() {
    let files = Files::new("");
    let token = files.token(&["--user", "u1", "--channel", "$team:a"]);
    let words = files.print(&["check-token", &token]);
    for part in [
        "\"channel\": \"$team:a\"",
        "valid: yes\na subscription to the room: \"$team:a\"\nuser: \"u1\"\nclient: any of the user\nsubscription ends: ",
        "rights where a rule asks for a token: join, history, presence\n",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    expect_refusal(&files.run(&["gen-token", "--channel", "a b"]), &["a server would refuse this token", "\"a b\""]);
    expect_refusal(&files.run(&["gen-token", "--channel", "a", "--room", "a=join"]), &["cannot be used with"]);
}

#[test]
fn a_token_is_read_from_standard_input_too() {
    let files = Files::new("");
    let token = files.print(&["gen-token", "--user", "ada"]);
    let config = files.path("roomcast.toml");
    let mut command = Program::command(&["check-token", "-", "--config", config.to_str().unwrap()]);
    let (process, mut input) = Process::start_with_input(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    input.write_all(token.as_bytes()).unwrap();
    drop(input);
    let ended = process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("user: \"ada\"\n"), "{}", ended.out);
}

#[test]
fn a_token_that_is_not_valid_is_explained_too_and_fails_without_being_shown() {
    let files = Files::new("");
    let token = files.token(&["--user", "ada"]);
    let text = fs::read_to_string(&token).unwrap();
    let forged = text.trim().rsplit_once('.').unwrap().0.to_owned() + ".AAAA";
    files.write("forged", &forged);
    let ended = files.run(&["check-token", files.path("forged").to_str().unwrap()]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.out.contains("\"sub\": \"ada\"") && ended.out.contains("valid: no, the signature"), "{}", ended.out);
    assert!(ended.err.contains("the token is not valid: the signature is of another key"), "{}", ended.err);
    assert!(!(ended.out + &ended.err).contains(&forged));
    // Its sub would clear the screen.
    files.write("forged", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiLCmzJKIn0.AAAA");
    let ended = files.run(&["check-token", files.path("forged").to_str().unwrap()]);
    assert!(ended.out.contains("\"sub\": \"\u{fffd}2J\""), "{}", ended.out);
}

#[test]
fn a_token_needs_a_secret_and_a_name_within_the_rule() {
    expect_refusal(&Program::run(&["gen-token"]), &["no token-secret-file", "openssl rand -base64 32"]);
    let files = Files::new("");
    expect_refusal(&files.run(&["gen-token", "--kid", "other"]), &["--kid other: no token-secret-file of this name"]);
    expect_refusal(&files.run(&["gen-token", "--name", "~ada"]), &["a server would refuse this token", "~"]);
    expect_refusal(&files.run(&["gen-token", "--room", "team"]), &["--room team: as in team:*=join,publish"]);
    expect_refusal(&files.run(&["gen-token", "--room", "a=read"]), &["\"read\" is none of join, publish"]);
    expect_refusal(&files.run(&["gen-token", "--expires", "soon"]), &["--expires \"soon\": a number and a unit"]);
}

#[test]
fn the_rule_of_a_room_is_explained_for_clients_with_and_without_a_token() {
    let files = Files::new(RULES);
    let words = files.print(&["check-config", "--explain", "team:a"]);
    for part in ["rule: number 1, \"team rooms\"", "client: without a token\n", "join: no; the rule lets only tokens"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let token = files.token(&["--user", "ada", "--room", "team:a=join"]);
    let words = files.print(&["check-config", "--explain", "team:a", "--token", &token]);
    for part in ["client: with a token of the user \"ada\"\n", "join: yes; ", "publish: no; "] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let words = files.print(&["check-config", "--explain", "lobby"]);
    assert!(words.contains("none names the room"), "{words}");
    expect_refusal(&files.run(&["check-config", "--explain", "a b"]), &["--explain \"a b\": 1 to 128 bytes"]);
    expect_refusal(&files.run(&["check-config", "--token", &token]), &["--explain"]);
}

#[test]
fn check_config_reads_every_file_that_the_settings_name() {
    let files = Files::new("");
    assert!(files.print(&["check-config"]).contains("token-secret-file"));
    for (arguments, part) in [
        (
            &["--token-jwks-file", "/no/such/set.json"][..],
            "--token-jwks-file /no/such/set.json: cannot be read: No such",
        ),
        (&["--api-keys-file", "/no/such/keys"], "--api-keys-file /no/such/keys: cannot be read: No such file"),
        (&["--tls", "http", "--tls-cert", "/no/c", "--tls-key", "/no/k"], "--tls-cert /no/c: cannot be read: No such"),
    ] {
        expect_refusal(&files.run(&[&["check-config"], arguments].concat()), &[part]);
    }
    fs::set_permissions(files.path("main.key"), Permissions::from_mode(0o644)).unwrap();
    let ended = files.run(&["check-config"]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.contains("every user of this system can read the secret"), "{}", ended.err);
}

#[test]
fn check_config_warns_of_a_rule_that_never_applies() {
    let ended = Files::new(&format!("{RULES}[[rule]]\nrooms = \"team:a\"\njoin = \"nobody\"\n")).run(&["check-config"]);
    assert_eq!((ended.code, ended.err.lines().count()), (Some(0), 1), "{}", ended.err);
    let warning = r#"rule 2 "team:a" never applies: rule 1 "team rooms" names its rooms first"#;
    assert!(ended.err.contains("WARN") && ended.err.contains(warning), "{}", ended.err);
}

#[test]
fn wrong_files_of_tls_with_nats_are_refused_by_check_config_and_by_the_start() {
    let files = Files::new("cluster = \"tls://127.0.0.1:9\"\n");
    let other = tempfile::tempdir().expect("a folder");
    let CertificateFiles { certificate, .. } = Identity::self_signed(&["localhost"]).write(files.0.path());
    let CertificateFiles { key: key_of_other, .. } = Identity::self_signed(&["localhost"]).write(other.path());
    let secret = files.path("main.key");
    let [certificate, other, secret] = [&certificate, &key_of_other, &secret].map(|path| path.to_str().unwrap());
    let (no_certificate, no_key) =
        ("must hold PEM sections BEGIN CERTIFICATE", "must hold a PEM section BEGIN PRIVATE KEY");
    for (arguments, file, rule) in [
        (&["--cluster-ca", "/no/ca"][..], "--cluster-ca /no/ca: ", "cannot be read: No such file"),
        (&["--cluster-ca", secret], "main.key: ", no_certificate),
        (
            &["--cluster-certificate", "/no/c", "--cluster-key", other],
            "--cluster-certificate /no/c: ",
            "cannot be read",
        ),
        (&["--cluster-certificate", other, "--cluster-key", other], "--cluster-certificate ", no_certificate),
        (&["--cluster-certificate", certificate, "--cluster-key", "/no/k"], "--cluster-key /no/k: ", "cannot be read"),
        (&["--cluster-certificate", certificate, "--cluster-key", certificate], "--cluster-key ", no_key),
        (
            &["--cluster-certificate", certificate, "--cluster-key", other],
            "--cluster-key ",
            "must be the private key of",
        ),
    ] {
        expect_refusal(&files.run(&[&["check-config"], arguments].concat()), &[file, rule]);
        expect_refusal(&files.run(arguments), &[file, rule]);
    }
    let config = format!("cluster = \"tls://127.0.0.1:9\"\ncluster-ca = {secret:?}\n");
    files.write("roomcast.toml", &config);
    expect_refusal(&files.run(&["check-config"]), &["roomcast.toml line 2: cluster-ca ", no_certificate]);
}
