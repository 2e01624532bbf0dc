//! The ready file: the bound addresses, one line per listener, for scripts that must not guess.

use std::io::Write;
use std::path::Path;
use std::{fs, io};

use anyhow::ensure;

use super::BoundAddresses;

/// Removes what an earlier server left, which a script would believe.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Refuses a path that cannot be written since there is no folder for it.
pub fn check(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder_is_there = fs::metadata(folder).is_ok_and(|folder| folder.is_dir());
    ensure!(folder_is_there, "cannot write the ready file {}: there is no folder {}", path.display(), folder.display());
    Ok(())
}

/// Writes the file whole: who finds it finds every line.
pub fn write(path: &Path, bound: BoundAddresses) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let written = write_to(Path::new(&unfinished), bound).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // Whatever stands there is of no use to anybody.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write_to(path: &Path, bound: BoundAddresses) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    writeln!(file, "tcp {}\nhttp {}", bound.tcp, bound.http)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_one_can_be_removed_and_a_failed_one_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        fs::create_dir(&path).unwrap();
        let bound = BoundAddresses { tcp: "127.0.0.1:1".parse().unwrap(), http: "127.0.0.1:2".parse().unwrap() };
        assert!(write(&path, bound).is_err(), "a folder is there");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "old").unwrap();
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn it_holds_one_line_per_listener_and_replaces_an_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        fs::write(&path, "old").unwrap();
        write(&path, BoundAddresses { tcp: "127.0.0.1:54321".parse().unwrap(), http: "[::1]:54322".parse().unwrap() })
            .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "tcp 127.0.0.1:54321\nhttp [::1]:54322\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
