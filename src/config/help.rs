//! The command line as clap knows it, its help, and the page of all settings; all of it from the doc comments of
//! [`Settings`].

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Arg, Args, Command, Subcommand, value_parser};

use super::sources::variable_of;
use super::{Settings, Task};

pub(super) const PROGRAM: &str = "roomcast";
pub(super) const CONFIG: &str = "config";

const EXAMPLES: &str = "\
Examples:
  roomcast                                           serve lines on port 8080 and HTTP on port 3000
  roomcast --tcp 0.0.0.0:8080 --http 0.0.0.0:3000    serve other hosts as well
  roomcast --config /etc/roomcast.toml               read the settings from a file
  roomcast check-config --config /etc/roomcast.toml  print what applies, or what is wrong
  roomcast check-config --explain team:a             print who may do what in a room
  roomcast gen-token --user ada --room team:a=join   print a token for trying out
  roomcast publish lobby 'build 43 is live'          publish as a backend does, with the key in ROOMCAST_API_KEY
  printf 'JOIN lobby\\nbuild 43 is live\\n' | nc -N localhost 8080";

const INTRODUCTION: &str = "\
Every setting has one name: `--outbox-bytes` as a flag, `ROOMCAST_OUTBOX_BYTES` as an environment variable, \
`outbox-bytes` in the TOML file that `--config PATH` or `ROOMCAST_CONFIG` names. Flags override variables, which \
override the file, which overrides the defaults. `roomcast check-config` prints what applies, or one line that says \
what was set where and what would be right.

Sizes are written `64KiB`, durations `30s`. Lists are separated by commas, or are lists in the file; blanks around \
the entries do not count. An empty variable counts as unset, and a `ROOMCAST_` variable that is no setting is warned \
about.";

/// The page fills the lines of the repository's documents; the help fits a terminal behind the indent of clap.
const PAGE_WIDTH: usize = 120;
const HELP_WIDTH: usize = 90;

/// The whole command line. The parsed matches hold the default of each setting that is not given.
pub(super) fn command() -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .help("TOML file of settings, under the names of the flags, which override it");
    let settings = Settings::augment_args(Command::new(PROGRAM).version(env!("CARGO_PKG_VERSION")).arg(config))
        .after_help(EXAMPLES)
        .term_width(PAGE_WIDTH)
        .mut_args(|argument| described(argument).global(true).allow_negative_numbers(true));
    // After the tasks, whose doc comment would stand there.
    Task::augment_subcommands(settings).about("A real-time room server: anything said in a room reaches everyone in it")
}

/// The long help of a flag: its paragraphs, its possible values, its variable.
fn described(argument: Arg) -> Arg {
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = String::new();
    for paragraph in help.split("\n\n").map(str::to_owned).chain(values(&argument, "")) {
        wrap(&mut text, &paragraph, "", HELP_WIDTH);
    }
    let variable = variable_of(argument.get_long().unwrap_or_default());
    argument.long_help(format!("{text}[env: {variable}]")).hide_possible_values(true)
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

fn name(argument: &Arg) -> &str {
    argument.get_long().expect("every setting is a flag")
}

/// The first paragraph of the help as a sentence, without the default that it may name, and the others in one.
fn texts(argument: &Arg) -> (String, Option<String>) {
    let summary = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let long = argument.get_long_help().map(ToString::to_string);
    let details = long.and_then(|long| long.split_once("\n\n").map(|(_, details)| details.replace("\n\n", " ")));
    (summary.split(" (default: ").next().unwrap_or_default().to_owned() + ".", details)
}

/// The default: the value, or the words in the help where it depends on the machine. Values stand between these quotes.
fn default(argument: &Arg, quote: &str) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    if let Some((_, words)) = help.split_once("(default: ") {
        return words.trim_end_matches(')').to_owned();
    }
    let value = argument.get_default_values().first().and_then(|value| value.to_str());
    value.map_or_else(|| "none".to_owned(), |value| format!("{quote}{value}{quote}"))
}

/// One sentence on each of the values that the setting may have, where those are few.
fn values(argument: &Arg, quote: &str) -> Vec<String> {
    let values = argument.get_possible_values();
    let described = values.iter().filter_map(|value| Some((value.get_name(), value.get_help()?.to_string())));
    described.map(|(value, help)| format!("{quote}{value}{quote}: {}.", help.trim_end_matches('.'))).collect()
}

/// Appends a paragraph in lines of at most `width_max` characters, each behind the indent, and an empty line.
fn wrap(page: &mut String, paragraph: &str, indent: &str, width_max: usize) {
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
