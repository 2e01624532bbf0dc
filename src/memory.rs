//! Memory that was freed and is not needed again soon, given back to the system. Never allocates, never keeps any.
//!
//! The system's allocator returns only what lies at the end of an arena; what a thousand stalled clients were owed lies
//! between what others are owed, and would stay.

/// Gives free pages back: milliseconds for tens of MiB, in which other threads may wait for memory. Does nothing where the
/// allocator has no such call.
#[allow(unsafe_code)]
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number, may be called from any thread at any time, and touches only memory that nobody has.
    unsafe {
        libc::malloc_trim(0);
    }
}
