//! What a client of the Centrifuge protocol begins with.

use std::rc::Rc;

/// What a client of the Centrifuge protocol begins with, besides its session.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// Of a client whose commands do not come on the connection of their replies.
    pub stream: Option<Rc<StreamName>>,
}

/// Under which names a client without WebSocket sends commands.
#[derive(Debug)]
pub struct StreamName {
    /// The secret name of the client's stream.
    pub session: Box<str>,
    /// The name of the process.
    pub node: Box<str>,
}
