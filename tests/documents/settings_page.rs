//! `docs/settings.md` is what the program prints about its settings.

use std::fs;
use std::path::Path;

use roomcast::config::{Invocation, InvocationError, Settings};

fn printed(arguments: &[&str]) -> String {
    match Invocation::parse([&["roomcast"], arguments].concat()) {
        Err(InvocationError::Print(text)) => text,
        other => panic!("no text was printed: {other:?}"),
    }
}

/// To rewrite the page: `cargo run -- settings --markdown > docs/settings.md`.
#[test]
fn the_page_of_settings_is_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    let page = fs::read_to_string(path).expect("docs/settings.md");
    let rewrite = "rewrite it: cargo run -- settings --markdown > docs/settings.md";
    for (number, (kept, printed)) in page.lines().zip(printed(&["settings", "--markdown"]).lines()).enumerate() {
        assert_eq!(kept, printed, "docs/settings.md line {}; {rewrite}", number + 1);
    }
    assert_eq!(page, printed(&["settings", "--markdown"]), "docs/settings.md; {rewrite}");
}

#[test]
fn every_setting_is_on_the_page_in_both_forms() {
    let settings =
        Settings { shards: Some(1), max_clients: Some(1), ready_file: Some("".into()), ..Settings::default() };
    let settings = toml::Table::try_from(settings).expect("a table");
    let (markdown, plain) = (printed(&["settings", "--markdown"]), printed(&["settings"]));
    for name in settings.keys() {
        assert!(markdown.contains(&format!("| `{name}` |")), "{name}");
        assert!(plain.contains(&format!("\n--{name} (")), "{name}");
    }
}
