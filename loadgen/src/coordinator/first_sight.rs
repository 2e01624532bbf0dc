//! What a server held when a load met it first. A server keeps memory of clients that have gone, so a second load would find
//! that its own clients need none. Kept in a file for each process, for as long as the process lives; whatever cannot be kept
//! or read is not known, and no error.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use procfs::process::Process;

/// What the process held when the first load met it; `None` if this is the first, which is then remembered.
pub fn of(process: &Process, bytes: u64) -> Option<u64> {
    // The number of a process may be given again; with the time of its start it is not.
    let name = format!("{}-{}", process.pid(), process.stat().ok()?.starttime);
    of_process(&folder()?, &name, bytes)
}

fn of_process(folder: &Path, name: &str, bytes: u64) -> Option<u64> {
    let path = folder.join(name);
    let known = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    if known.is_none() {
        forget_ended(folder);
        // Unknown next time, then.
        let _ = fs::write(&path, bytes.to_string());
    }
    known
}

/// A folder that nobody else may write to.
fn folder() -> Option<PathBuf> {
    let user = Process::myself().ok()?.uid().ok()?;
    let folder = std::env::temp_dir().join(format!("loadgen-{user}"));
    let _ = DirBuilder::new().mode(0o700).create(&folder);
    let found = fs::symlink_metadata(&folder).ok()?;
    (found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0).then_some(folder)
}

/// Files of processes that have ended.
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
