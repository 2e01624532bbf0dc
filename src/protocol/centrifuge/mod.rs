//! The Centrifuge protocol, which the SDKs of Centrifugo speak: commands of clients, replies and pushes, in JSON and in
//! Protobuf. Plain values and bytes; what they mean is the session's.

pub mod codes;
pub mod command;
pub mod emulation;
mod fields;
pub mod json;
mod json_commands;
pub mod protobuf;
mod protobuf_commands;

pub use codes::{disconnect_code, error_code, eviction_code};
