//! Bytes at rest: OCFL storage roots, BagIt bags, digests and packages that are computed rather than copied.
//!
//! This crate knows neither a database nor a network listener. It is useful alone: it creates, reads,
//! validates and exports a storage root with nothing else running. Every call blocks, except those of [`bucket`];
//! callers that are asynchronous run it on threads of their own.

pub mod bagit;
mod blocks;
pub mod bucket;
pub mod digest;
pub mod meter;
pub mod ocfl;
pub mod package;
pub mod publish;
pub mod storage;

// The S3 server of the tests is shared by those in here, which crash between two lines, with those outside.
#[cfg(test)]
extern crate self as dipper_archive;
#[cfg(test)]
#[path = "../tests/it/glacier.rs"]
mod glacier;
#[cfg(test)]
#[path = "../tests/it/s3.rs"]
mod s3;
