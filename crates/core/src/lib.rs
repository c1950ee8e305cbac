//! What an order is and how it proceeds: the catalogue, the state machine, the worker, deliveries and notices.
//!
//! [`intake::Intake`] is the one door: contracts, console and command line go through it and know neither the
//! database nor the worker. [`order`] is pure and owns every change of state. This crate may call out (webhooks),
//! and never listens.

pub mod administration;
pub mod area;
pub mod assembly;
pub mod audit;
pub mod caller;
mod causes;
pub mod clients;
pub mod data;
pub mod db;
pub mod deletion;
pub mod deposit;
pub mod download;
pub mod egress;
pub mod excerpt;
pub mod fixity;
pub mod gateway;
mod hold;
pub mod identifier;
pub mod ids;
pub mod incoming;
pub mod index;
pub mod ingest;
pub mod installation;
pub mod intake;
pub mod language;
mod lease;
pub mod link;
pub mod listing;
pub mod mail;
pub mod meter;
mod named;
pub mod naming;
pub mod notify;
pub mod order;
pub mod oversight;
pub mod progress;
mod pull;
pub mod recovery;
pub mod register;
pub mod scrub;
pub mod secret;
pub mod selection;
mod sentence;
pub mod sessions;
pub mod settings;
pub mod share;
mod steps;
pub mod store;
pub mod time;
mod trace;
pub mod urn;
pub mod verify;
pub mod wake;
pub mod worker;

pub use caller::{Caller, Grants, Role};
