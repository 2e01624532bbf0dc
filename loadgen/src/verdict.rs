//! The overall result of a command, from which `main` derives the exit code.

/// The overall result of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No fault was found.
    Passed,
    /// A fault was found, or an objective was missed.
    Failed,
    /// Ctrl-C stopped the command.
    Interrupted,
}
