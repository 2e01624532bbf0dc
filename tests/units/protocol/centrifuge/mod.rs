//! The Centrifuge protocol: commands that are read, replies and pushes that are written.

mod json_commands;
