//! The settings in the words of the core.

use std::time::Duration;

use dipper_archive::bucket::BucketSettings;
use dipper_archive::digest::Algorithm;
use dipper_archive::ocfl::layout::{HashedTuples, Layout};
use dipper_core::db::Server;
use dipper_core::db::deletions::Policy;
use dipper_core::deletion::DeletionSettings;
use dipper_core::installation::Places;
use dipper_core::scrub::FixitySettings;
use dipper_core::settings::{AreaSettings, DepositSettings, RecallSettings};
use dipper_core::share::Shares;

use super::{Checksum, ConfigError, DeletionPolicy, Problem, Settings, Split, StoreLinks};
use crate::dialect::dps;

/// The layouts that a new storage root can be given; each with the parameters that its extension recommends.
const LAYOUTS: [&str; 3] = [
    "0002-flat-direct-storage-layout",
    "0003-hash-and-id-n-tuple-storage-layout",
    "0004-hashed-n-tuple-storage-layout",
];

/// A greater weight would leave nothing for the others.
pub(super) const MAX_WEIGHT: u32 = 1000;

impl Settings {
    /// Where the installation lies. Fails when the database's address is in a file that cannot be read now.
    pub fn places(&self) -> Result<Places, ConfigError> {
        let database = self.database_server().map_err(|problem| ConfigError(vec![problem]))?;
        Ok(Places {
            data: self.data_directory.clone(),
            database,
            keys: Some(self.key_directory()),
            archive: Some(self.archive_root()),
            // The settings were checked when they were loaded.
            archive_bucket: self.archive_url().and_then(|url| self.archive_s3.bucket(url).ok()),
            staging: Some(self.staging_directory()),
            layout: layout(&self.archive.layout).unwrap_or_default(),
            deliveries: self.delivery_bucket().map_err(|problem| ConfigError(vec![problem]))?,
            areas: Some(self.area_directory()),
        })
    }

    /// The database server, if the catalogue is not a file in the data directory. What is wrong with its address is told
    /// without the address.
    pub(super) fn database_server(&self) -> Result<Option<Server>, Problem> {
        let database = &self.database;
        let (key, url) = if database.url_file.as_os_str().is_empty() {
            ("database.url", database.url.reveal().to_owned())
        } else {
            let key = "database.url_file";
            let problem = |message| Problem { key: key.to_owned(), message };
            if !database.url.reveal().is_empty() {
                return Err(problem("is set beside database.url: give one of them".to_owned()));
            }
            let text = std::fs::read_to_string(&database.url_file)
                .map_err(|error| problem(format!("{}: {error}", database.url_file.display())))?;
            if text.trim().is_empty() {
                return Err(problem(format!("{} is empty", database.url_file.display())));
            }
            (key, text)
        };
        if url.trim().is_empty() {
            return Ok(None);
        }
        let server = Server::new(url.trim());
        let mut server = server.map_err(|error| Problem { key: key.to_owned(), message: error.to_string() })?;
        server.max_connections = database.max_connections;
        server.acquire_timeout = Duration::from_secs(database.acquire_timeout_seconds);
        server.statement_timeout = Duration::from_secs(database.statement_timeout_seconds);
        Ok(Some(server))
    }

    /// The bucket that deliveries are put into, if one is named.
    pub(super) fn delivery_bucket(&self) -> Result<Option<BucketSettings>, Problem> {
        let store = &self.delivery.store;
        if store.is_empty() {
            return Ok(None);
        }
        self.delivery_s3.bucket(store).map(Some).map_err(|error| Problem {
            key: if error.setting == "url" {
                "delivery.store".to_owned()
            } else {
                format!("delivery_s3.{}", error.setting)
            },
            message: error.reason,
        })
    }

    /// What is set about orders, deliveries and notices.
    pub fn core(&self) -> dipper_core::settings::Settings {
        let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(3600));
        dipper_core::settings::Settings {
            node: self.identifiers.node.clone(),
            urn_prefix: Some(self.identifiers.urn_prefix.clone()).filter(|prefix| !prefix.is_empty()),
            area: AreaSettings {
                quota_bytes: self.area.quota_bytes,
                kept_fetched: hours(self.area.keep_fetched_hours),
                kept: hours(self.area.keep_hours),
                pickup: Some(self.area.pickup_seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs),
                settle: Duration::from_secs(self.area.settle_seconds),
            },
            deletion: DeletionSettings {
                policy: match self.deletion.policy {
                    DeletionPolicy::Immediate => Policy::Immediate,
                    DeletionPolicy::Grace => Policy::Grace,
                    DeletionPolicy::Approval => Policy::Approval,
                },
                grace: hours(u64::from(self.deletion.grace_days).saturating_mul(24)),
            },
            worker_count: self.worker_count(),
            max_bytes_in_flight: self.worker.max_bytes_in_flight,
            shares: self.shares(),
            recall: self.recall(),
            deposit: self.deposit(),
            fixity: FixitySettings {
                period: Some(self.fixity.period_days).filter(|days| *days > 0).map(|days| hours(u64::from(days) * 24)),
                bytes_per_second: self.fixity.bytes_per_second,
                threads: self.fixity.threads,
            },
            ageing: Duration::from_secs(self.worker.ageing_seconds),
            lease: Duration::from_secs(self.worker.lease_seconds),
            heartbeat: Duration::from_secs(self.worker.heartbeat_seconds),
            poll: Some(self.worker.poll_seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs),
            max_attempts: self.worker.max_attempts.into(),
            backoff: Duration::from_secs(self.worker.backoff_seconds),
            max_backoff: Duration::from_secs(self.worker.max_backoff_seconds),
            link_lifetime: hours(self.delivery.link_hours),
            delivery_kept: hours(self.delivery.keep_hours),
            restore_kept: self.bridge.restore_kept(),
            restore_longest: self.bridge.restore_longest(),
            restore_remembered: self.bridge.restore_remembered(),
            noticed: Some(vec![dps::DIALECT]),
            direct_links: self.delivery.store_links == StoreLinks::Direct,
            checksum: match self.delivery.checksum {
                Checksum::Md5 => Algorithm::Md5,
                Checksum::Sha256 => Algorithm::Sha256,
                Checksum::Sha512 => Algorithm::Sha512,
            },
            split: match self.delivery.split {
                Split::Package => dipper_core::settings::Split::Package,
                Split::Representation => dipper_core::settings::Split::Representation,
            },
            webhook_timeout: Duration::from_secs(self.webhook.timeout_seconds),
            webhook_give_up: hours(self.webhook.give_up_after_hours),
            webhook_max_backoff: Duration::from_secs(self.webhook.max_backoff_seconds),
            // The settings were checked when they were loaded.
            mail: self.mail.core().ok().flatten(),
            egress_allow: self.egress.allow.clone(),
            ..dipper_core::settings::Settings::default()
        }
    }
}

impl Settings {
    fn deposit(&self) -> DepositSettings {
        let deposit = &self.deposit;
        DepositSettings {
            at_once: usize::try_from(deposit.at_once).unwrap_or(1),
            timeout: Duration::from_secs(deposit.timeout_seconds),
            min_bytes_per_second: deposit.min_bytes_per_second,
            max_file_bytes: deposit.max_file_bytes,
            max_redirects: usize::try_from(deposit.max_redirects).unwrap_or(0),
            attempts: deposit.attempts.into(),
            pause: Duration::from_secs(deposit.pause_seconds),
            give_up: Duration::from_secs(deposit.give_up_hours.saturating_mul(3600)),
            ..DepositSettings::default()
        }
    }

    fn recall(&self) -> RecallSettings {
        let recall = &self.recall;
        let link_days = self.delivery.link_hours.div_ceil(24) + 1;
        let days = match recall.days {
            0 if self.delivery.store.is_empty() => u32::try_from(link_days).unwrap_or(u32::MAX),
            0 => 3,
            days => days,
        };
        RecallSettings {
            expedited_from: recall.expedited_from.into(),
            standard_from: recall.standard_from.into(),
            days,
            poll: Duration::from_secs(recall.poll_minutes.saturating_mul(60)),
            give_up: Duration::from_secs(recall.give_up_hours.saturating_mul(3600)),
        }
    }

    fn shares(&self) -> Shares {
        let share = &self.share;
        Shares {
            default_weight: share.default_weight,
            weights: share.weights.iter().filter_map(|entry| weight(entry)).collect(),
            max_steps_per_contract: share.max_steps_per_contract,
            max_bytes_per_contract: share.max_bytes_per_contract,
        }
    }
}

/// A contract and its weight, as in `2d17=4`.
pub(super) fn weight(entry: &str) -> Option<(String, u32)> {
    let (contract_id, weight) = entry.split_once('=')?;
    let weight = weight.trim().parse().ok().filter(|weight| (1..=MAX_WEIGHT).contains(weight))?;
    Some(contract_id.trim().to_owned()).filter(|id| !id.is_empty()).map(|id| (id, weight))
}

/// The layout of that name with its usual parameters.
pub(super) fn layout(name: &str) -> Option<Layout> {
    let [flat, hash_and_id, hashed] = LAYOUTS;
    match name {
        name if name == flat => Some(Layout::FlatDirect),
        name if name == hash_and_id => Some(Layout::HashAndId(HashedTuples::default())),
        name if name == hashed => Some(Layout::Hashed { tuples: HashedTuples::default(), short_object_root: false }),
        _ => None,
    }
}

/// The names of the layouts, for a message.
pub(super) fn layout_names() -> String {
    LAYOUTS.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_core() {
        let settings = Settings::load(&Sources::default()).expect("the defaults are valid");
        // The core knows no contract whose clients are told by webhooks.
        let noticed = Some(vec![dps::DIALECT]);
        let defaults = dipper_core::settings::Settings { noticed, ..dipper_core::settings::Settings::default() };
        assert_eq!(format!("{:?}", settings.core()), format!("{defaults:?}"));
        let places = settings.places().expect("no file is named");
        assert_eq!(places.layout, Layout::default());
        assert!(places.database.is_none());
        assert_eq!(places.key_file(), std::path::Path::new("dipper-data/keys/master.key"));
    }

    #[test]
    fn the_database_is_named_by_its_address_or_by_a_file_and_its_password_never_told() {
        let load = |overrides: &[(&str, &str)]| {
            let overrides = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Settings::load(&Sources { overrides, ..Sources::default() })
        };
        let address = "postgres://dipper:hunter2@db.example.org/catalogue";
        let settings = load(&[("database.url", address), ("database.max_connections", "3")]).expect("valid");
        let server = settings.places().expect("valid").database.expect("a server");
        assert_eq!(
            (server.to_string().as_str(), server.max_connections),
            ("database catalogue at db.example.org:5432", 3)
        );
        assert!(!format!("{settings:?}").contains("hunter2"));

        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("url");
        dipper_archive::publish::write_file(&file, format!("{address}\n").as_bytes()).expect("written");
        let file = file.display().to_string();
        let settings = load(&[("database.url_file", &file)]).expect("valid");
        assert!(settings.places().expect("valid").database.is_some());

        let wrong = [
            ("database.url", "mysql://dipper:hunter2@db.example.org/x", ""),
            ("database.url_file", "/nonexistent/url", ""),
            ("database.url_file", &file, address),
        ];
        for (key, value, url) in wrong {
            let mut overrides = vec![(key, value)];
            overrides.extend((!url.is_empty()).then_some(("database.url", url)));
            let refused = load(&overrides).expect_err("refused").to_string();
            assert!(refused.contains(key) && !refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn weights_are_read() {
        let table = [
            ("2d17=4", Some(("2d17", 4))),
            (" a = 1000 ", Some(("a", 1000))),
            ("a=0", None),
            ("a=1001", None),
            ("=4", None),
            ("a", None),
            ("a=four", None),
        ];
        for (entry, expected) in table {
            assert_eq!(weight(entry), expected.map(|(id, weight)| (id.to_owned(), weight)), "{entry}");
        }
    }

    #[test]
    fn every_layout_has_the_name_that_is_configured() {
        for name in LAYOUTS {
            assert_eq!(layout(name).map(|layout| layout.name()), Some(name));
        }
        assert_eq!(layout("0006-flat-omit-prefix-storage-layout"), None);
    }
}
