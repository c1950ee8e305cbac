//! Tests of the server at its real boundary: a TCP listener on a port of its own, an HTTP client, a data directory.
//!
//! What touches the catalogue is tested on both databases: here beside SQLite, and below once more on PostgreSQL.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a failed expectation is the finding, and what it lays out need not survive a power cut"
)]
#![allow(clippy::duplicate_mod, reason = "the same tests on each database")]

/// Which database a module of tests works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

const ENGINE: Engine = Engine::Sqlite;

mod archive_s3;
mod audit;
mod authority;
mod bridge;
mod bridge_fuzz;
mod bridge_gateway;
mod bridge_restores;
mod bridge_support;
mod browser;
mod cli;
mod cli_deletion;
mod cli_demo;
mod cli_fetch;
mod cli_gateway;
mod cli_remote;
mod cli_support;
mod cold;
mod console;
mod console_depositor;
mod console_operator;
mod console_support;
mod contractor_day;
mod crash;
mod dashboards;
mod dependencies;
mod dns;
mod dns_https;
mod dns_outgoing;
mod dns_retrieval;
mod dns_support;
mod downloads;
mod dps;
mod dps_ends;
mod dps_lists;
mod fleet;
mod full_disk;
#[path = "../../../archive/tests/it/glacier.rs"]
mod glacier;
mod handing_in;
mod http;
mod issuer_double;
mod listener;
mod log;
mod mails;
mod metrics;
mod oauth;
mod oidc;
mod openapi;
mod packages;
mod passwords;
#[path = "../../../archive/tests/it/peers.rs"]
mod peers;
#[path = "../../../core/tests/it/postgres.rs"]
mod postgres;
mod receiver;
mod restore_process;
#[path = "../../../archive/tests/it/s3.rs"]
mod s3;
mod seaweed;
mod seaweed_storage;
mod sftp;
mod sftp_refused;
mod sftp_sign_in;
mod sftp_support;
mod store;
mod storm;
mod support;
mod tidy;
mod tls;
mod tokens;
mod traces;
mod webhooks;
mod workers;

#[path = "."]
mod on_postgres {
    const ENGINE: crate::Engine = crate::Engine::Postgres;

    mod audit;
    mod bridge;
    mod bridge_gateway;
    mod bridge_restores;
    mod bridge_support;
    mod cli;
    mod cli_deletion;
    mod cli_fetch;
    mod cli_gateway;
    mod cli_remote;
    mod cli_support;
    mod console;
    mod console_depositor;
    mod console_operator;
    mod console_support;
    mod crash;
    mod dns;
    mod dns_https;
    mod dns_outgoing;
    mod dns_retrieval;
    mod dns_support;
    mod downloads;
    mod dps;
    mod dps_ends;
    mod dps_lists;
    mod handing_in;
    mod http;
    mod oauth;
    mod packages;
    mod passwords;
    mod restore_process;
    mod sftp_sign_in;
    #[allow(dead_code, reason = "what is done with files does not depend on the database")]
    mod sftp_support;
    mod shared;
    mod support;
    mod tokens;
    mod webhooks;
}
