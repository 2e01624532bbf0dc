//! Every promise in the tables of `docs/reliability.md` names a test. That the test is there is a matter of `links`.

use std::fs;
use std::path::Path;

use crate::links::TESTS;

/// The promises without a test. A row whose first cell is bold is a heading.
fn untested(page: &str) -> Vec<&str> {
    let tables = page.split("\n| promise | test |\n").skip(1);
    let rows = tables.flat_map(|table| table.lines().skip(1).take_while(|line| line.starts_with('|')));
    let rows = rows.filter(|row| !row.starts_with("| **"));
    let names_a_test = |row: &str| TESTS.iter().any(|tests| row.contains(&format!("`{tests}")));
    rows.filter(|row| !names_a_test(row)).collect()
}

#[test]
fn every_promise_has_a_test() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let page = fs::read_to_string(path).expect("docs/reliability.md");
    assert_eq!(page.matches("\n| promise | test |\n").count(), 2, "those of all promises and of security");
    assert_eq!(untested(&page), Vec::<&str>::new());
}

#[test]
fn a_promise_without_a_test_is_found() {
    let table = |promise: &str| format!("\n| promise | test |\n|---|---|\n| **Order** | |\n{promise}\n\n| d | |\n");
    let page = table("| a | `sockets::a::b` |\n| c | by eye |") + &table("| e | `units::a` |\n| f | |");
    assert_eq!(untested(&page), ["| c | by eye |", "| f | |"]);
}
