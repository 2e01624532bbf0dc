//! The instructions in `docs/performance.md` are those that `benches/instructions` keeps.

use std::collections::BTreeMap;
use std::fs;

use super::blocks::root;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a file of the repository")
}

#[test]
fn the_instructions_of_the_page_are_those_that_were_counted() {
    let (counts, page) = (read("benches/instructions/counts.txt"), read("docs/performance.md"));
    // Lines without a count are about the file.
    let counted: BTreeMap<&str, &str> = counts
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(_, count)| count.parse::<u64>().is_ok())
        .map(|(case, count)| (case.trim(), count))
        .collect();
    let (_, table) = page.split_once("\n| step | instructions | |\n").expect("a table of instructions");
    let documented: BTreeMap<&str, &str> = table
        .lines()
        .skip(1)
        .map_while(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(case, cells)| Some((case, cells.split_once(" |")?.0)))
        .collect();
    assert_eq!(counted, documented);
}
