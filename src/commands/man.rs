//! `roomcast man --dir`: the manual pages as files, for packages.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::config::man_pages;

/// Writes all manual pages into a folder, which it makes if it is missing. Returns their paths, one on each line.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write_man_pages(folder: &Path) -> anyhow::Result<String> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let mut paths = String::new();
    for (name, page) in man_pages() {
        let path = folder.join(name);
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        paths += &format!("{}\n", path.display());
    }
    Ok(paths)
}
