//! The built binary's command line: what is refused, and what overrides what.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use roomcast::config::Settings;
use tempfile::TempDir;

use crate::harness::{command, command_within, run, run_to_end};

/// Arguments that cannot be followed, and what the one line about them holds.
const REFUSED: [(&[&str], &[&str]); 12] = [
    (&["--wrokers", "2"], &["--wrokers", "--workers"]),
    (&["serve"], &["serve"]),
    (&["--workers"], &["--workers <COUNT>"]),
    (&["--workers", "0"], &["'--workers <COUNT>': 0 is not in 1..=1024"]),
    (&["--workers", "two"], &["'two'", "--workers"]),
    (&["--slow-after", "soon"], &["duration \"soon\": a number and a unit, as in 30s"]),
    (&["--message-bytes", "big"], &["size \"big\": a number and a unit, as in 64KiB"]),
    (&["--labels", "names"], &["'names'", "address, id"]),
    (&["--descriptor-tables", "none"], &["'none'", "shared, per-worker"]),
    (&["--tcp", "localhost"], &["'localhost'", "--tcp <ADDRESS>"]),
    (&["--max-clients", "1000000"], &["max-clients 1000000", "ulimit"]),
    (&["--outbox-bytes", "1KiB"], &["outbox-bytes 1KiB: 64KiB to 1GiB"]),
];

#[track_caller]
fn expect_refusal(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("roomcast: "), "{said}");
    for part in parts {
        assert!(said.contains(part), "{said:?} has no {part:?}");
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn a_wrong_flag_ends_it_with_one_line_that_says_what_would_be_right() {
    for (arguments, parts) in REFUSED {
        expect_refusal(&run(arguments), parts);
    }
}

#[test]
fn more_clients_than_one_table_holds_name_the_setting_that_grants_them() {
    for (workers, room, remedies) in
        [("1", 236, " or lower max-clients"), ("2", 204, ", lower max-clients or use --descriptor-tables per-worker")]
    {
        let too_many = format!(
            "max-clients 300 is more than {room}, what 300 descriptors allow: raise the limit (ulimit -Hn){remedies}\n"
        );
        let output = run_to_end(&mut command_within(300, &["--max-clients", "300", "--workers", workers]));
        expect_refusal(&output, &[&too_many]);
    }
}

#[test]
fn a_wrong_variable_ends_it_with_one_line_that_says_what_would_be_right() {
    for (name, value, part) in [
        ("ROOMCAST_WORKERS", "0", "'--workers <COUNT>': 0 is not in 1..=1024"),
        ("ROOMCAST_WORKERS", "two", "'two'"),
        ("ROOMCAST_GRACE", "later", "duration \"later\": a number and a unit, as in 30s"),
        ("ROOMCAST_CONFIG", "/no/such/file", "cannot read settings file /no/such/file"),
    ] {
        let output = run_to_end(command(&["--tcp", "127.0.0.1:0"]).env(name, value));
        expect_refusal(&output, &[part]);
    }
}

/// A settings file in a folder of its own.
fn settings_file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("roomcast.toml");
    fs::write(&path, text).expect("a file");
    (folder, path)
}

#[test]
fn a_settings_file_that_cannot_be_used_ends_it_with_one_line() {
    for (text, parts) in [
        ("workers = 1\nwrokers = 2\n", &["line 2", "`wrokers`", "`workers`"][..]),
        ("grace = \"later\"\n", &["line 1", "as in 30s"]),
        ("workers = \n", &["line 1"]),
        ("workers = 0\n", &["workers 0: 1 to 1024"]),
        ("greeting = \"two\\nlines\"\n", &["greeting \"two\\nlines\": one line"]),
    ] {
        let (_folder, path) = settings_file(text);
        let path = path.to_str().unwrap();
        expect_refusal(&run(&["--tcp", "127.0.0.1:0", "--config", path]), parts);
        expect_refusal(&run(&["check-config", "--config", path]), parts);
    }
    let missing = run(&["--config", "/no/such/file"]);
    expect_refusal(&missing, &["cannot read settings file /no/such/file", "No such file"]);
    let folder = tempfile::tempdir().unwrap();
    expect_refusal(&run(&["--config", folder.path().to_str().unwrap()]), &["cannot read settings file"]);
}

#[test]
fn a_ready_file_that_cannot_be_written_ends_it() {
    let output = run(&["--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", "/no/such/folder/ready"]);
    expect_refusal(&output, &["cannot write the ready file /no/such/folder/ready"]);
}

/// What `check-config` prints, which is no refusal.
#[track_caller]
fn checked(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = command(&[&["check-config"], arguments].concat());
    let output = run_to_end(command.envs(variables.iter().copied()));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn effective(arguments: &[&str], variables: &[(&str, &str)]) -> Settings {
    toml::from_str(&checked(arguments, variables)).expect("settings")
}

#[test]
fn check_config_prints_what_can_be_given_back() {
    let arguments = [
        &["--workers", "3", "--greeting", "Grüß \"dich\"", "--slow-after", "1min 30s"][..],
        &["--message-bytes", "1000B", "--labels", "id", "--max-clients", "7", "--shards", "5"],
        &["--ready-file", "some where/ready", "--log-format", "json"],
    ];
    for arguments in [&[][..], &arguments.concat()] {
        let printed = checked(arguments, &[]);
        let (_folder, path) = settings_file(&printed);
        assert_eq!(checked(&["--config", path.to_str().unwrap()], &[]), printed);
    }
    assert_eq!(effective(&[], &[]), Settings::default());
    assert_eq!(effective(&arguments.concat(), &[]).greeting, "Grüß \"dich\"");
}

#[test]
fn a_flag_overrides_a_variable_a_variable_the_file_and_the_file_the_default() {
    let (_folder, path) = settings_file("workers = 3\nbacklog = 30\ngreeting = \"file\"\n");
    let config = ["--config", path.to_str().unwrap()];
    let variables = [("ROOMCAST_WORKERS", "5"), ("ROOMCAST_BACKLOG", "50")];
    let settings = effective(&[&config[..], &["--workers", "7"]].concat(), &variables);
    let expected = Settings { workers: 7, backlog: 50, greeting: "file".into(), ..Settings::default() };
    assert_eq!(settings, expected);
}

#[test]
fn the_settings_file_can_be_named_by_a_variable_and_a_flag_overrides_that_too() {
    let (_one, one) = settings_file("workers = 3\n");
    let (_two, two) = settings_file("workers = 4\n");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let variables = [("ROOMCAST_CONFIG", &*text(&one))];
    assert_eq!(effective(&[], &variables).workers, 3);
    assert_eq!(effective(&["--config", &text(&two)], &variables).workers, 4);
}

#[test]
fn help_and_version_are_no_mistakes() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    let settings = toml::Table::try_from(Settings::default()).unwrap();
    for name in settings.keys() {
        assert!(text.contains(&format!("--{name} ")), "{name}");
    }
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("roomcast {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn nobody_reading_what_it_prints_is_no_failure() {
    for arguments in [&["--help"][..], &["check-config"]] {
        let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr)), (Some(0), "".into()));
    }
}
