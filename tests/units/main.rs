//! Parts of the server that are plain code, through their public face.

mod http;
mod metrics;
mod net;
mod worker;
