//! The ready file: the bound addresses, one line per listener, for scripts that must not guess.

use std::io::Write;
use std::path::Path;
use std::{fs, io};

use super::Bound;

/// Writes the file whole: who finds it finds every line.
pub fn write(path: &Path, bound: Bound) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let mut file = fs::File::create(&unfinished)?;
    writeln!(file, "tcp {}\nhttp {}", bound.tcp, bound.http)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_one_line_per_listener_and_replaces_an_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        fs::write(&path, "old").unwrap();
        write(&path, Bound { tcp: "127.0.0.1:54321".parse().unwrap(), http: "[::1]:54322".parse().unwrap() }).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "tcp 127.0.0.1:54321\nhttp [::1]:54322\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
