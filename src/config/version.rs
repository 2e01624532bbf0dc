//! What was built: version, commit, target, compiler, and what is compiled in. `build.rs` says all but the last.

/// The version.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The first digits of the commit, with `-dirty` where the sources differed from it; `unknown` for debug builds.
pub const COMMIT: &str = env!("ROOMCAST_BUILD_COMMIT");

/// What `--version` prints behind the name of the program.
pub(super) const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("ROOMCAST_BUILD_COMMIT"),
    env!("ROOMCAST_BUILD_DATE"),
    ")\ntarget: ",
    env!("ROOMCAST_BUILD_TARGET"),
    "\ncompiler: ",
    env!("ROOMCAST_BUILD_COMPILER"),
    "\nfeatures: tls, websocket deflate, centrifuge json, centrifuge protobuf, nats cluster, systemd notify, web pages",
);
