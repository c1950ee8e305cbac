//! What can be set about orders, deliveries and notices.

use std::time::Duration;

use dipper_archive::digest::Algorithm;
use dipper_archive::storage::Tier;

use crate::deletion::DeletionSettings;
use crate::mail::MailSettings;
use crate::scrub::FixitySettings;
use crate::share::Shares;

/// What becomes one delivered file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The whole package.
    Package,
    /// Each directory below `representations/`, and one more file for what lies outside of them.
    Representation,
}

/// What can be set about orders, deliveries and notices. `Default` gives what the annotated configuration file says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which of several installations this is: identifiers of packages begin with it.
    pub node: String,
    /// What comes after `urn:nbn:de:` in the URNs that packages get which have none; `None` when they get none.
    pub urn_prefix: Option<String>,
    /// The areas of contracts.
    pub area: AreaSettings,
    /// How deletions are carried out.
    pub deletion: DeletionSettings,
    /// How many steps are worked on at a time.
    pub worker_count: usize,
    /// How many bytes the steps that are worked on may have together in one process; 0 for no bound. A larger step is
    /// worked on alone.
    pub max_bytes_in_flight: u64,
    /// How work is divided among contracts.
    pub shares: Shares,
    /// How content is brought back from archive classes.
    pub recall: RecallSettings,
    /// How the files of deposits are fetched.
    pub deposit: DepositSettings,
    /// How everything is read again regularly.
    pub fixity: FixitySettings,
    /// How much waiting a point of an order's urgency is worth.
    pub ageing: Duration,
    /// How long a step belongs to a worker that has stopped reporting.
    pub lease: Duration,
    /// How often a worker reports.
    pub heartbeat: Duration,
    /// How often a worker looks for work that nobody told it of; `None` for what suits the database.
    pub poll: Option<Duration>,
    /// How often a step is tried.
    pub max_attempts: i64,
    /// The wait after the first failed attempt; doubled after each further one.
    pub backoff: Duration,
    /// The longest wait between attempts.
    pub max_backoff: Duration,
    /// How long a link works.
    pub link_lifetime: Duration,
    /// How long new links can be had.
    pub delivery_kept: Duration,
    /// How long the files of a restore can be fetched.
    pub restore_kept: Duration,
    /// How long that can be made at the longest, counted from when it is asked for.
    pub restore_longest: Duration,
    /// How long a restore is told of when its time is over.
    pub restore_remembered: Duration,
    /// The contracts that have words for notices to webhooks; `None`: all of them. Of an order that was made elsewhere, as in the
    /// console, no webhook is told.
    pub noticed: Option<Vec<&'static str>>,
    /// Whether links to what lies in the store of deliveries lead there at once, rather than through Dipper.
    pub direct_links: bool,
    /// How long a step waits that could not reach the store of deliveries.
    pub store_pause: Duration,
    /// How often the store of deliveries is swept.
    pub sweep: Duration,
    /// How often it is looked through as a whole.
    pub sweep_all: Duration,
    /// How long the chore of sweeping belongs to a process that has stopped reporting.
    pub sweep_lease: Duration,
    /// The least age of something in the store, by its own clock, that nobody remembers and that is deleted.
    pub orphan_age: Duration,
    /// The algorithm of the checksum that is told with a delivered file.
    pub checksum: Algorithm,
    /// What becomes one delivered file.
    pub split: Split,
    /// How long a webhook's receiver may take to answer.
    pub webhook_timeout: Duration,
    /// How long a notice is tried.
    pub webhook_give_up: Duration,
    /// The wait after the first failed attempt of a notice.
    pub webhook_backoff: Duration,
    /// The longest wait between attempts of a notice.
    pub webhook_max_backoff: Duration,
    /// The mail server; without one no e-mail is sent.
    pub mail: Option<MailSettings>,
    /// Hosts and networks that may be called although their addresses are private.
    pub egress_allow: Vec<String>,
}

/// The areas of contracts.
#[derive(Clone, Debug)]
pub struct AreaSettings {
    /// How many bytes may lie in the outgoing directory of a contract that has no quota of its own; 0 for no bound.
    pub quota_bytes: u64,
    /// How long a file stays there after it was fetched.
    pub kept_fetched: Duration,
    /// How long a file stays there that nobody fetches.
    pub kept: Duration,
    /// How often the incoming directories are looked at; `None` for never.
    pub pickup: Option<Duration>,
    /// How long a file there must have stayed as it is before it is picked up.
    pub settle: Duration,
}

impl Default for AreaSettings {
    fn default() -> AreaSettings {
        AreaSettings {
            quota_bytes: 0,
            kept_fetched: Duration::from_secs(24 * 3600),
            kept: Duration::from_secs(336 * 3600),
            pickup: Some(Duration::from_secs(10)),
            settle: Duration::from_secs(30),
        }
    }
}

/// How content is brought back from archive classes.
#[derive(Clone, Debug)]
pub struct RecallSettings {
    /// Orders at least this urgent have the fastest tier.
    pub expedited_from: i64,
    /// Orders at least this urgent have the middle tier; all others have the slowest.
    pub standard_from: i64,
    /// For how many days recalled content can be read.
    pub days: u32,
    /// How often a recall is looked at.
    pub poll: Duration,
    /// How long a recall may take.
    pub give_up: Duration,
}

impl Default for RecallSettings {
    fn default() -> RecallSettings {
        RecallSettings {
            expedited_from: 90,
            standard_from: 30,
            days: 8,
            poll: Duration::from_secs(15 * 60),
            give_up: Duration::from_secs(120 * 3600),
        }
    }
}

impl RecallSettings {
    /// The tier for an order of that urgency.
    pub fn tier(&self, rank: i64) -> Tier {
        match rank {
            rank if rank >= self.expedited_from => Tier::Expedited,
            rank if rank >= self.standard_from => Tier::Standard,
            _ => Tier::Bulk,
        }
    }
}

/// How the files of deposits are fetched from the gateways of their depositors.
#[derive(Clone, Debug)]
pub struct DepositSettings {
    /// How many files are fetched at a time from one gateway, over all processes.
    pub at_once: usize,
    /// How long a gateway may take to answer, and how long it may send nothing.
    pub timeout: Duration,
    /// How many bytes a gateway has to send in a second, over a minute.
    pub min_bytes_per_second: u64,
    /// The greatest length of a file whose length was not declared.
    pub max_file_bytes: u64,
    /// How many redirects are followed.
    pub max_redirects: usize,
    /// How often a file is asked for before its deposit fails or waits.
    pub attempts: i64,
    /// The wait after the first of these attempts; doubled after each further one.
    pub backoff: Duration,
    /// The longest wait between them.
    pub max_backoff: Duration,
    /// How long a deposit waits whose gateway does not answer.
    pub pause: Duration,
    /// How long a deposit is tried whose gateway does not answer.
    pub give_up: Duration,
}

impl Default for DepositSettings {
    fn default() -> DepositSettings {
        DepositSettings {
            at_once: 8,
            timeout: Duration::from_secs(60),
            min_bytes_per_second: 1024,
            max_file_bytes: 5 << 40,
            max_redirects: 5,
            attempts: 4,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
            pause: Duration::from_secs(60),
            give_up: Duration::from_secs(72 * 3600),
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            node: "1".to_owned(),
            urn_prefix: None,
            area: AreaSettings::default(),
            deletion: DeletionSettings::default(),
            worker_count: std::thread::available_parallelism().map_or(2, usize::from).min(8),
            max_bytes_in_flight: 0,
            shares: Shares::default(),
            recall: RecallSettings::default(),
            deposit: DepositSettings::default(),
            fixity: FixitySettings::default(),
            ageing: Duration::from_secs(60),
            lease: Duration::from_secs(60),
            heartbeat: Duration::from_secs(15),
            poll: None,
            max_attempts: 5,
            backoff: Duration::from_secs(2),
            max_backoff: Duration::from_secs(300),
            link_lifetime: Duration::from_secs(168 * 3600),
            delivery_kept: Duration::from_secs(336 * 3600),
            restore_kept: Duration::from_secs(336 * 3600),
            restore_longest: Duration::from_secs(2160 * 3600),
            restore_remembered: Duration::from_secs(90 * 24 * 3600),
            noticed: None,
            direct_links: true,
            store_pause: Duration::from_secs(15),
            sweep: Duration::from_secs(60),
            sweep_all: Duration::from_secs(6 * 3600),
            sweep_lease: Duration::from_secs(600),
            orphan_age: Duration::from_secs(24 * 3600),
            checksum: Algorithm::Md5,
            split: Split::Package,
            webhook_timeout: Duration::from_secs(10),
            webhook_give_up: Duration::from_secs(120 * 3600),
            webhook_backoff: Duration::from_secs(5),
            webhook_max_backoff: Duration::from_secs(8 * 3600),
            mail: None,
            egress_allow: Vec::new(),
        }
    }
}

/// `first` doubled `failures - 1` times, at most `longest`.
pub(crate) fn backoff(first: Duration, longest: Duration, failures: i64) -> Duration {
    let doublings = failures.saturating_sub(1).clamp(0, 30);
    first.saturating_mul(1 << doublings).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let table = [(0, 2), (1, 2), (2, 4), (3, 8), (6, 60), (1000, 60), (i64::MAX, 60)];
        for (failures, seconds) in table {
            let found = backoff(Duration::from_secs(2), Duration::from_secs(60), failures);
            assert_eq!(found, Duration::from_secs(seconds), "{failures}");
        }
    }
}
