//! What a command came to.

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All is well.
    Passed,
    /// There was a fault.
    Failed,
    /// Somebody stopped it.
    Interrupted,
}
