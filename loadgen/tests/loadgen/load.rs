//! The built load generator, and the reports that it writes.

use std::path::Path;
use std::process::Command;

use harness::{Ended, Process, within_descriptors};
use serde_json::Value;

/// How long messages are sent where a test does not say it.
const DURATION: [&str; 2] = ["--duration", "500ms"];

/// Measures from the first message on.
const NO_WARMUP: [&str; 2] = ["--warmup", "0s"];

/// The built program.
const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// The command of the load generator.
pub fn loadgen(arguments: &[&str]) -> Command {
    let mut command = Command::new(LOADGEN);
    command.args(arguments);
    command
}

/// The command of the load generator with no more descriptors than this in a process.
pub fn loadgen_within(descriptors: u64, arguments: &[&str]) -> Command {
    let mut command = within_descriptors(descriptors, Path::new(LOADGEN));
    command.args(arguments);
    command
}

/// A load and what came of it.
#[derive(Debug)]
pub struct Measured {
    pub ended: Ended,
    pub report: Value,
}

/// Puts a short load on a target.
#[track_caller]
pub fn measure(target: &str, arguments: &[&str]) -> Measured {
    measure_with(&mut loadgen(&[&[target], &short(arguments)[..]].concat()))
}

/// A load that is over soon.
pub fn short<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let duration = if arguments.contains(&"--duration") { &[][..] } else { &DURATION };
    [&NO_WARMUP, duration, arguments].concat()
}

/// The same, however it was started.
#[track_caller]
pub fn measure_with(command: &mut Command) -> Measured {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let ended = Process::run(command.arg("--json").arg(&path));
    Measured { report: read_json(&path, &ended), ended }
}

/// What a command has written.
#[track_caller]
pub fn read_json(path: &Path, ended: &Ended) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    serde_json::from_slice(&text).expect("JSON")
}

impl Measured {
    /// A number anywhere in the report, as `/rooms/tally/lost`.
    #[track_caller]
    pub fn number(&self, pointer: &str) -> f64 {
        number(&self.report, pointer)
    }

    /// It counted this and nothing else, and failed.
    #[track_caller]
    pub fn expect_only(&self, fault: &str, count: u64) {
        for counted in FAULTS {
            let wanted = if counted == fault { count } else { 0 };
            assert_eq!(self.number(&format!("/rooms/tally/{counted}")) as u64, wanted, "{counted}: {self:?}");
        }
        self.expect_code(if count > 0 { 1 } else { 0 });
    }

    /// It counted no fault, and passed.
    #[track_caller]
    pub fn expect_clean(&self) {
        self.expect_only("lost", 0);
        assert_eq!(self.report["faults"], Value::Array(Vec::new()), "{self:?}");
    }

    /// Each member has had each message.
    #[track_caller]
    pub fn expect_all(&self, members: u64) {
        let published = self.number("/rooms/tally/published") as u64;
        assert!(published > 0, "{self:?}");
        assert_eq!(self.number("/rooms/expected") as u64, published * members, "{self:?}");
        assert_eq!(self.number("/rooms/tally/received") as u64, published * members, "{self:?}");
    }

    #[track_caller]
    pub fn expect_code(&self, code: i32) {
        assert_eq!(self.ended.code, Some(code), "{self:?}");
    }
}

/// What makes a load fail.
const FAULTS: [&str; 5] = ["lost", "duplicated", "reordered", "stray", "damaged"];

/// A number anywhere.
#[track_caller]
pub fn number(of: &Value, pointer: &str) -> f64 {
    of.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {of:#}"))
}
