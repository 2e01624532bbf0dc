//! The manual pages: one of the program with its settings in groups, one of each task, and one of the settings file. All of
//! it comes from the same doc comments as the help.

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::default_file::{value, value_in_rule, who_texts};
use super::help::{EXAMPLES, PROGRAM, default, name, shown_command, texts, values};
use super::version::VERSION;
use super::{RuleSettings, Settings};

const SETTINGS_PAGE: &str = "roomcast.toml";

const FORMS: &str = "roomcast [OPTIONS]\nroomcast [OPTIONS] TASK [OPTIONS OF THE TASK]";

/// Exit codes and signals, each with its meaning.
const EXIT_CODES: [(&str, &str); 4] = [
    ("0", "The server has stopped and drained; or the task is done."),
    ("1", "The server has failed while it ran, or a second signal has ended it; or what a task asked was refused."),
    ("2", "A setting or a flag is wrong, or the server could not start. One line says why."),
    ("70", "The server has panicked. The message is in the log."),
];
const SIGNALS: [(&str, &str); 3] = [
    ("SIGTERM, SIGINT", "The server stops gently. Another one, a second later or more, ends it at once."),
    ("SIGUSR2", "The server stops gently. Another one changes nothing. `roomcast drain` sends it."),
    (
        "SIGHUP",
        "The server reads rules, keys and certificates again, from the settings file and the files that it names.",
    ),
];

const OF_SETTINGS_FILE: &str = "\
The file is TOML and holds settings as `name = value`. Counts and `true` or `false` stand without quotes; sizes (`64KiB`), \
durations (`30s`) and all other texts stand in quotes; lists in brackets. A name that is none is refused with the nearest \
right one. Flags and variables of the environment override the file. `roomcast default-config` prints a file to begin with, \
and `roomcast check-config` what applies.

SIGHUP has a running server read its file again: rules, keys and certificates apply at once, other settings after a restart.";

const OF_RULES: &str = "\
Who may do what in which rooms, and the limits of these rooms, as tables that begin with `[[rule]]` behind all settings. The \
first rule whose pattern is that of a room applies to it.";

/// All pages with the names of their files.
pub fn man_pages() -> Vec<(String, String)> {
    let mut command = shown_command();
    command.build();
    let tasks = command.get_subcommands().filter(|task| !task.is_hide_set() && task.get_name() != "help");
    let tasks = tasks.map(|task| (format!("{PROGRAM}-{}.1", task.get_name()), task_page(task)));
    let others = [(format!("{PROGRAM}.1"), main_page()), (format!("{SETTINGS_PAGE}.5"), settings_file_page())];
    others.into_iter().chain(tasks).collect()
}

/// The page of the program.
pub(super) fn main_page() -> String {
    let mut command = shown_command().disable_help_subcommand(true).override_usage(FORMS);
    command.build();
    let page = beginning(&command);
    let mut roff = Roff::new();
    section(&mut roff, "TASKS");
    let tasks = command.get_subcommands().filter(|task| !task.is_hide_set());
    for task in tasks {
        let about = task.get_about().map(ToString::to_string).unwrap_or_default();
        entry(&mut roff, vec![bold(format!("{PROGRAM}-{}", task.get_name())), roman("(1)")], [about + "."]);
    }
    let (settings, general): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().partition(|argument| argument.get_help_heading().is_some());
    let arguments = [general, settings].concat();
    for group in arguments.chunk_by(|one, other| one.get_help_heading() == other.get_help_heading()) {
        section(&mut roff, group[0].get_help_heading().unwrap_or("Options"));
        group.iter().for_each(|argument| flag(&mut roff, argument));
    }
    table(&mut roff, "EXIT STATUS", &EXIT_CODES);
    table(&mut roff, "SIGNALS", &SIGNALS);
    section(&mut roff, "EXAMPLES");
    roff.control("nf", []);
    for line in EXAMPLES.lines().skip(1) {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
    see_also(&mut roff, &["roomcast.toml(5)"]);
    page + &in_ascii(&roff)
}

/// The page of a task.
fn task_page(task: &Command) -> String {
    let page = beginning(task);
    let mut roff = Roff::new();
    section(&mut roff, "OPTIONS");
    let (of_help, others): (Vec<&Arg>, Vec<&Arg>) =
        task.get_arguments().partition(|argument| argument.get_id() == "help");
    others.into_iter().chain(of_help).for_each(|argument| flag(&mut roff, argument));
    see_also(&mut roff, &["roomcast(1)", "roomcast.toml(5)"]);
    page + &in_ascii(&roff)
}

/// The page of the settings file.
fn settings_file_page() -> String {
    let about = Command::new(SETTINGS_PAGE).about("settings of the Roomcast server");
    let page = rendered(|page| {
        let man = man(about.clone()).section("5");
        man.render_title(page).and_then(|()| man.render_name_section(page))
    });
    let mut roff = Roff::new();
    section(&mut roff, "DESCRIPTION");
    paragraphs(&mut roff, "PP", OF_SETTINGS_FILE.split("\n\n"));
    let settings = Settings::arguments();
    for group in settings.chunk_by(|one, other| one.get_help_heading() == other.get_help_heading()) {
        section(&mut roff, group[0].get_help_heading().unwrap_or_default());
        group.iter().for_each(|setting| setting_entry(&mut roff, setting));
    }
    section(&mut roff, "RULES");
    paragraphs(&mut roff, "PP", OF_RULES.split("\n\n"));
    for key in RuleSettings::arguments() {
        let header = vec![bold(name(&key)), roman(format!(" = {}", value_in_rule(&key)))];
        entry(&mut roff, header, [texts(&key).0]);
    }
    paragraphs(&mut roff, "PP", ["Who may do something is one of these:"]);
    paragraphs(&mut roff, "IP", who_texts("`").collect::<Vec<_>>().iter().map(String::as_str));
    see_also(&mut roff, &["roomcast(1)"]);
    page + &in_ascii(&roff)
}

fn setting_entry(roff: &mut Roff, setting: &Arg) {
    let name = name(setting);
    let (value, is_default) = value(setting);
    let default =
        if is_default { String::new() } else { format!("Default: {}. This is an example.", default(setting, "")) };
    let (summary, details) = texts(setting);
    let texts = [summary].into_iter().chain(details).chain(values(setting, "`")).chain([default]);
    entry(roff, vec![bold(name), roman(format!(" = {value}"))], texts.filter(|text| !text.is_empty()));
}

/// A flag or an argument of a command with its help.
fn flag(roff: &mut Roff, argument: &Arg) {
    let mut header = Vec::new();
    if let Some(short) = argument.get_short() {
        header.extend([bold(format!("-{short}")), roman(", ")]);
    }
    let value =
        argument.get_value_names().map(|names| names.join(" ")).filter(|_| argument.get_action().takes_values());
    match (argument.get_long(), value) {
        (Some(long), Some(value)) if argument.is_require_equals_set() => {
            header.extend([bold(format!("--{long}")), roman("[="), italic(value), roman("]")]);
        }
        (Some(long), Some(value)) => header.extend([bold(format!("--{long}")), roman(" "), italic(value)]),
        (Some(long), None) => header.push(bold(format!("--{long}"))),
        (None, value) => header.extend(value.map(italic)),
    }
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    entry(roff, header, help.split('\n').filter(|line| !line.is_empty()).map(|line| line.trim_start_matches("- ")));
}

/// The title, the name, the forms and the description.
fn beginning(command: &Command) -> String {
    let man = man(command.clone());
    let page = rendered(|page| {
        man.render_title(page)
            .and_then(|()| man.render_name_section(page))
            .and_then(|()| man.render_synopsis_section(page))
    });
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    section(&mut roff, "DESCRIPTION");
    paragraphs(&mut roff, "PP", about.split("\n\n"));
    page + &in_ascii(&roff)
}

fn man(command: Command) -> Man {
    Man::new(command).source(format!("{PROGRAM} {VERSION}")).manual("Roomcast")
}

fn rendered(render: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut page = Vec::new();
    render(&mut page).expect("memory takes everything");
    String::from_utf8(page).expect("a page of texts")
}

/// Characters beyond ASCII as escapes, which every formatter knows.
fn in_ascii(roff: &Roff) -> String {
    let escaped = |character: char| match character {
        '\0'..='\x7f' => character.to_string(),
        _ => format!("\\[u{:04X}]", u32::from(character)),
    };
    roff.render().chars().map(escaped).collect()
}

fn section(roff: &mut Roff, title: &str) {
    roff.control("SH", [&*title.to_uppercase()]);
}

fn table(roff: &mut Roff, title: &str, rows: &[(&str, &str)]) {
    section(roff, title);
    rows.iter().for_each(|(name, text)| entry(roff, vec![bold(*name)], [(*text).to_owned()]));
}

fn see_also(roff: &mut Roff, pages: &[&str]) {
    section(roff, "SEE ALSO");
    roff.text([roman(pages.join(", "))]);
}

/// An indented text below its header.
fn entry(roff: &mut Roff, header: Vec<Inline>, texts: impl IntoIterator<Item = impl AsRef<str>>) {
    roff.control("TP", []).text(header);
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            roff.control("IP", []);
        }
        roff.text(with_code(text.as_ref()));
    }
}

fn paragraphs<'a>(roff: &mut Roff, control: &str, texts: impl IntoIterator<Item = &'a str>) {
    for text in texts {
        roff.control(control, []).text(with_code(text));
    }
}

/// What stands in backticks is bold, since the backtick itself would become a quotation mark.
fn with_code(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { bold(part) } else { roman(part) }).collect()
}
