//! The files that settings name: each is read whole, within a limit. An error names the setting and the file, and repeats
//! nothing of its text.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::ConfigError;

/// The longest file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The permission of users that are neither the owner nor in the group to read a file.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Reads a file of a setting.
///
/// # Errors
/// The file cannot be read, is no file or is too long.
pub fn read_file(setting: &'static str, path: &Path) -> Result<(Vec<u8>, Metadata), ConfigError> {
    let wrong = |what: String| ConfigError::verbatim(setting, path.display(), what);
    let metadata = path.metadata().map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if !metadata.is_file() {
        return Err(wrong("is no file".to_owned()));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok((bytes, metadata))
}

/// A warning if every user of the system can read a file with a secret.
pub fn exposure(setting: &str, path: &Path, metadata: &Metadata) -> Option<String> {
    let file = path.display();
    (metadata.permissions().mode() & READABLE_BY_OTHERS != 0)
        .then(|| format!("{setting} {file}: every user of this system can read the secret: chmod o-r {file}"))
}
