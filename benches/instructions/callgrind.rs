//! Runs this program under callgrind, one case at a time. Only instructions within `counted_by_callgrind` are
//! collected.

use std::env;
use std::hint::black_box;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The argument that is followed by the name of the single case to run.
pub const CASE_ARGUMENT: &str = "--case";

/// Runs the work to count. Callgrind finds this function by its name, so it must not be inlined, and `work` must not be
/// its last call, which would become a jump.
#[inline(never)]
pub fn counted_by_callgrind(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

pub fn is_installed() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The properties that decide how many instructions the same source takes: the compiler, the C library with its
/// allocator, and whether its `memcpy` and our UTF-8 validation use AVX2 (as callgrind presents the processor).
pub fn platform() -> Result<String> {
    let compiler = first_line(Command::new("rustc").arg("--version"))?;
    let library = first_line(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    Ok(format!("{compiler}, {library}, {}", processor()))
}

#[cfg(target_arch = "x86_64")]
fn processor() -> &'static str {
    if std::is_x86_feature_detected!("avx2") { "x86_64 with AVX2" } else { "x86_64" }
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> &'static str {
    env::consts::ARCH
}

/// Counts the instructions of a case.
pub fn count(case: &str) -> Result<u64> {
    let mut callgrind = Command::new("valgrind");
    callgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_by_callgrind*"]);
    callgrind.arg(env::current_exe()?).args([CASE_ARGUMENT, case]);
    let output = callgrind.output().context("starting valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{case} failed under callgrind: {said}");
    let collected =
        said.lines().find_map(|line| line.split_once("Collected : ")).context("callgrind counted nothing")?;
    let count = collected.1.trim().parse().with_context(|| format!("{:?} is no count", collected.1))?;
    ensure!(count > 0, "{case} never came to what is counted");
    Ok(count)
}

fn first_line(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().next().with_context(|| format!("{command:?} says nothing"))?.trim().to_owned())
}
