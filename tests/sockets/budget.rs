//! The smallest budget of outboxes that is accepted still serves everybody who reads.

use harness::{Client, Transport};
use roomcast::config::{Settings, Size};

use crate::server::{TestServer, contract};

#[test]
fn with_the_smallest_budget_whoever_reads_hears_the_longest_messages_and_is_not_cut() {
    const MEMBERS: usize = 8;
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| {
            let Settings { message_bytes: Size(message_bytes), workers, .. } = *settings;
            settings.outbox_budget = Size(4 * message_bytes * workers);
        });
        let mut publisher = Client::member(&server, transport, "a", "p");
        let member = |transport| Client::member_short_of_buffer(&server, transport, "a", "m");
        let mut members: Vec<Client> = Transport::ALL.into_iter().cycle().take(MEMBERS).map(member).collect();
        let text = "x".repeat(60 * 1024);
        for _ in 0..8 {
            // The sockets of the members refuse the first, so that two are held in each dialect until they read.
            publisher.send(&text);
            publisher.send(&text);
            let message = format!("[p] {text}");
            (0..2).for_each(|_| publisher.expect(&message));
            members.iter_mut().for_each(|member| (0..2).for_each(|_| member.expect(&message)));
        }
        // They go one by one, each to its end: one that is still there when the server stops is sent its last line.
        for mut client in members.into_iter().chain([publisher]) {
            assert_eq!(client.request("QUIT"), "Bye");
            client.expect_end();
        }
        assert_eq!(server.stop().cut, 0);
    });
}
