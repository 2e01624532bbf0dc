//! The command line as clap knows it, its help, and the page of all settings; all of it from the doc comments of
//! [`Settings`] and [`Task`].

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Arg, Args, Command, Subcommand, ValueHint, value_parser};
use clap_complete::{Shell, generate};

use super::sources::variable_of;
use super::version::{LONG_VERSION, VERSION};
use super::{Settings, Task};

pub(super) const PROGRAM: &str = "roomcast";
pub(super) const CONFIG: &str = "config";

const ABOUT: &str = "A real-time room server: anything said in a room reaches everyone in it";

/// The settings that `roomcast -h` shows, since most people need them. `roomcast --help` shows all.
const NEEDED_BY_MOST: [&str; 12] = [
    "tcp",
    "http",
    "max-clients",
    "history-messages",
    "allowed-origins",
    "trusted-proxies",
    "tls",
    "tls-cert",
    "tls-key",
    "token-secret-file",
    "grace",
    "log",
];

/// The settings that say where a server is, and how it wants to be spoken to.
const READ_BY_ASKERS: [&str; 4] = ["http", "tls", "trusted-proxies", "proxy-protocol"];

/// The settings that the help of a task shows, since the task reads them. It takes all others as flags too.
const READ_BY_TASKS: [(&str, &[&str]); 6] = [
    ("check-token", &["token-secret-file", "token-public-key-file", "token-jwks-file"]),
    ("drain", &READ_BY_ASKERS),
    ("gen-token", &["token-secret-file", "token-issuer", "token-audience"]),
    ("health", &READ_BY_ASKERS),
    ("publish", &READ_BY_ASKERS),
    ("rooms", &READ_BY_ASKERS),
];

pub(super) const EXAMPLES: &str = "\
Examples:
  roomcast                                           serve lines on port 8080 and HTTP on port 3000
  roomcast --tcp 0.0.0.0:8080 --http 0.0.0.0:3000    serve other hosts as well
  roomcast default-config > roomcast.toml            begin a settings file
  roomcast --config roomcast.toml                    read the settings from a file
  roomcast check-config --config roomcast.toml       print what applies, or what is wrong
  roomcast check-config --explain team:a             print who may do what in a room
  roomcast gen-token --user ada --room team:a=join   print a token for trying out
  roomcast publish lobby 'build 43 is live'          publish as a backend does
  roomcast drain                                     stop a server gently, and wait for its end
  printf 'JOIN lobby\\nbuild 43 is live\\n' | nc -N localhost 8080";

const MORE_IN_LONG_HELP: &str = "`roomcast --help` lists all settings, `roomcast help TASK` tells of a task.";

const MORE_FOR_TASKS: &str = "Every setting that `roomcast --help` lists may be given here as well.";

const INTRODUCTION: &str = "\
Every setting has one name: `--outbox-bytes` as a flag, `ROOMCAST_OUTBOX_BYTES` as an environment variable, \
`outbox-bytes` in the TOML file that `--config PATH` or `ROOMCAST_CONFIG` names. Flags override variables, which \
override the file, which overrides the defaults. `roomcast check-config` prints what applies, or one line that says \
what was set where and what would be right.

Sizes are written `64KiB`, durations `30s`. Lists are separated by commas, or are lists in the file; blanks around \
the entries do not count. An empty variable counts as unset, and a `ROOMCAST_` variable that is no setting is warned \
about.";

/// Clap's place for a flag without another is 999.
const CONFIG_ORDER: usize = 998;

/// The page fills the lines of the repository's documents; the help fits a terminal.
const PAGE_WIDTH: usize = 120;
const HELP_WIDTH: usize = 100;

/// The settings and the flag of their file, without tasks. The parsed matches hold the default of each setting that is not
/// given.
pub(super) fn settings_only() -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .help("TOML file of settings, under the names of the flags, which override it");
    Settings::augment_args(Command::new(PROGRAM).arg(config)).mut_args(|argument| argument.allow_negative_numbers(true))
}

/// The whole command line, on which settings may stand before and behind a task. The help of a task shows only the settings
/// that it reads. `is_short` if the short help is asked for.
pub(super) fn command(is_short: bool) -> Command {
    let program = program(is_short).mut_args(|argument| argument.global(true));
    let settings: Vec<Arg> = program.get_arguments().cloned().collect();
    program.mut_subcommands(|task| {
        let of_task = settings.iter().map(|setting| match of_task(setting, task.get_name()) {
            Some(shown) => shown,
            // Otherwise clap would add it as it is.
            None => setting.clone().hide(true),
        });
        let of_task: Vec<Arg> = of_task.collect();
        task.args(of_task)
    })
}

/// The command line as manual pages and completions show it: each task with only the settings that it reads.
pub(super) fn shown_command() -> Command {
    let program = program(false);
    let settings: Vec<Arg> = program.get_arguments().cloned().collect();
    program.mut_subcommands(|task| {
        let shown: Vec<Arg> = settings.iter().filter_map(|setting| of_task(setting, task.get_name())).collect();
        task.args(shown)
    })
}

/// The command line with its help. The tasks have only their own flags.
fn program(is_short: bool) -> Command {
    let settings = settings_only()
        .version(VERSION)
        .long_version(LONG_VERSION)
        .after_help(format!("{EXAMPLES}\n\n{MORE_IN_LONG_HELP}"))
        .after_long_help(EXAMPLES)
        .subcommand_help_heading("Tasks")
        .subcommand_value_name("TASK")
        .term_width(HELP_WIDTH)
        .mut_args(|argument| described(argument, is_short));
    let program = Task::augment_subcommands(settings).mut_subcommands(|task| task.after_help(MORE_FOR_TASKS));
    // After the tasks, whose doc comment would stand there.
    program.about(ABOUT).long_about(format!("{ABOUT}\n\n{INTRODUCTION}"))
}

/// The setting as the help of a task shows it; `None` if the task does not read it.
fn of_task(setting: &Arg, task: &str) -> Option<Arg> {
    let name = name(setting);
    let read = READ_BY_TASKS.iter().find(|(other, _)| *other == task).map_or(&[][..], |(_, read)| read);
    let shown = setting.clone().hide_short_help(false);
    match name {
        // Behind the flags of the task, and in front of its help.
        CONFIG => Some(shown.display_order(CONFIG_ORDER)),
        _ => read.contains(&name).then(|| shown.help_heading("Settings")),
    }
}

/// A flag with its short help, its long one, and whether the short help of the program shows it.
fn described(argument: Arg, is_short: bool) -> Arg {
    let setting = name(&argument).to_owned();
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let long_help = argument.get_long_help().map_or(help.clone(), ToString::to_string);
    let has_words = help.contains("(default: ");
    let value = Some(default(&argument, "")).filter(|value| !has_words && value != NO_DEFAULT);
    let value = value.map_or(String::new(), |value| format!("[default: {value}]"));
    let values = values(&argument, "").iter().map(|value| format!("- {value}")).collect::<Vec<_>>().join("\n");
    let variable = format!("{value} [env: {}]", variable_of(&setting));
    let paragraphs = [long_help, values, variable.trim_start().to_owned()];
    let paragraphs: Vec<String> = paragraphs.into_iter().filter(|text| !text.is_empty()).collect();
    let is_path = argument.get_value_names().is_some_and(|names| names.iter().any(|name| name == "PATH"));
    let argument = argument
        .help(format!("{help} {value}").trim_end().to_owned())
        .long_help(paragraphs.join("\n\n"))
        .hide_possible_values(true)
        .hide_default_value(true)
        .hide_short_help(setting != CONFIG && !NEEDED_BY_MOST.contains(&&*setting));
    let argument = if is_path { argument.value_hint(ValueHint::AnyPath) } else { argument };
    if is_short && setting != CONFIG { argument.help_heading("Settings that most people need") } else { argument }
}

/// A script that completes the command line in a shell.
pub(super) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut shown_command(), PROGRAM, &mut script);
    String::from_utf8(script).expect("a script of texts")
}

/// The page of all settings in their groups, in Markdown or as plain text.
pub(super) fn settings_page(is_markdown: bool) -> String {
    let mut page = String::new();
    if is_markdown {
        page += "# Settings\n\n\
            Written by `roomcast settings --markdown` from the doc comments in `src/config`.\n\n";
    }
    for paragraph in INTRODUCTION.split("\n\n") {
        wrap(&mut page, paragraph, "", PAGE_WIDTH);
    }
    let arguments = Settings::arguments();
    for group in arguments.chunk_by(|one, other| one.get_help_heading() == other.get_help_heading()) {
        let heading = group[0].get_help_heading().unwrap_or_default();
        if is_markdown {
            markdown_group(&mut page, heading, group);
        } else {
            plain_group(&mut page, heading, group);
        }
    }
    page.trim_end().to_owned() + "\n"
}

fn markdown_group(page: &mut String, heading: &str, group: &[Arg]) {
    *page += &format!("## {heading}\n\n| setting | default | |\n|---|---|---|\n");
    for argument in group {
        let (summary, _) = texts(argument);
        let _ = writeln!(page, "| `{}` | {} | {summary} |", name(argument), default(argument, "`"));
    }
    *page += "\n";
    for argument in group {
        let (_, details) = texts(argument);
        let details: Vec<String> = details.into_iter().chain(values(argument, "`")).collect();
        if !details.is_empty() {
            let text = format!("**`{}`**: {}", name(argument), details.join(" "));
            wrap(page, &linked(&text), "", PAGE_WIDTH);
        }
    }
}

/// The text with links to the other pages, which the help names by their paths.
fn linked(text: &str) -> String {
    let pages = ["cluster.md", "hooks.md", "operating.md", "protocol.md", "proxies.md"];
    pages.iter().fold(text.to_owned(), |text, page| text.replace(&format!("docs/{page}"), &format!("[{page}]({page})")))
}

fn plain_group(page: &mut String, heading: &str, group: &[Arg]) {
    *page += &format!("{}\n\n", heading.to_uppercase());
    for argument in group {
        let (summary, details) = texts(argument);
        let variable = variable_of(name(argument));
        let _ = writeln!(page, "--{} (default: {}; {variable})", name(argument), default(argument, ""));
        let text: Vec<String> = [summary].into_iter().chain(details).chain(values(argument, "")).collect();
        wrap(page, &text.join(" "), "    ", PAGE_WIDTH);
    }
}

pub(super) fn name(argument: &Arg) -> &str {
    argument.get_long().expect("every setting is a flag")
}

/// The first paragraph of the help as a sentence, without the default that it may name, and the others in one.
pub(super) fn texts(argument: &Arg) -> (String, Option<String>) {
    let summary = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let long = argument.get_long_help().map(ToString::to_string);
    let details = long.and_then(|long| long.split_once("\n\n").map(|(_, details)| details.replace("\n\n", " ")));
    (summary.split(" (default: ").next().unwrap_or_default().to_owned() + ".", details)
}

/// What is said of a setting that has no default.
const NO_DEFAULT: &str = "none";

/// The default: the value, or the words in the help where it depends on the machine. Values stand between these quotes.
pub(super) fn default(argument: &Arg, quote: &str) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    if let Some((_, words)) = help.split_once("(default: ") {
        return words.trim_end_matches(')').to_owned();
    }
    let value = argument.get_default_values().first().and_then(|value| value.to_str());
    value.map_or_else(|| NO_DEFAULT.to_owned(), |value| format!("{quote}{value}{quote}"))
}

/// One sentence on each of the values that the setting may have, where those are few.
pub(super) fn values(argument: &Arg, quote: &str) -> Vec<String> {
    let values = argument.get_possible_values();
    let described = values.iter().filter_map(|value| Some((value.get_name(), value.get_help()?.to_string())));
    described.map(|(value, help)| format!("{quote}{value}{quote}: {}.", help.trim_end_matches('.'))).collect()
}

/// Appends a paragraph in lines of at most `width_max` characters, each behind the indent, and an empty line.
pub(super) fn wrap(page: &mut String, paragraph: &str, indent: &str, width_max: usize) {
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width <= width_max {
            let _ = write!(page, " {word}");
            column += 1 + width;
        } else {
            let line_end = if column > 0 { "\n" } else { "" };
            let _ = write!(page, "{line_end}{indent}{word}");
            column = indent.len() + width;
        }
    }
    *page += "\n\n";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_that_a_help_shows_exists_and_so_does_every_task() {
        let (settings, command) = (settings_only(), command(false));
        let is_setting = |name: &&&str| settings.get_arguments().any(|setting| setting.get_long() == Some(**name));
        let of_tasks = READ_BY_TASKS.iter().flat_map(|(_, settings)| settings.iter());
        let unknown: Vec<&&str> =
            NEEDED_BY_MOST.iter().chain(of_tasks).filter(|setting| !is_setting(setting)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        for (task, _) in READ_BY_TASKS {
            assert!(command.find_subcommand(task).is_some(), "{task}");
        }
    }

    #[test]
    fn no_line_of_any_help_is_wider_than_a_terminal() {
        for mut command in [command(true), command(false)] {
            command.build();
            let tasks = command.get_subcommands().cloned();
            for mut command in [command.clone()].into_iter().chain(tasks) {
                for text in [command.render_help(), command.render_long_help()] {
                    let text = text.to_string();
                    let wide = text.lines().find(|line| line.chars().count() > HELP_WIDTH);
                    assert_eq!(wide, None, "{}", command.get_name());
                }
            }
        }
    }

    #[test]
    fn the_command_line_has_no_contradiction() {
        command(true).debug_assert();
        shown_command().debug_assert();
    }
}
