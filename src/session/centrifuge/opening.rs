//! What a client of the Centrifuge protocol begins with.

use aws_lc_rs::rand;

/// What a client of the Centrifuge protocol begins with, besides its session.
#[derive(Default)]
pub struct Opening {
    /// Of a client whose commands do not come on the connection of their replies. Taken once the client is told.
    pub stream: Option<Box<StreamName>>,
}

/// The secret name of a client without WebSocket, which says on which worker it is. It is unlike the client's id, which
/// others see. It cannot be printed by mistake.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamName {
    /// The process that the client is connected to.
    pub node: u64,
    /// The index of its worker.
    pub worker: u16,
    /// What nobody can guess.
    pub secret: u128,
}

impl StreamName {
    /// A new name.
    pub fn new(node: u64, worker: u16) -> Self {
        Self { node, worker, secret: u128::from_ne_bytes(random()) }
    }

    /// A new name of a process.
    pub fn new_node() -> u64 {
        u64::from_ne_bytes(random())
    }

    /// The name as the client is told it and repeats it.
    pub fn session(&self) -> String {
        format!("{:04x}{:032x}", self.worker, self.secret)
    }

    /// The name of the process as the client is told it and repeats it.
    pub fn node(&self) -> String {
        format!("{:016x}", self.node)
    }

    /// The name that a client repeats; `None` if no server gives such names.
    pub fn parse(session: &str, node: &str) -> Option<Self> {
        let (worker, secret) = session.split_at_checked(4)?;
        let worker = u16::from_str_radix(worker, 16).ok()?;
        let secret = u128::from_str_radix(secret, 16).ok()?;
        let name = Self { node: u64::from_str_radix(node, 16).ok()?, worker, secret };
        (name.session() == session && name.node() == node).then_some(name)
    }
}

fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_no_two_are_alike() {
        let name = StreamName::new(StreamName::new_node(), 3);
        assert!(StreamName::parse(&name.session(), &name.node()) == Some(name));
        assert!(StreamName::new(name.node, 3) != name);
        let (session, node) = (name.session(), name.node());
        for (session, node) in [
            ("", ""),
            (&session[..], ""),
            ("", &node[..]),
            (&session[1..], &node[..]),
            (&session.to_uppercase().replace('0', "+")[..], &node[..]),
            (&format!("{session}0")[..], &node[..]),
            ("äöüäöüäöüäöüäöüäöü", &node[..]),
        ] {
            assert!(StreamName::parse(session, node).is_none(), "{session} {node}");
        }
    }
}
