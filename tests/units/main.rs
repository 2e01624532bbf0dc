//! Parts of the server that are plain code, through their public face.

mod http;
mod listing_cache;
mod mailbox;
mod metrics;
mod net;
mod protocol;
mod shutdown;
mod worker;
