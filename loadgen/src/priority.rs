//! Scheduling priority for a process whose clients must read at once.

use nix::libc;

/// Above every ordinary process and below the kernel's own threads.
const REAL_TIME_PRIORITY: libc::c_int = 50;

/// The best priority of ordinary processes.
const NICE: libc::c_int = -20;

/// Takes the best priority that the system grants, and returns its name.
pub fn take_best() -> String {
    if set_real_time() {
        return format!("SCHED_FIFO {REAL_TIME_PRIORITY}");
    }
    if set_nice() { format!("nice {NICE}") } else { "the ordinary priority: the system gives no better".to_owned() }
}

#[allow(unsafe_code)]
fn set_real_time() -> bool {
    let parameters = libc::sched_param { sched_priority: REAL_TIME_PRIORITY };
    // SAFETY: the parameters live until the call returns, and 0 names this process.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) == 0 }
}

#[allow(unsafe_code)]
fn set_nice() -> bool {
    // SAFETY: the call takes numbers only, and 0 names this process.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) == 0 }
}
