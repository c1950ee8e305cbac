//! How Dipper is asked: the HTTP listener, the contracts, sign-in and configuration.
//!
//! The way of one request: [`http`] takes it, [`signin`] says who asks, a dialect turns it into a command for the
//! core and the answer back into its own words. [`serve`] puts the parts together, and
//! [`work`] does what is not answered at once.

pub mod app;
mod audit;
pub mod cli;
pub mod config;
mod console;
pub mod dialect;
mod fetches;
mod format;
pub mod http;
pub mod log;
pub mod mail;
pub mod metrics;
pub mod serve;
pub mod sftp;
pub mod signin;
pub mod telemetry;
pub mod work;
