//! The Centrifuge protocol: commands that are read, replies and pushes that are written, in JSON and in Protobuf.

use roomcast::protocol::event::RequestId;

mod json_commands;
mod protobuf_commands;
mod protobuf_reader;
mod written;

fn id(number: u32) -> RequestId {
    RequestId::new(number).expect("a name is not 0")
}
