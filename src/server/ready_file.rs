//! The ready file: the bound addresses, one line per listener, for scripts that start a server on port 0.

use std::io::Write;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, ensure};

use super::BoundAddresses;

/// Removes the file of an earlier server, which a script would take for this one's.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Refuses a path whose folder does not exist.
pub fn check(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    ensure!(folder.is_dir(), "cannot write the ready file {}: there is no folder {}", path.display(), folder.display());
    Ok(())
}

/// Writes the whole file at once: a script that finds the file finds every line.
pub fn write(path: &Path, bound: BoundAddresses) -> anyhow::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = Path::new(&unfinished);
    let written = write_to(unfinished, bound).and_then(|()| fs::rename(unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(unfinished);
    }
    written.with_context(|| format!("cannot write the ready file {}", path.display()))
}

fn write_to(path: &Path, bound: BoundAddresses) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    writeln!(file, "tcp {}\nhttp {}", bound.tcp, bound.http)?;
    file.sync_all()
}
