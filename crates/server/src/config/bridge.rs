//! The Bridge API, in both of its texts.

use std::time::Duration;

use serde::Deserialize;

use super::check::Found;

const MAX_HOURS: u64 = 24 * 3660;

/// The Bridge API, in both of its texts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Where the draft is found.
    pub base_path: String,
    /// Where the published text is found.
    pub otm_base_path: String,
    /// The longest request body that is read.
    pub max_body_bytes: usize,
    /// How long the files of a restore can be fetched.
    pub restore_hours: u64,
    /// How long that can be made at the longest.
    pub restore_max_hours: u64,
    /// For how many days a restore is told of when its time is over.
    pub restore_remembered_days: u64,
}

impl BridgeSettings {
    /// Where the draft is found, if there is one.
    pub fn base_path(&self) -> Option<&str> {
        self.enabled.then_some(self.base_path.as_str())
    }

    /// Where the published text is found, if there is one.
    pub fn otm_base_path(&self) -> Option<&str> {
        self.enabled.then_some(self.otm_base_path.as_str())
    }

    /// How long the files of a restore can be fetched.
    pub fn restore_kept(&self) -> Duration {
        Duration::from_secs(self.restore_hours.saturating_mul(3600))
    }

    /// How long that can be made at the longest.
    pub fn restore_longest(&self) -> Duration {
        Duration::from_secs(self.restore_max_hours.saturating_mul(3600))
    }

    /// How long a restore is told of when its time is over.
    pub fn restore_remembered(&self) -> Duration {
        Duration::from_secs(self.restore_remembered_days.saturating_mul(24 * 3600))
    }

    pub(super) fn check(&self, found: &mut Found) {
        found.range("bridge.max_body_bytes", self.max_body_bytes as u64, 1024, 1 << 30);
        found.range("bridge.restore_hours", self.restore_hours, 1, MAX_HOURS);
        found.range("bridge.restore_max_hours", self.restore_max_hours, self.restore_hours.max(1), MAX_HOURS);
        found.range("bridge.restore_remembered_days", self.restore_remembered_days, 1, 36_600);
    }
}
