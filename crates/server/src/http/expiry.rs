//! When the certificate that is shown expires: a figure for those who watch, and a line a day in the log once it is near.

use std::time::Duration;

use dipper_core::time::Timestamp;
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::metrics;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// By then whoever renews certificates by a machine has done so, and whoever does it by hand still has the time.
const NEAR: Duration = DAY.saturating_mul(21);

/// The end of a certificate, and when the log last spoke of it.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    ends: Option<Timestamp>,
    told: Option<Timestamp>,
}

impl Expiry {
    /// Of a certificate that is in use from now on. One that cannot be read is as good for connections, and has none.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Expiry {
        let read = Certificate::from_der(certificate).ok();
        let seconds = read.map(|read| read.tbs_certificate().validity().not_after.to_unix_duration());
        Expiry { ends: seconds.map(|seconds| Timestamp(0).plus(seconds)), told: None }
    }

    /// Sets the figure.
    pub(super) fn show(&self) {
        metrics::certificate_expires(self.ends.map_or(0, Timestamp::unix_seconds));
    }

    /// Says in the log, once a day, that the end is near or past.
    pub(super) fn remind(&mut self, now: Timestamp) {
        let Some(ends) = self.due(now) else { return };
        self.told = Some(now);
        if ends <= now {
            tracing::error!(%ends, "the certificate has expired: clients refuse it; replace the files of [tls]");
        } else {
            let days = ends.since(now).as_secs() / DAY.as_secs();
            tracing::warn!(%ends, days, "the certificate expires soon: replace the files of [tls]");
        }
    }

    /// The end, if it is to be spoken of.
    fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.ends.filter(|ends| ends.minus(NEAR) <= now)?;
        self.told.is_none_or(|told| now.since(told) >= DAY).then_some(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_speaks_of_it_once_a_day_from_three_weeks_before() {
        let at = |days: u64| Timestamp(0).plus(DAY * u32::try_from(days).unwrap_or(u32::MAX));
        let mut expiry = Expiry { ends: Some(at(100)), told: None };
        let mut spoken = Vec::new();
        for hour in 70 * 24..103 * 24 {
            let now = Timestamp(0).plus(Duration::from_secs(hour * 3600));
            if expiry.due(now).is_some() {
                spoken.push(hour / 24);
                expiry.remind(now);
            }
        }
        assert_eq!(spoken, (79..103).collect::<Vec<_>>());
        assert_eq!(Expiry::default().due(at(1000)), None);
    }
}
