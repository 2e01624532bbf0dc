//! Tests of single parts of the server through their public interfaces.

mod api;
mod auth;
mod http;
mod listing_cache;
mod mailbox;
mod metrics;
mod net;
mod pages;
mod protocol;
mod shutdown;
mod worker;
