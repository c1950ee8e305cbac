//! The settings of the SFTP server.

use std::net::SocketAddr;

use serde::Deserialize;

use super::check::Found;

/// The SFTP server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftpSettings {
    /// The address and port to listen on; empty for not at all.
    pub listen: String,
    /// Sessions at a time.
    pub max_sessions: usize,
    /// Sessions of one client at a time.
    pub max_sessions_per_client: usize,
    /// How long a client may take to sign in.
    pub login_seconds: u64,
    /// How long nothing may move.
    pub idle_seconds: u64,
    /// The longest file that may be handed in; 0 for no bound.
    pub max_file_bytes: u64,
}

impl SftpSettings {
    /// The address to listen on, if there is one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }

    pub(super) fn check(&self, found: &mut Found) {
        found.unless(
            self.listen.is_empty() || self.address().is_some(),
            "sftp.listen",
            &format!("{:?} is not an address with a port such as 0.0.0.0:2222", self.listen),
        );
        // Each has a thread of its own.
        found.range("sftp.max_sessions", self.max_sessions as u64, 1, 400);
        found.range("sftp.max_sessions_per_client", self.max_sessions_per_client as u64, 1, 400);
        found.range("sftp.login_seconds", self.login_seconds, 1, 3600);
        found.range("sftp.idle_seconds", self.idle_seconds, 1, 86_400);
    }
}
