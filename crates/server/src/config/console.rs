//! The console.

use std::time::Duration;

use serde::Deserialize;

use super::OidcSettings;
use super::check::Found;

/// The console.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it is found.
    pub base_path: String,
    /// How long a session lasts that is not used.
    pub idle_minutes: u64,
    /// How long a session lasts in all.
    pub session_hours: u64,
    /// The issuer at which people sign in.
    pub oidc: OidcSettings,
}

impl ConsoleSettings {
    /// Where it is found, if there is one.
    pub fn base_path(&self) -> Option<&str> {
        self.enabled.then_some(self.base_path.as_str())
    }

    /// How long sessions last.
    pub fn lifetimes(&self) -> dipper_core::sessions::Lifetimes {
        dipper_core::sessions::Lifetimes {
            idle: Duration::from_secs(self.idle_minutes.saturating_mul(60)),
            longest: Duration::from_secs(self.session_hours.saturating_mul(3600)),
        }
    }

    pub(super) fn check(&self, found: &mut Found) {
        found.range("console.idle_minutes", self.idle_minutes, 1, 30 * 24 * 60);
        found.range("console.session_hours", self.session_hours, 1, 30 * 24);
    }
}
