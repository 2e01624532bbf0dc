//! The memory of a server before its first load. A server keeps memory of disconnected clients, so a second load would
//! measure that its own clients need none. The value is kept in one temporary file per server process. A value that
//! cannot be stored or read counts as unknown and is no error.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use procfs::process::Process;

/// Memory of the process before its first load; `None` if this is the first load, which is then recorded.
pub fn remembered(process: &Process, bytes: u64) -> Option<u64> {
    // Process numbers are reused; together with the start time they are unique.
    let name = format!("{}-{}", process.pid(), process.stat().ok()?.starttime);
    of_process(&folder()?, &name, bytes)
}

fn of_process(folder: &Path, name: &str, bytes: u64) -> Option<u64> {
    let path = folder.join(name);
    let known = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    if known.is_none() {
        forget_ended(folder);
        // If this fails, the next load counts as the first one.
        let _ = fs::write(&path, bytes.to_string());
    }
    known
}

/// A folder that only this user can write to.
fn folder() -> Option<PathBuf> {
    let user = Process::myself().ok()?.uid().ok()?;
    let folder = std::env::temp_dir().join(format!("loadgen-{user}"));
    let _ = DirBuilder::new().mode(0o700).create(&folder);
    let found = fs::symlink_metadata(&folder).ok()?;
    (found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0).then_some(folder)
}

/// Removes the files of processes that have exited.
fn forget_ended(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.split_once('-')).map(|(process, _)| process);
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_load_is_remembered_and_ended_processes_are_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("4194305-1"), "5").unwrap();
        let ours = format!("{}-7", std::process::id());
        assert_eq!(of_process(folder.path(), &ours, 1_000), None);
        assert_eq!(of_process(folder.path(), &ours, 9_000), Some(1_000));
        assert!(!folder.path().join("4194305-1").exists(), "no process has that number");
        assert_eq!(of_process(folder.path(), "1-8", 3), None, "another process");
    }
}
