//! What a node does when a client publishes: it may refuse that, or end connections.

use super::{Act, Fault, Server};

impl Server {
    pub(super) fn publish_by(&mut self, client: usize, text: &str) {
        let Some(room) = self.clients[client].room.clone() else { return };
        let number = self.messages;
        if self.take_fault(|fault| matches!(fault, Fault::RefuseMessage(message) if *message == number)) {
            self.messages += 1;
            return self.promise(client, Act::Send("ERR unavailable for now\n".to_owned()));
        }
        if self.take_fault(|fault| matches!(fault, Fault::SwallowMessageAndClose(message) if *message == number)) {
            self.messages += 1;
            let last = self.dismiss(client, "");
            return last.into_iter().for_each(|act| self.promise(client, act));
        }
        if self.take_fault(|fault| matches!(fault, Fault::CloseAReader(message) if *message == number)) {
            let reader = self.rooms[&room].iter().find(|&&member| member != client).copied().expect("another member");
            let last = self.dismiss(reader, "");
            last.into_iter().for_each(|act| self.promise(reader, act));
        }
        self.publish(&room, text);
        if self.take_fault(|fault| matches!(fault, Fault::StopNode(message) if *message == number)) {
            self.stop_node(self.clients[client].node);
        }
    }

    /// Ends all connections of a node.
    fn stop_node(&mut self, node: usize) {
        let hint = |fault: &Fault| if let Fault::Hint(hint) = fault { Some(*hint) } else { None };
        let words = self.wire.shutdown(self.script.iter().rev().find_map(hint));
        for client in 0..self.clients.len() {
            if self.clients[client].node == node && self.clients[client].room.is_some() {
                let last = self.dismiss(client, &words);
                last.into_iter().for_each(|act| self.promise(client, act));
            }
        }
    }
}
