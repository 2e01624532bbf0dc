//! The tables of errors and endings in `docs/protocol.md` and `docs/sdks.md` name every code that the server has, and no
//! other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use roomcast::protocol::centrifuge::disconnect_code;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::protocol::error_code::ErrorCode;
use strum::VariantArray;

use super::blocks::root;

/// The cells of each row of the table in a document with this head.
fn table(document: &str, head: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join(document)).expect("a document");
    let (_, behind) = text.split_once(&format!("\n{head}\n")).unwrap_or_else(|| panic!("{document} has no {head}"));
    let rows = behind.lines().skip(1).map_while(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    rows.map(|row| row.split(" |").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The words of a cell such as "`room-name`, `nick`".
fn words(cell: &str) -> impl Iterator<Item = String> {
    cell.split(", ").map(|word| word.trim_matches('`').to_owned())
}

#[test]
fn every_reason_of_an_ending_is_in_the_table_with_its_close_code() {
    let code = |reason: &Disconnect| reason.close_code().map_or_else(|| "–".to_owned(), |code| code.to_string());
    let known: BTreeMap<String, String> =
        Disconnect::VARIANTS.iter().map(|reason| (reason.reason().to_owned(), code(reason))).collect();
    let rows = table("docs/protocol.md", "| reason | close code | cause |");
    let documented = rows.iter().flat_map(|row| words(&row[0]).map(|reason| (reason, row[1].clone()))).collect();
    assert_eq!(known, documented);
}

#[test]
fn every_code_of_an_error_is_in_the_table() {
    let known: BTreeSet<String> = ErrorCode::VARIANTS.iter().map(|code| code.word().to_owned()).collect();
    let rows = table("docs/protocol.md", "| code | cause |");
    let documented: BTreeSet<String> = rows.iter().flat_map(|row| words(&row[0])).collect();
    assert_eq!(known, documented);
}

#[test]
fn every_code_with_which_a_connection_of_an_sdk_ends_is_in_the_table_with_what_the_sdk_does() {
    let rows = table("docs/sdks.md", "| a connection ends with | cause | the SDK |");
    // Nothing is sent with 3000.
    let codes = Disconnect::VARIANTS.iter().map(|reason| disconnect_code(*reason).0).filter(|code| *code != 3000);
    let documented: BTreeSet<u16> = rows.iter().map(|row| row[0].parse().expect("a code")).collect();
    assert_eq!(codes.collect::<BTreeSet<u16>>(), documented);
    for row in &rows {
        let does = match row[0].parse().expect("a code") {
            1009 | 3500..=3999 | 4500..=4999 => "stays away",
            _ => "connects again",
        };
        assert!(row[2].starts_with(does), "{row:?}");
    }
}
