//! How long a client waits before it tries again, and how often.

use std::time::Duration;

use rand::RngExt as _;
use reqwest::Response;
use reqwest::header::RETRY_AFTER;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// The longest `Retry-After` that is waited for rather than told.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// Waits that double, with jitter, so that many clients do not come back at once; and an end.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    attempts: u32,
    failures: u32,
}

impl Patience {
    /// Gives up after so many attempts that brought nothing.
    pub(crate) fn new(attempts: u32) -> Patience {
        Patience { attempts, failures: 0 }
    }

    /// Something was brought: the count begins anew.
    pub(crate) fn renew(&mut self) {
        self.failures = 0;
    }

    /// The wait before the next attempt, or `None` when it is enough. `asked` is what the server asked for.
    pub(crate) fn wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.failures += 1;
        if self.failures >= self.attempts || asked.is_some_and(|asked| asked > LONGEST_ASKED) {
            return None;
        }
        let own = grown(FIRST, LONGEST, self.failures);
        Some(own.mul_f64(rand::rng().random_range(0.5..1.0)).max(asked.unwrap_or_default()))
    }
}

/// `first`, doubled with each time after the first, at most `longest`.
pub(crate) fn grown(first: Duration, longest: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(longest)
}

/// Whether an answer may be another one later.
pub(crate) fn is_passing(status: reqwest::StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error()
}

/// How long the server asks its client to wait.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_an_end() {
        let mut patience = Patience::new(4);
        let waits: Vec<_> = (0..4).map(|_| patience.wait(None)).collect();
        for (wait, most) in waits.iter().zip([500, 1000, 2000]) {
            let wait = wait.expect("a wait").as_millis();
            assert!((most / 2..=most).contains(&wait), "{wait} of {most}");
        }
        assert_eq!(waits[3], None);
        patience.renew();
        assert_eq!(patience.wait(Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(patience.wait(Some(Duration::from_secs(3600))), None);
        assert_eq!(grown(FIRST, LONGEST, u32::MAX), LONGEST);
    }
}
