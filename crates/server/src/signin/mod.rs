//! Sign-in: who calls, and with which rights.
//!
//! A bearer token is checked by [`TokenVerifier`] against the keys of one issuer: an external one, or the embedded
//! one of [`issuer`]. Names and secrets are checked by [`password::Passwords`]. [`oidc::Oidc`] has
//! people sign in at an issuer of their own. What a handler needs stands in its signature as a [`Permit`].

mod basic;
mod documents;
pub mod issuer;
mod jwks;
mod keys;
pub mod oidc;
pub mod password;
mod permit;
mod roles;
mod throttle;
mod verified;
mod verifier;

pub use basic::BasicPermit;
pub use jwks::RemoteKeys;
pub use keys::{KeySet, SelectError};
pub use permit::{Gate, Operator, Permit, Read, Right, Write};
pub(crate) use permit::{admit, peer};
pub use throttle::Throttle;
pub use verifier::{Expectations, KeySource, TokenError, TokenVerifier, now_seconds};
