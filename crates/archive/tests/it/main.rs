//! The tests of this crate against the real thing: files, tars, and other people's tools.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may end where it stands, and what it lays out need not survive a power cut"
)]

mod bagit;
mod bagit_refused;
mod bagit_support;
mod bucket;
mod bucket_faults;
mod glacier;
mod ocfl_bucket;
mod ocfl_conformance;
mod ocfl_inventory;
mod ocfl_layout;
mod ocfl_peers;
mod ocfl_purge;
mod ocfl_read;
mod ocfl_rules;
mod ocfl_write;
mod package;
mod package_damage;
mod package_single;
mod package_support;
mod peers;
mod s3;
mod storage_contract;
