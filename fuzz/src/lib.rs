//! What must hold for the input of strangers, whatever its bytes are. A target takes any bytes, gives them to a parser of the
//! server, and panics where a property does not hold: that no input is too much, that it means the same however the
//! network cuts it, that it comes back as it was written, that another reading of it agrees.
//!
//! The targets are plain functions on any toolchain. libFuzzer looks for inputs that make one panic (`fuzz_targets`, by
//! `scripts/fuzz`); the test `replay` calls them with the inputs that were kept (`corpus`).

mod centrifuge;
mod deflate;
mod envelope;
mod http;
mod input;
mod lines;
mod names;
mod positions;
mod proxy_header;
mod settings_file;
mod token;
mod websocket;
mod websocket_model;

pub use centrifuge::{centrifuge_json, centrifuge_protobuf};
pub use deflate::deflate;
pub use envelope::envelope;
pub use http::http;
pub use lines::lines;
pub use names::names;
pub use positions::positions;
pub use proxy_header::proxy_header;
pub use settings_file::settings_file;
pub use token::token;
pub use websocket::websocket;

/// A target by its name, which is that of its fuzzer and of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 12] = [
    ("centrifuge_json", centrifuge_json),
    ("centrifuge_protobuf", centrifuge_protobuf),
    ("deflate", deflate),
    ("envelope", envelope),
    ("http", http),
    ("lines", lines),
    ("names", names),
    ("positions", positions),
    ("proxy_header", proxy_header),
    ("settings_file", settings_file),
    ("token", token),
    ("websocket", websocket),
];
