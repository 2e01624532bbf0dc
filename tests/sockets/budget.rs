//! The smallest budget of outboxes that is accepted still serves everybody who reads.

use roomcast::config::{Settings, Size};

use crate::harness::{Client, TestServer, Transport, contract};

#[test]
fn with_the_smallest_budget_whoever_reads_hears_the_longest_messages_and_is_not_cut() {
    const MEMBERS: usize = 8;
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| {
            let Settings { message_bytes: Size(message_bytes), workers, .. } = *settings;
            settings.outbox_budget = Size(4 * message_bytes * usize::from(workers));
        });
        let mut publisher = Client::member(&server, transport, "a", "p");
        let member = |transport| Client::member(&server, transport, "a", "m");
        let mut members: Vec<Client> = Transport::ALL.into_iter().cycle().take(MEMBERS).map(member).collect();
        let text = "x".repeat(60 * 1024);
        for _ in 0..8 {
            publisher.say(&text);
            publisher.expect(&format!("[p] {text}"));
            members.iter_mut().for_each(|member| member.expect(&format!("[p] {text}")));
        }
        drop((publisher, members));
        assert_eq!(server.stop().cut, 0);
    });
}
