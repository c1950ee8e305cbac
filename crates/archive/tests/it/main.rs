//! The integration tests of this crate, in one binary.

mod ocfl_conformance;
mod ocfl_layout;
mod ocfl_peers;
mod ocfl_read;
mod ocfl_rules;
mod ocfl_write;
mod peers;
