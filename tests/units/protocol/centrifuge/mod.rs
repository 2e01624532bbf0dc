//! The Centrifuge protocol: commands that are read, replies and pushes that are written, in JSON and in Protobuf.

mod json_commands;
mod protobuf_commands;
mod protobuf_reader;
mod written;
