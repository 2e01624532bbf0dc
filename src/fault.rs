//! Faults put in on purpose: a test sees in the built binary what comes of a panic in a task. In a release build nobody can ask
//! for one. Never decides what comes of it.

use std::env;
use std::sync::LazyLock;

/// The kind of task that is to panic, by the name that stands where it may.
static FAULTY: LazyLock<Option<String>> = LazyLock::new(|| env::var("ROOMCAST_FAULT").ok());

/// Panics if this kind of task was chosen.
pub fn inject(task: &str) {
    if cfg!(debug_assertions) {
        assert!(FAULTY.as_deref() != Some(task), "a fault was put into this task: {task}");
    }
}
