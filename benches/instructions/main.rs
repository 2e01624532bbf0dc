//! How many instructions does each step of a message take? Callgrind counts them, which other load on the machine does
//! not disturb. The counts are compared with `counts.txt` beside this file: a rise of more than 3 % fails, and a fall
//! of more than 3 % asks for an update.
//!
//! Run `cargo bench -p instructions`; with `-- --update` it rewrites `counts.txt`. The counts are valid for one
//! compiler, C library and processor family. On another platform, or without valgrind, nothing is counted. In some folders
//! the two cases of encoding take up to 7 % less with the same source, which is not to be kept (decision 9).

mod callgrind;
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod counts;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};
use callgrind::CASE_ARGUMENT;
use counts::{Counts, Verdict};

const UPDATE_ARGUMENT: &str = "--update";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == CASE_ARGUMENT) {
        let name = arguments.get(at + 1).context("which case?")?;
        cases::run(name)?;
        return Ok(ExitCode::SUCCESS);
    }
    if cfg!(debug_assertions) {
        return Ok(leave_out("this build is not optimised"));
    }
    if !callgrind::is_installed() {
        return Ok(leave_out("valgrind is not installed"));
    }
    let platform = callgrind::platform()?;
    if arguments.iter().any(|argument| argument == UPDATE_ARGUMENT) {
        return measure(platform)?.save().map(|()| ExitCode::SUCCESS);
    }
    let kept = Counts::load()?;
    if kept.platform != platform {
        return Ok(leave_out(&format!("those kept are of {}, and here is {platform}", kept.platform)));
    }
    Ok(judge(&kept, &measure(platform)?))
}

fn leave_out(why: &str) -> ExitCode {
    println!("instructions: skipped, {why}");
    ExitCode::SUCCESS
}

fn measure(platform: String) -> Result<Counts> {
    let count = |case: &cases::Case| Ok((case.name.to_owned(), callgrind::count(case.name)? / case.units));
    let counts = cases::CASES.iter().map(count).collect::<Result<_>>()?;
    Ok(Counts { platform, counts })
}

fn judge(kept: &Counts, now: &Counts) -> ExitCode {
    let mut failed = false;
    println!("{:<28} {:>9} {:>9}", "instructions", "kept", "now");
    for (name, count) in &now.counts {
        let before = kept.of(name);
        let verdict = Verdict::of(before, *count);
        let shown = before.map_or_else(|| "-".to_owned(), |before| before.to_string());
        println!("{name:<28} {shown:>9} {count:>9}  {verdict}");
        failed |= verdict.fails();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
