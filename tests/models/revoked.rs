//! A token that is revoked after it was verified in a handshake and before its client has a session.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use roomcast::auth::revocations::Revocation;
use roomcast::auth::tokens::Token;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::protocol::publication::{ClientId, Publisher, UserId};
use roomcast::session::{Identity, Session};

use crate::common::{ROOMY, label};
use crate::simulation::HISTORY;
use crate::simulation::server::{NO_HISTORY, Server, Shape};
use crate::wire::ALL;

const SHAPE: Shape =
    Shape { shards: 1, writers: 1, rooms: 1, outbox: ROOMY, room: NO_HISTORY, rooms_max: 1, history: HISTORY };

/// Opens a client with a token of this `jti`. Returns why its connection is to end.
fn open(server: &mut Server, id: &str) -> Option<Disconnect> {
    let address = server.writers[0].open(0, ALL, ALL);
    let token = Token {
        user: UserId::new("alice"),
        label: None,
        info: None,
        id: Some(id.into()),
        issued_at: None,
        expires_at: None,
        grants: Default::default(),
        server_side: Vec::new(),
    };
    let publisher = Publisher::anonymous(ClientId(0), label("alice"));
    let identity = Identity { publisher, token: Some(Box::new(token)) };
    let context = Rc::clone(server.context(address));
    let _session =
        Session::new(Rc::clone(&context), address.slot, Dialect::TextLines, identity, IpAddr::V4(Ipv4Addr::LOCALHOST));
    context.writer.disconnect_reason(address.slot)
}

#[test]
fn a_client_gets_no_session_by_a_token_that_was_revoked_since_its_handshake() {
    let mut server = Server::new(SHAPE);
    assert_eq!(open(&mut server, "stolen"), None);
    let address = server.writers[0].open(0, ALL, ALL);
    let context = Rc::clone(server.context(address));
    assert!(context.access.revoke(&Revocation::Token("stolen".into()), &context.writer));
    assert_eq!(open(&mut server, "stolen"), Some(Disconnect::Kicked));
    assert_eq!(open(&mut server, "another"), None);
}
