//! Cases of one test that run beside each other.

use std::fmt::Debug;
use std::thread;

/// Runs a behaviour for every case, each in a thread of its own that is named after the case, so that a failure names
/// it. Most of a case is waiting, for a timeout or for the next text of the metrics, so all take hardly longer than
/// one.
pub fn at_once<Case: Debug + Send>(cases: impl IntoIterator<Item = Case>, behaviour: impl Fn(Case) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            let behaviour = &behaviour;
            let thread = thread::Builder::new().name(format!("{case:?}"));
            thread.spawn_scoped(scope, move || behaviour(case)).expect("a thread");
        }
    });
}
