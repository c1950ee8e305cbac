//! The contracts: each a folder that turns its own wire into commands of the core, and the core's answers back.
//! They do not know each other.

pub mod bridge;
pub mod dns;
pub mod dps;
pub mod otm;
