//! Tests of the server at its real boundary: a TCP listener on a port of its own, an HTTP client, a data directory.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a failed expectation is the finding, and what it lays out need not survive a power cut"
)]

mod cli;
mod cli_demo;
mod cli_fetch;
mod cli_remote;
mod cli_support;
mod crash;
mod dashboards;
mod dependencies;
mod downloads;
mod dps;
mod dps_ends;
mod dps_lists;
mod full_disk;
mod http;
mod issuer_double;
mod listener;
mod log;
mod metrics;
mod oauth;
mod openapi;
mod packages;
#[path = "../../../archive/tests/it/peers.rs"]
mod peers;
mod receiver;
mod support;
mod tidy;
mod tokens;
mod traces;
mod webhooks;
mod workers;
