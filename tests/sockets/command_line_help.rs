//! What the built binary tells of itself: help, version, completions, manual pages, a settings file to begin with. Programs
//! that read these texts are used where they are installed.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Ended, Process, Program};
use roomcast::config::Settings;

use crate::command_line::{effective, settings_file};

/// The columns of the help, and of the settings file.
const WIDTH: usize = 100;

/// What the program prints for these arguments, without a word to standard error.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let Ended { code, out, err } = Program::run(arguments);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
    out
}

#[track_caller]
fn expect_narrow(text: &str) {
    assert_eq!(text.lines().find(|line| line.chars().count() > WIDTH), None);
}

/// The names of all settings that have a value by default.
fn names() -> Vec<String> {
    toml::Table::try_from(Settings::default()).expect("a table").keys().cloned().collect()
}

#[test]
fn the_long_help_has_every_setting_with_its_variable() {
    let text = printed(&["--help"]);
    assert!(text.starts_with("A real-time room server"), "{text}");
    expect_narrow(&text);
    for name in names() {
        assert!([" ", "["].iter().any(|end| text.contains(&format!("--{name}{end}"))), "{name}");
        let variable = format!("ROOMCAST_{}", name.to_uppercase().replace('-', "_"));
        assert!(text.contains(&format!("[env: {variable}]")), "{variable}");
    }
}

#[test]
fn the_short_help_fits_a_screen_and_says_where_the_rest_is() {
    let text = printed(&["-h"]);
    expect_narrow(&text);
    assert!(text.lines().count() <= 55, "{text}");
    for part in ["Tasks:\n", "  drain ", "Settings that most people need:\n", "--tcp <ADDRESS>", "Examples:\n"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("`roomcast --help` lists all settings"), "{text}");
    for hidden in ["--outbox-bytes", "  completions", "  man "] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
}

#[test]
fn the_help_of_a_task_has_its_own_flags_and_the_settings_that_it_reads() {
    let text = printed(&["help", "drain"]);
    assert_eq!(printed(&["drain", "--help"]), text);
    for text in [&text, &printed(&["drain", "-h"])] {
        expect_narrow(text);
        for part in ["--pid <PID>", "--http <ADDRESS>", "--config <PATH>", "`roomcast --help`"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("--workers"), "{text}");
    }
    assert!(printed(&["drain", "-h"]).lines().count() <= 20);
}

#[test]
fn a_setting_that_the_help_of_a_task_does_not_show_is_taken_before_and_behind_it() {
    for arguments in [["check-config", "--backlog", "77"], ["--backlog", "77", "check-config"]] {
        assert!(printed(&arguments).contains("\nbacklog = 77\n"));
    }
}

#[test]
fn the_short_version_is_one_line_and_the_long_one_says_how_it_was_built() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(printed(&["-V"]), format!("roomcast {version}\n"));
    let long = printed(&["--version"]);
    let lines: Vec<&str> = long.lines().collect();
    assert!(lines[0].starts_with(&format!("roomcast {version} (commit ")), "{long}");
    let beginnings = ["roomcast ", "target: ", "compiler: rustc ", "features: tls, "];
    assert!(lines.iter().zip(beginnings).all(|(line, beginning)| line.starts_with(beginning)), "{long}");
    assert_eq!(lines.len(), beginnings.len());
}

#[test]
fn what_only_tells_of_the_program_needs_no_valid_setting() {
    for arguments in [&["default-config"][..], &["settings"], &["completions", "bash"], &["man"], &["--version"]] {
        let mut command = Program::command(arguments);
        let ended = Process::run(command.env("ROOMCAST_WORKERS", "none").env("ROOMCAST_CONFIG", "/no/such/file"));
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(ended.out.contains("roomcast"), "{arguments:?}");
    }
}

/// Runs a program on a text in a file; `None`, with a message, where it is not installed.
fn read_by(program: &str, arguments: &[&str], file: &Path) -> Option<Ended> {
    let mut command = Command::new(program);
    command.args(arguments).arg(file).stdout(Stdio::piped()).stderr(Stdio::piped());
    match Process::try_start(&mut command) {
        Ok(process) => Some(process.end()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("{program} is not installed: {} is not read by it", file.display());
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

#[test]
fn the_completions_are_scripts_of_their_shells() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        for word in ["check-config", "token-secret-file", "drop-oldest"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        let path = folder.path().join(shell);
        fs::write(&path, script).unwrap();
        if ["bash", "zsh", "fish"].contains(&shell)
            && let Some(ended) = read_by(shell, &["-n"], &path)
        {
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{shell}");
        }
    }
    let refused = Program::run(&["completions", "csh"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("one of bash, elvish, fish, powershell, zsh"), "{}", refused.err);
}

#[test]
fn bash_completes_tasks_flags_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("completions");
    let script = printed(&["completions", "bash"]);
    for (line, completed) in [
        ("roomcast --back", "--backlog"),
        ("roomcast check-", "check-config check-token"),
        ("roomcast --slow d", "disconnect drop-oldest"),
        ("roomcast drain --pi", "--pid"),
    ] {
        let last = line.split(' ').count() - 1;
        let called = line.split(' ').skip(last).collect::<String>();
        let previous = line.split(' ').nth(last - 1).unwrap();
        let ask = format!(
            "COMP_WORDS=({line})\nCOMP_CWORD={last}\n_roomcast roomcast '{called}' '{previous}'\n\
             complete -p roomcast >&2\necho ${{COMPREPLY[@]}}\n"
        );
        fs::write(&path, format!("{script}\n{ask}")).unwrap();
        let Some(ended) = read_by("bash", &[], &path) else { return };
        assert_eq!(ended.out.trim(), completed, "{line}: {}", ended.err);
        assert!(ended.err.contains("-F _roomcast"), "{}", ended.err);
    }
}

#[test]
fn the_manual_pages_have_every_setting_and_every_task_and_are_formatted_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    let paths = printed(&["man", "--dir", pages.to_str().unwrap()]);
    let read = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    assert_eq!(read("roomcast.1"), printed(&["man"]));
    let (program, file) = (read("roomcast.1").replace("\\-", "-"), read("roomcast.toml.5").replace("\\-", "-"));
    for name in names() {
        assert!(program.contains(&format!("--{name}")), "{name}");
        assert!(file.contains(&format!("\n\\fB{name}\\fR = ")), "{name}");
    }
    for task in ["check-config", "default-config", "drain", "gen-key", "health", "publish"] {
        assert!(pages.join(format!("roomcast-{task}.1")).exists(), "{task}");
        assert!(program.contains(&format!("roomcast-{task}")), "{task}");
    }
    for path in paths.lines().map(Path::new) {
        for (program, arguments) in
            [("groff", &["-man", "-ww", "-Tutf8", "-P-cbou"][..]), ("man", &["--warnings", "-l"])]
        {
            if let Some(ended) = read_by(program, arguments, path) {
                assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", path.display());
                assert!(ended.out.contains("SEE ALSO"), "{}", path.display());
            }
        }
    }
}

#[test]
fn manual_pages_that_cannot_be_written_are_named() {
    let ended = Program::run(&["man", "--dir", "/proc/man"]);
    assert_eq!((ended.code, ended.err.lines().count()), (Some(2), 1), "{}", ended.err);
    assert!(ended.err.contains("cannot make the folder /proc/man: "), "{}", ended.err);
}

/// The settings file with every default uncommented: all but examples, which a line in front of them announces.
fn with_defaults_uncommented(file: &str) -> String {
    let (settings, _) = file.split_once("# [[rule]]").expect("a rule");
    let mut before = "";
    let line = |line| {
        let is_example = std::mem::replace(&mut before, line).ends_with("An example:");
        let setting = line.strip_prefix("# ").filter(|_| !is_example);
        format!("{}\n", setting.unwrap_or(line))
    };
    settings.lines().map(line).collect()
}

#[test]
fn the_default_settings_file_is_accepted_and_changes_nothing() {
    let file = printed(&["default-config"]);
    expect_narrow(&file);
    let uncommented = with_defaults_uncommented(&file);
    assert!(uncommented.contains("\nping-interval = \"30s\"\n"), "{uncommented}");
    for text in [&file, &uncommented] {
        let (_folder, path) = settings_file(text);
        assert_eq!(effective(&["--config", path.to_str().unwrap()], &[]), Settings::default());
    }
    for name in names() {
        assert!(file.contains(&format!("\n# {name} = ")), "{name}");
    }
}
