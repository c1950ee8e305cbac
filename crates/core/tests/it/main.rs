//! The tests of this crate against the real thing: a data directory, a storage root, a database file. The worker is
//! driven by hand, and the clock stands still until a test moves it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may end where it stands, and what it lays out need not survive a power cut"
)]

mod bench;
mod index;
mod ingest;
mod orders;
mod queue;
mod verify;
