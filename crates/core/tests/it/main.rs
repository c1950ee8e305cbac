//! The tests of this crate against the real thing: a data directory, a storage root, a database. The worker is driven by
//! hand, and the clock stands still until a test moves it.
//!
//! What touches the catalogue is tested on both databases: the same modules, once for each.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may end where it stands, and what it lays out need not survive a power cut"
)]
#![allow(clippy::duplicate_mod, reason = "the same tests on each database")]

#[path = "../../../archive/tests/it/glacier.rs"]
mod glacier;
#[path = "../../../archive/tests/it/peers.rs"]
#[allow(dead_code, reason = "the judges of storage roots are asked elsewhere")]
mod peers;
mod postgres;
#[path = "../../../archive/tests/it/s3.rs"]
mod s3;
mod share_model;
mod wire;

/// Which database a module of tests works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

#[path = "."]
mod on_sqlite {
    const ENGINE: crate::Engine = crate::Engine::Sqlite;

    mod area;
    mod audit;
    mod bench;
    mod bucket;
    mod cold;
    mod deletion;
    mod deposit;
    mod deposit_nginx;
    mod deposit_process;
    mod depositor;
    mod excerpts;
    mod gateway;
    mod identifiers;
    mod incoming;
    mod incoming_lists;
    mod index;
    mod ingest;
    mod migrate;
    mod nginx;
    mod orders;
    mod oversight;
    mod package_figures;
    mod queue;
    mod scrub;
    mod search;
    mod shares;
    mod store;
    mod verify;
    mod worked;
}

#[path = "."]
mod on_postgres {
    const ENGINE: crate::Engine = crate::Engine::Postgres;

    mod area;
    mod audit;
    mod away;
    mod bench;
    mod bucket;
    mod cold;
    mod deletion;
    mod deposit;
    mod deposit_nginx;
    mod deposit_process;
    mod depositor;
    mod excerpts;
    mod gateway;
    mod identifiers;
    mod incoming;
    mod incoming_lists;
    mod index;
    mod ingest;
    mod migrate;
    mod nginx;
    mod orders;
    mod oversight;
    mod package_figures;
    mod queue;
    mod scrub;
    mod search;
    mod shared;
    mod shares;
    mod store;
    mod verify;
    mod worked;
}
