//! What holds in every run, whatever its clients do.

use roomcast::broker::Retained;
use roomcast::writer::Counts;

use super::server::Server;
use super::tasks::LOAD;
use super::{CLIENTS_AT_ONCE, REPLIES, ROOM, ReadRate, World};

impl World {
    /// Checks that no delivery is lost: a writer has counted it, or it is on its way to one. A writer delivers, drops
    /// or queues what it has counted.
    pub fn check_conservation(&self) {
        let counts = self.counts();
        assert_eq!(self.server.ledger.fanned_out, counts.fanned_out + self.server.deliveries_on_their_way());
        assert!(counts.fanned_out >= finished(&counts));
    }

    /// Checks that nothing is remembered once it is too old.
    pub fn check_memory_comes_back(&mut self) {
        let now = self.now + 2 * ROOM.history_age_max;
        let Server { shards, ledger, .. } = &mut self.server;
        for shard in shards {
            shard.sweep(now, ledger);
            assert_eq!((shard.shard.active_rooms(), shard.shard.retained()), (0, Retained::default()));
            assert!(!shard.shard.needs_sweep());
        }
    }

    /// Checks that a client that reads at once is never cut, loses no message and gets every ping, whatever others do.
    pub fn check_readers(&self) {
        for (client, read_rate) in self.clients.iter().zip(&self.read_rates) {
            let socket = self.server.socket(client.address);
            if let (ReadRate::Unlimited | ReadRate::AtOnce, false) = (read_rate, socket.broken) {
                let received = String::from_utf8_lossy(&socket.taken);
                let is_loss = |line: &str| line.starts_with("GAP ") && line != "GAP unknown";
                assert!(!received.lines().any(is_loss), "{received}");
                assert!(!received.contains("ERR closed slow-consumer"), "{received}");
                assert!(socket.finished, "cut off: {received}");
                let (writer, slot) = (self.server.writer_of(client.address), client.address.slot);
                assert_eq!(writer.pings_taken(slot), writer.pings(slot), "unpinged: {received}");
            }
        }
    }

    /// Checks how many messages a reply may wait behind. A shard hands over a batch only while the writer has room, and sees
    /// nothing of the batches that others are about to hand over.
    pub fn check_bound(&self) {
        let batches = self.server.shards.len() * (LOAD.batch_deliveries_max() + CLIENTS_AT_ONCE);
        let bound = LOAD.deliveries_small_max() + batches + REPLIES;
        for writer in &self.server.writers {
            assert!(writer.unwritten() <= bound, "{} are on their way", writer.unwritten());
        }
    }
}

/// The number of deliveries that were sent or dropped.
pub fn finished(counts: &Counts) -> u64 {
    counts.delivered + counts.dropped_slow + counts.dropped_gap + counts.dropped_gone
}
