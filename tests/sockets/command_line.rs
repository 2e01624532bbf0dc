//! The built binary's command line: refused arguments, and the order in which settings override each other.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use harness::{Ended, Process, Program};
use roomcast::config::{Invocation, Settings};
use tempfile::TempDir;

/// Arguments that are refused, and parts of the one line that says why.
const REFUSED: [(&[&str], &[&str]); 34] = [
    (&["--wrokers", "2"], &["no flag --wrokers: did you mean --workers?"]),
    (&["--pong_timeout", "1m"], &["no flag --pong_timeout: did you mean --pong-timeout?"]),
    (&["--port", "8080"], &["no flag --port: did you mean --tcp or --http?"]),
    (&["--colour", "red"], &["no flag --colour: see --help"]),
    (&["serve"], &["serve"]),
    (&["--workers"], &["--workers <COUNT>"]),
    (&["--workers", "0"], &["--workers 0: 1 to 1024"]),
    (&["--grace", "-5s"], &["-5: no setting has a negative value"]),
    (&["--workers", "100000"], &["--workers 100000: 1 to 1024"]),
    (&["--workers", "-1"], &["--workers \"-1\": a whole number\n"]),
    (&["--workers", "two"], &["--workers \"two\": a whole number"]),
    (&["--probes-until-end=maybe"], &["--probes-until-end \"maybe\": one of true, false"]),
    (&["--rooms", "many"], &["--rooms \"many\": a whole number"]),
    (&["--slow-after", "soon"], &["--slow-after \"soon\": a number and a unit, as in 30s"]),
    (&["--slow-after", "10"], &["--slow-after \"10\": a number and a unit, as in 30s"]),
    (&["--message-bytes", "big"], &["--message-bytes \"big\": a number and a unit, as in 64KiB"]),
    (&["--labels", "names"], &["--labels \"names\": one of ", "address, id"]),
    (&["--descriptor-tables", "none"], &["--descriptor-tables \"none\": one of shared, per-worker"]),
    (&["--tcp", "localhost"], &["--tcp \"localhost\": an address and a port, as in localhost:8080"]),
    (&["--tcp", "8080"], &["--tcp \"8080\": an address and a port, as in 127.0.0.1:8080"]),
    (&["--http", "no-such-host.invalid:80"], &["--http no-such-host.invalid:80: ", "does not resolve"]),
    (
        &["--tcp", "127.0.0.1:9", "--http", "localhost:9"],
        &["--http 127.0.0.1:9: needs another port than --tcp 127.0.0.1:9"],
    ),
    (&["--tcp", "127.0.0.1:3000"], &["http 127.0.0.1:3000: needs another port than --tcp 127.0.0.1:3000"]),
    (&["--max-clients", "1000000"], &["--max-clients 1000000: at most ", "ulimit"]),
    (&["--outbox-bytes", "1KiB"], &["--outbox-bytes 1KiB: 64KiB to 1GiB, at least message-bytes 64KiB"]),
    (
        &["--outbox-budget", "1MiB", "--workers", "64"],
        &["--outbox-budget 1MiB: 16MiB to 1024GiB, at least 4 of message-bytes 64KiB for each of --workers 64"],
    ),
    (
        &["--history-budget", "1MiB", "--shards", "64"],
        &["--history-budget 1MiB: 4352KiB to 1024GiB, at least message-bytes 64KiB and 4KiB for each of --shards 64"],
    ),
    (
        &["--ping-interval", "60s", "--pong-timeout", "30s"],
        &["--pong-timeout 30s: 2m to 1day, at least twice --ping-interval 1m"],
    ),
    (&["--cluster", "nats://localhost, other:4222"], &["--cluster other:4222: URLs of NATS servers, as in nats://"]),
    (&["--cluster-replicas", "3"], &["--cluster-replicas 3: needs cluster, the servers of the NATS"]),
    (&["--proxy-protocol", "tcp"], &["--proxy-protocol tcp: needs trusted-proxies, the networks of the proxies"]),
    (
        &["--proxy-protocol", "both", "--trusted-proxies", " ,"],
        &["--proxy-protocol both: needs --trusted-proxies, the networks of the proxies"],
    ),
    (&["--trusted-proxies", "10.0.0.1, proxy"], &["--trusted-proxies \"proxy\": a network or an address"]),
    (
        &["--allowed-origins", "https://bücher.example"],
        &["--allowed-origins \"https://bücher.example\": a host in the ASCII"],
    ),
];

#[track_caller]
fn expect_refusal(output: &Ended, parts: &[&str]) {
    let said = &output.err;
    assert_eq!(output.code, Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("roomcast: "), "{said}");
    for part in parts {
        assert!(said.contains(part), "{said:?} has no {part:?}");
    }
    assert_eq!(output.out, "");
}

#[test]
fn a_wrong_flag_ends_it_with_one_line_that_says_what_would_be_right() {
    for (arguments, parts) in REFUSED {
        expect_refusal(&Program::run(arguments), parts);
        expect_refusal(&Program::run(&[&["check-config"], arguments].concat()), parts);
    }
}

#[test]
fn a_wrong_flag_or_name_of_a_task_is_answered_with_the_right_one() {
    expect_refusal(&Program::run(&["health", "--redy"]), &["no flag --redy: did you mean --ready?"]);
    expect_refusal(&Program::run(&["drian"]), &["'drian'", "'drain'"]);
    expect_refusal(&Program::run(&["--presence-events", "true"]), &["no task true", "take no value"]);
}

#[test]
fn more_clients_than_one_table_holds_name_the_setting_that_grants_them() {
    for (workers, room, remedies) in
        [("1", 236, " or lower max-clients"), ("2", 204, ", lower max-clients or use descriptor-tables per-worker")]
    {
        let too_many = format!(
            "--max-clients 300: at most {room}, what 300 descriptors allow: raise the limit (ulimit -Hn){remedies}\n"
        );
        let arguments = ["--max-clients", "300", "--workers", workers];
        expect_refusal(&Process::run(&mut Program::command_within(300, &arguments)), &[&too_many]);
        let arguments = [&["check-config"], &arguments[..]].concat();
        expect_refusal(&Process::run(&mut Program::command_within(300, &arguments)), &[&too_many]);
    }
}

#[test]
fn a_wrong_variable_ends_it_with_one_line_that_says_what_would_be_right() {
    for (name, value, part) in [
        ("ROOMCAST_WORKERS", "0", "ROOMCAST_WORKERS 0: 1 to 1024"),
        ("ROOMCAST_WORKERS", "two", "ROOMCAST_WORKERS \"two\": a whole number"),
        ("ROOMCAST_GRACE", "later", "ROOMCAST_GRACE \"later\": a number and a unit, as in 30s"),
        ("ROOMCAST_LOG", "loud", "ROOMCAST_LOG \"loud\": one of error, warn, info, debug"),
        ("ROOMCAST_PONG_TIMEOUT", "1s", "ROOMCAST_PONG_TIMEOUT 1s: 1m to 1day, at least twice ping-interval 30s"),
        ("ROOMCAST_CONFIG", "/no/such/file", "cannot read settings file /no/such/file"),
    ] {
        let output = Process::run(Program::command(&["--tcp", "127.0.0.1:0"]).env(name, value));
        expect_refusal(&output, &[part]);
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let settings = toml::Table::try_from(Settings::default()).unwrap();
    let names = settings.keys().map(|name| name.to_uppercase().replace('-', "_"));
    let variables: Vec<String> = names.chain(["CONFIG".into()]).map(|name| format!("ROOMCAST_{name}")).collect();
    let variables: Vec<(&str, &str)> = variables.iter().map(|name| (name.as_str(), "")).collect();
    assert_eq!(effective(&[], &variables), Settings::default());
}

#[test]
fn a_variable_that_is_no_setting_is_warned_about_and_named_right() {
    let of_others =
        [("ROOMCAST_PORT", "tcp://10.0.0.1:80"), ("ROOMCAST_PORT_80_TCP_ADDR", "a"), ("ROOMCAST_SERVICE_HOST", "a")];
    for (name, question) in [
        ("ROOMCAST_WOKERS", ": did you mean ROOMCAST_WORKERS?\n"),
        ("ROOMCAST_PORT", ": did you mean ROOMCAST_TCP or ROOMCAST_HTTP?\n"),
        ("ROOMCAST_COLOUR", "does nothing\n"),
    ] {
        let output = Process::run(Program::command(&["check-config"]).envs(of_others).env(name, "3"));
        let said = &output.err;
        assert_eq!(output.code, Some(0), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("WARN") && said.contains(name) && said.ends_with(question), "{said}");
    }
}

#[test]
fn with_a_json_log_a_refusal_is_one_json_object() {
    let address = "127.0.0.1:0";
    let taken = std::net::TcpListener::bind(address).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, part) in [
        (&["--wrokers", "2"][..], "did you mean --workers?"),
        (&["--workers", "0"], "--workers 0"),
        (&["--tcp", &taken, "--http", address], "in use"),
    ] {
        let json = &["--log-format", "json"][..];
        for output in [
            Program::run(&[json, arguments].concat()),
            Program::run(&[arguments, json].concat()),
            Process::run(Program::command(arguments).env("ROOMCAST_LOG_FORMAT", "json")),
        ] {
            let said = &output.err;
            assert_eq!(output.code, Some(2), "{said}");
            let line: serde_json::Value = serde_json::from_str(said).expect(said);
            assert!(line["message"].as_str().is_some_and(|message| message.contains(part)), "{said}");
            assert_eq!(line["level"], "ERROR");
        }
    }
}

/// A settings file in a folder of its own.
pub fn settings_file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("roomcast.toml");
    fs::write(&path, text).expect("a file");
    (folder, path)
}

#[test]
fn a_settings_file_that_cannot_be_used_ends_it_with_one_line() {
    for (text, parts) in [
        ("workers = 1\nwrokers = 2\n", &["line 2: no setting `wrokers`: did you mean `workers`?"][..]),
        ("grace = \"later\"\n", &["line 1: grace \"later\": a number and a unit, as in 30s"]),
        ("workers = \n", &["line 1"]),
        ("\nworkers = 0\n", &["line 2: workers 0: 1 to 1024"]),
        ("workers = 70000\n", &["line 1: workers 70000: 1 to 1024"]),
        ("workers = \"2\"\n", &["line 1: workers \"2\": a whole number without quotes, as in workers = 10"]),
        ("slow-after = 10\n", &["line 1: slow-after 10: a duration in quotes, as in slow-after = \"10s\""]),
        ("message-bytes = 10\n", &["line 1: message-bytes 10: a size in quotes, as in message-bytes = \"64KiB\""]),
        ("probes-until-end = 1\n", &["line 1: probes-until-end 1: true or false without quotes"]),
        ("labels = 1\n", &["line 1: labels 1: a text in quotes"]),
        ("allowed-origins = [1]\n", &["line 1: allowed-origins: a list of texts in quotes"]),
        ("labels = \"\"\n", &["line 1: labels \"\": one of "]),
        ("labels = \"names\"\n", &["line 1: labels \"names\": one of "]),
        ("pong_timeout = \"1m\"\n", &["line 1: no setting `pong_timeout`: did you mean `pong-timeout`?"]),
        ("[[rule]]\nrooms = \"a\"\nhoin = \"user\"\n", &["line 3: no key `hoin` of a rule: did you mean `join`?"]),
        ("[[rule]]\nroom_members = 3\n", &["line 2: no key `room_members` of a rule: did you mean `room-members`?"]),
        ("[[rule]]\ncolour = 3\n", &["line 2: no key `colour` of a rule: a rule has name, rooms, join, publish, "]),
        (
            "[[rule]]\nrooms = \"a\"\njoin = \"user\"\nworkers = 3\n",
            &["line 4: no key `workers` of a rule: a setting of the server stands above the first [[rule]]"],
        ),
        ("[rule]\nrooms = \"a\"\njoin = \"user\"\n", &["line 1: rule: each rule begins with [[rule]]"]),
        ("[[rule]]\njoin = \"user\"\n", &["line 1: rule: needs rooms, as in rooms = \"team:*\""]),
        ("\n[[rule]]\nrooms = \"a\"\n", &["line 2: rule: needs join, as in join = \"token\""]),
        (
            "[[rule]]\nrooms = \"a\"\njoin = \"member\"\n",
            &["line 3: join \"member\": one of anyone, user, token, nobody\n"],
        ),
        (
            "[[rule]]\nrooms = \"a\"\njoin = \"user\"\npublish = \"everybody\"\n",
            &["line 4: publish \"everybody\": one of anyone, user, token, member, nobody\n"],
        ),
        ("[[rule]]\njoin = \"user\"\nrooms = [\"a\", \"b\"]\n", &["line 3: rooms […]: one pattern in quotes, as in"]),
        (
            "[[rule]]\nrooms = \"a\"\njoin = \"user\"\nhistory-age = \"5\"\n",
            &["line 4: history-age \"5\": a number and a unit, as in 30s"],
        ),
        (
            "history-age = \"5s\"\n[[rule]]\nrooms = \"a\"\njoin = \"user\"\nhistory-age = \"5ms\"\n",
            &["line 5: history-age 5ms: 1s to 1day, in the rule \"a\""],
        ),
        ("[[rule]]\nrooms = \"\"\njoin = \"user\"\n", &["line 1: rule \"\": rooms is 1 to 128 bytes of one line"]),
        ("[[rule]]\nrooms = \"a\"\njoin = \"user\"\njoin = \"user\"\n", &["line 4: duplicate key `join`"]),
        ("[server]\nworkers = 1\n", &["line 1: no setting `server`"]),
        ("config = \"other.toml\"\n", &["line 1: no setting `config`"]),
        (
            "pong-timeout = \"30s\"\nping-interval = \"60s\"\n",
            &["line 1: pong-timeout 30s: ", "line 2: ping-interval 1m"],
        ),
        ("greeting = \"two\\nlines\"\n", &["greeting \"two\\nlines\": one line"]),
    ] {
        let (_folder, path) = settings_file(text);
        let path = path.to_str().unwrap();
        expect_refusal(&Program::run(&["--tcp", "127.0.0.1:0", "--config", path]), parts);
        expect_refusal(&Program::run(&["check-config", "--config", path]), parts);
    }
    let missing = Program::run(&["--config", "/no/such/file"]);
    expect_refusal(&missing, &["cannot read settings file /no/such/file", "No such file"]);
    let folder = tempfile::tempdir().unwrap();
    expect_refusal(&Program::run(&["--config", folder.path().to_str().unwrap()]), &["cannot read settings file"]);
}

#[test]
fn a_ready_file_that_cannot_be_written_ends_it() {
    let output =
        Program::run(&["--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", "/no/such/folder/ready"]);
    expect_refusal(&output, &["cannot write the ready file /no/such/folder/ready"]);
    let output = Program::run(&["check-config", "--ready-file", "/no/such/folder/ready"]);
    expect_refusal(&output, &["cannot write the ready file /no/such/folder/ready"]);
}

/// The output of `check-config` for valid settings.
#[track_caller]
fn checked(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = Program::command(&[&["check-config"], arguments].concat());
    let output = Process::run(command.envs(variables.iter().copied()));
    assert_eq!(output.err, "");
    assert_eq!(output.code, Some(0));
    output.out
}

#[track_caller]
pub fn effective(arguments: &[&str], variables: &[(&str, &str)]) -> Settings {
    let (_folder, path) = settings_file(&checked(arguments, variables));
    Invocation::parse([OsStr::new("roomcast"), OsStr::new("--config"), path.as_os_str()]).expect("settings").settings
}

#[test]
fn check_config_prints_what_can_be_given_back() {
    assert!(effective(&["--probes-until-end"], &[]).probes_until_end);
    assert!(effective(&["--presence-events"], &[]).presence_events);
    assert!(effective(&[], &[("ROOMCAST_PROBES_UNTIL_END", "true")]).probes_until_end);
    let arguments = [
        &["--workers", "3", "--greeting", "Grüß \"dich\"", "--slow-after", "1min 30s"][..],
        &["--message-bytes", "1000B", "--labels", "id", "--max-clients", "7", "--shards", "5"],
        &["--ready-file", "ready file", "--log-format", "json"],
        &["--history-messages", "0", "--history-age", "1h 30m", "--history-budget", "1GiB", "--presence-events=true"],
    ];
    for arguments in [&[][..], &arguments.concat()] {
        let printed = checked(arguments, &[]);
        let (_folder, path) = settings_file(&printed);
        assert_eq!(checked(&["--config", path.to_str().unwrap()], &[]), printed);
    }
    assert_eq!(effective(&[], &[]), Settings::default());
    assert_eq!(effective(&arguments.concat(), &[]).greeting, "Grüß \"dich\"");
}

/// Arguments that are refused although they hold a password, in the ways in which people mistype a list.
const WITH_PASSWORDS: [&[&str]; 5] = [
    &["--cluster", "nats://ada:secret@a", "nats://ada:secret@b"],
    &["--cluster", "ada:secret@a"],
    &["--cluster=nats://ada:sec,secret@a"],
    &["--clster=nats://ada:secret@a"],
    &["nats://ada:secret@a"],
];

#[test]
fn no_password_of_nats_is_displayed() {
    let urls = "nats://ada:secret@a,nats://ada:secret@b";
    let text = checked(&[], &[("ROOMCAST_CLUSTER", urls)]);
    assert!(text.contains("cluster = [\"nats://…@a:4222\", \"nats://…@b:4222\"]\n"), "{text}");
    let (_folder, path) = settings_file(&text);
    expect_refusal(&Program::run(&["--config", path.to_str().unwrap()]), &["check-config leaves the login out"]);
    for arguments in WITH_PASSWORDS {
        let output = Program::run(arguments);
        assert_eq!(output.code, Some(2), "{}", output.err);
        assert!(!output.err.contains("secret"), "{}", output.err);
    }
}

#[test]
fn numbers_with_marks_and_names_of_hosts_are_taken_as_they_are_written() {
    let (_folder, path) = settings_file("rooms = 1_000\ntcp = \"localhost:0\"\nallowed-origins = []\n");
    let arguments = ["--config", path.to_str().unwrap(), "--http", "localhost:0"];
    let settings = effective(&arguments, &[("ROOMCAST_TRUSTED_PROXIES", " 10.0.0.1 , 10.0.0.2 ,")]);
    assert_eq!((settings.rooms, settings.trusted_proxies), (1_000, vec!["10.0.0.1".into(), "10.0.0.2".into()]));
    let text = checked(&arguments, &[]);
    assert!(text.contains("tcp = \"localhost:0\"\nhttp = \"localhost:0\"\n"), "{text}");
    let output =
        Program::run(&["--tcp", "localhost:0", "--http", "127.0.0.1:0", "--ready-file", "/no/such/folder/ready"]);
    expect_refusal(&output, &["cannot write the ready file"]);
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
fn nobody_reading_what_it_prints_is_no_failure() {
    for arguments in [&["--help"][..], &["check-config"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Process::start(Program::command(arguments).stdout(writer).stderr(Stdio::piped())).end();
        assert_eq!((output.code, output.err.as_str()), (Some(0), ""));
    }
}
