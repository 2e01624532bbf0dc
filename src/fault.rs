//! Deliberate panics, for tests of the built binary: what becomes of the process if a task panics. Not in release
//! builds.

use std::env;
use std::sync::LazyLock;

/// The kind of task that is to panic, by the name that it passes to `inject`.
static FAULTY: LazyLock<Option<String>> = LazyLock::new(|| env::var("ROOMCAST_FAULT").ok());

/// Panics if `ROOMCAST_FAULT` names this kind of task.
pub fn inject(task: &str) {
    if cfg!(debug_assertions) {
        assert!(FAULTY.as_deref() != Some(task), "a fault was put into this task: {task}");
    }
}
