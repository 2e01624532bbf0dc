//! Replies and pushes of the Centrifuge protocol in Json, and the commands of its clients. Replies and pushes are written by
//! hand: nothing is built for a delivery but its bytes.

use super::command::Parsed;
use crate::protocol::event::{Event, RequestId};
use crate::protocol::publication::Publication;

/// The length in bytes, exact or a little more, of the events that a busy server writes most; 0 for the others.
pub fn size_hint(_event: &Event<'_>) -> usize {
    0
}

/// Appends a push; nothing if the event has no form here.
pub fn write(_event: &Event<'_>, _out: &mut Vec<u8>) {}

/// Appends the reply to a command.
pub fn write_reply(_request: RequestId, _event: &Event<'_>, _out: &mut Vec<u8>) {}

/// Appends a publication as a part of a reply that holds what a client has missed.
pub fn write_missed(_publication: &Publication, _out: &mut Vec<u8>) {}

/// Takes the first command of a frame, whose length is returned with it; `None` at the end of the frame.
pub fn next_command(_frame: &[u8]) -> Option<(Parsed<'_>, usize)> {
    None
}

/// Appends what a push holds, for clients that get nothing else.
pub fn write_bare(_event: &Event<'_>, _out: &mut Vec<u8>) {}
