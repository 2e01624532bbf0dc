//! The web pages inside the binary: the chat, the dashboard, and the module for browsers that both use. They are the files
//! of this folder; `build.rs` compresses them and makes the table. Knows no HTTP.

/// A file that browsers get.
#[derive(Debug)]
pub struct Page {
    /// Where the server has it, as in `/pages/base.css`.
    pub path: &'static str,
    /// The value of `Content-Type`.
    pub media_type: &'static str,
    /// The file as it is; of scripts and style sheets of the pages without the comments on lines of their own.
    pub bytes: &'static [u8],
    /// The file compressed as gzip.
    pub gzip: &'static [u8],
    /// The entity tag of `bytes`, in its quotes: a hash of the file.
    pub etag: &'static str,
    /// The entity tag of `gzip`, which differs, as RFC 9110 §8.8.3.3 wants it.
    pub gzip_etag: &'static str,
}

/// Every file that is served.
pub static PAGES: &[Page] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The file at a path. Paths are compared byte by byte: no path is ever opened while the server runs.
pub fn page(path: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.path == path)
}
