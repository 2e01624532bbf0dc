//! Every target with the inputs that were kept for it: seeds, those that reach most of the code, and those that once found
//! a fault. No fuzzer is needed.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;

/// The longest input that is kept, in bytes, and the most of all of them together.
const INPUT_BYTES_MAX: usize = 4 * 1024;
const CORPORA_BYTES_MAX: usize = 1024 * 1024;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The names of what a folder holds, without extensions.
fn names_in(name: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder(name)).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| path.file_stem().expect("a name").to_str().expect("text").to_owned()).collect()
}

/// The inputs that are kept for a target, by their paths.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = folder("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

#[test]
fn every_property_holds_for_the_inputs_that_were_kept() {
    let mut failed = Vec::new();
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has no seed");
        // An empty input is one as well, which no file of a repository needs to hold.
        for (path, input) in inputs.into_iter().chain([(PathBuf::from("an empty input"), Vec::new())]) {
            if catch_unwind(|| target(&input)).is_err() {
                failed.push(format!("{name}: {}", path.display()));
            }
        }
    }
    assert_eq!(failed, Vec::<String>::new(), "what the panics say stands above");
}

#[test]
fn every_target_has_a_fuzzer_and_a_corpus_of_its_name_and_nothing_else_has() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names_in("fuzz_targets"), targets);
    assert_eq!(names_in("corpus"), targets);
    for target in &targets {
        let fuzzer = fs::read_to_string(folder("fuzz_targets").join(target).with_extension("rs")).expect("a fuzzer");
        assert!(fuzzer.contains(&format!("fuzz::{target}(bytes)")), "{fuzzer}");
    }
}

#[test]
fn the_corpora_are_small() {
    let inputs: Vec<_> = TARGETS.iter().flat_map(|(name, _)| corpus(name)).collect();
    for (path, input) in &inputs {
        assert!(input.len() <= INPUT_BYTES_MAX, "{} has {} bytes", path.display(), input.len());
    }
    let bytes: usize = inputs.iter().map(|(_, input)| input.len()).sum();
    assert!(bytes <= CORPORA_BYTES_MAX, "{bytes} bytes");
}
