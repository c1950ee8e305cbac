//! What a type cannot say about the settings. All problems are told at once.

use std::path::Path;

use dipper_core::{identifier, urn};
use url::Url;

use super::core::MAX_WEIGHT;
use super::{Problem, Settings, StoreLinks};
use crate::http::refusal::begins_with;
use crate::http::tls::Tls;

impl Settings {
    /// Everything that is wrong with these settings; empty when they can be used.
    pub fn check(&self) -> Vec<Problem> {
        let mut found = Found(Vec::new());
        self.check_server(&mut found);
        self.check_tls(&mut found);
        self.check_database(&mut found);
        self.check_issuer(&mut found);
        self.check_work(&mut found);
        self.check_archive(&mut found);
        self.check_store(&mut found);
        self.check_share(&mut found);
        self.check_deposit(&mut found);
        found.0.extend(self.mail.core().err());
        found.0.extend(self.sign_in_agreement("https://localhost").err());
        self.check_names(&mut found);
        self.check_packages(&mut found);
        self.sftp.check(&mut found);
        found.0
    }

    /// What is wrong with files that are read when the server starts. Commands that do not listen need not see them.
    pub fn check_files(&self) -> Vec<Problem> {
        let Some((certificate, key)) = self.tls.files() else { return Vec::new() };
        let problem = Tls::open(certificate, key).err();
        problem.into_iter().map(|error| Problem { key: error.setting.to_owned(), message: error.reason }).collect()
    }

    fn check_server(&self, found: &mut Found) {
        let server = &self.server;
        found.unless(!self.data_directory.as_os_str().is_empty(), "data_directory", "name a directory");
        found.url("server.public_url", &server.public_url);
        found.range("server.max_body_bytes", server.max_body_bytes as u64, 1024, 1 << 30);
        found.range("server.request_timeout_seconds", server.request_timeout_seconds, 1, 3600);
        found.range("server.stall_timeout_seconds", server.stall_timeout_seconds, 1, 86_400);
        found.range("server.shutdown_seconds", server.shutdown_seconds, 0, 86_400);
        found.range("server.max_connections", server.max_connections as u64, 1, 1 << 20);
        let telemetry = &self.telemetry;
        found.url("telemetry.otlp_endpoint", &telemetry.otlp_endpoint);
        found.unless((0.0..=1.0).contains(&telemetry.ratio), "telemetry.ratio", "is not between 0 and 1");
        found.unless(!telemetry.service_name.is_empty(), "telemetry.service_name", "name the service");
        let metrics = &self.metrics;
        found.unless(
            metrics.listen.is_empty() || metrics.address().is_some(),
            "metrics.listen",
            &format!("{:?} is not an address with a port such as 127.0.0.1:9464", metrics.listen),
        );
        found.range("server.rate_limit_burst", server.rate_limit_burst.into(), 1, u32::MAX.into());
    }

    fn check_tls(&self, found: &mut Found) {
        let (tls, public_url) = (&self.tls, &self.server.public_url);
        let set = |path: &Path| !path.as_os_str().is_empty();
        found.unless(!set(&tls.key) || set(&tls.certificate), "tls.certificate", "name the file, or leave out tls.key");
        found.unless(!set(&tls.certificate) || set(&tls.key), "tls.key", "name the file, or leave out tls.certificate");
        let on = tls.files().is_some();
        let plain = public_url.starts_with("http://");
        found.unless(!(on && plain), "server.public_url", "must begin with https://, as [tls] is set");
        if tls.redirect_listen.is_empty() {
            return;
        }
        let message = format!("{:?} is not an address with a port such as 0.0.0.0:80", tls.redirect_listen);
        found.unless(tls.redirect_address().is_some(), "tls.redirect_listen", &message);
        let leads_somewhere = on && public_url.starts_with("https://");
        found.unless(
            leads_somewhere,
            "tls.redirect_listen",
            "needs tls.certificate, tls.key, and a server.public_url with https:// to lead to",
        );
    }

    fn check_database(&self, found: &mut Found) {
        let database = &self.database;
        found.0.extend(self.database_server().err());
        found.range("database.max_connections", database.max_connections.into(), 2, 10_000);
        found.range("database.acquire_timeout_seconds", database.acquire_timeout_seconds, 1, 600);
        found.range("database.statement_timeout_seconds", database.statement_timeout_seconds, 1, 3600);
    }

    fn check_issuer(&self, found: &mut Found) {
        let issuer = &self.issuer;
        found.url("issuer.url", &issuer.url);
        found.url("issuer.jwks_url", &issuer.jwks_url);
        let alone = issuer.url.is_empty() && !issuer.jwks_url.is_empty();
        found.unless(!alone, "issuer.jwks_url", "is set without issuer.url: name the issuer too");
        found.range("issuer.clock_skew_seconds", issuer.clock_skew_seconds, 0, 300);
        found.range("issuer.token_seconds", issuer.token_seconds, 30, 86_400);
        let named = self.dps.roles_claim.split('.').all(|part| !part.is_empty());
        found.unless(
            named,
            "dps.roles_claim",
            "name the claims from the outermost to the innermost, with dots between",
        );
    }

    fn check_work(&self, found: &mut Found) {
        let (worker, delivery, webhook) = (&self.worker, &self.delivery, &self.webhook);
        found.range("worker.count", worker.count as u64, 0, 256);
        found.range("worker.lease_seconds", worker.lease_seconds, 2, 86_400);
        found.range("worker.heartbeat_seconds", worker.heartbeat_seconds, 1, 86_400);
        found.range("worker.poll_seconds", worker.poll_seconds, 0, 3600);
        let in_time = worker.heartbeat_seconds.saturating_mul(2) <= worker.lease_seconds;
        found.unless(
            in_time,
            "worker.heartbeat_seconds",
            "must be at most half of worker.lease_seconds, or a lease ends between two heartbeats",
        );
        found.range("worker.max_attempts", worker.max_attempts.into(), 1, 1000);
        found.range("worker.max_backoff_seconds", worker.max_backoff_seconds, worker.backoff_seconds, 7 * 86_400);
        found.range("delivery.link_hours", delivery.link_hours, 1, 24 * 366);
        let kept = delivery.keep_hours >= delivery.link_hours;
        found.unless(
            kept,
            "delivery.keep_hours",
            "must be at least delivery.link_hours: a link never outlives its content",
        );
        found.range("delivery.keep_hours", delivery.keep_hours, 1, 24 * 3660);
        found.range("delivery.max_concurrent_downloads", delivery.max_concurrent_downloads as u64, 1, 1 << 20);
        found.range("webhook.timeout_seconds", webhook.timeout_seconds, 1, 300);
        found.range("webhook.give_up_after_hours", webhook.give_up_after_hours, 1, 24 * 60);
        found.range("webhook.max_backoff_seconds", webhook.max_backoff_seconds, 1, 7 * 86_400);
    }

    fn check_archive(&self, found: &mut Found) {
        let Some(url) = self.archive_url() else { return };
        if let Err(error) = self.archive_s3.bucket(url) {
            let key = if error.setting == "url" { "archive.root" } else { &format!("archive_s3.{}", error.setting) };
            found.unless(false, key, &error.reason);
        }
    }

    fn check_store(&self, found: &mut Found) {
        /// What signed links of S3 can last at the most.
        const LONGEST_LINK_HOURS: u64 = 7 * 24;
        let delivery = &self.delivery;
        if delivery.store.is_empty() {
            return;
        }
        found.0.extend(self.delivery_bucket().err());
        let possible = delivery.link_hours <= LONGEST_LINK_HOURS || delivery.store_links == StoreLinks::Redirect;
        found.unless(
            possible,
            "delivery.link_hours",
            "must be at most 168 with delivery.store: links into S3 last seven days. Or set delivery.store_links",
        );
    }

    fn check_deposit(&self, found: &mut Found) {
        let deposit = &self.deposit;
        found.range("deposit.at_once", deposit.at_once.into(), 1, 256);
        found.range("deposit.timeout_seconds", deposit.timeout_seconds, 1, 3600);
        found.range("deposit.min_bytes_per_second", deposit.min_bytes_per_second, 0, 1 << 30);
        found.range("deposit.max_file_bytes", deposit.max_file_bytes, 1, i64::MAX as u64);
        found.range("deposit.max_redirects", deposit.max_redirects.into(), 0, 20);
        found.range("deposit.attempts", deposit.attempts.into(), 1, 100);
        found.range("deposit.pause_seconds", deposit.pause_seconds, 1, 86_400);
        found.range("deposit.give_up_hours", deposit.give_up_hours, 1, 24 * 365);
    }

    fn check_share(&self, found: &mut Found) {
        let share = &self.share;
        found.range("worker.ageing_seconds", self.worker.ageing_seconds, 0, 7 * 86_400);
        let fixity = &self.fixity;
        found.range("fixity.period_days", fixity.period_days.into(), 0, 3650);
        found.range("fixity.threads", fixity.threads as u64, 1, 256);
        let recall = &self.recall;
        found.range("recall.standard_from", recall.standard_from.into(), 0, recall.expedited_from.into());
        found.range("recall.days", recall.days.into(), 0, 365);
        found.range("recall.poll_minutes", recall.poll_minutes, 1, 24 * 60);
        found.range("recall.give_up_hours", recall.give_up_hours, 1, 24 * 60);
        found.range("share.default_weight", share.default_weight.into(), 1, MAX_WEIGHT.into());
        for (number, entry) in share.weights.iter().enumerate() {
            let Some((contract_id, _)) = super::core::weight(entry) else {
                let message =
                    format!("{entry:?} is not a contract and a weight of 1 to {MAX_WEIGHT}, as in \"2d17=4\"");
                found.unless(false, "share.weights", &message);
                continue;
            };
            let earlier = share.weights.iter().take(number).filter_map(|earlier| super::core::weight(earlier));
            let twice = earlier.into_iter().any(|(earlier, _)| earlier == contract_id);
            found.unless(!twice, "share.weights", &format!("contract {contract_id} has two weights: keep one"));
        }
    }

    fn check_packages(&self, found: &mut Found) {
        let (identifiers, area) = (&self.identifiers, &self.area);
        found.unless(identifier::is_node(&identifiers.node), "identifiers.node", "write 1 to 16 letters and digits");
        found.unless(
            identifiers.urn_prefix.is_empty() || urn::is_prefix(&identifiers.urn_prefix),
            "identifiers.urn_prefix",
            "write what comes between urn:nbn:de: and the hyphen: letters and digits, with colons between",
        );
        found.range("area.quota_bytes", area.quota_bytes, 0, i64::MAX as u64);
        found.range("area.keep_fetched_hours", area.keep_fetched_hours, 0, 24 * 3660);
        found.range("area.keep_hours", area.keep_hours, 1, 24 * 3660);
        found.range("area.pickup_seconds", area.pickup_seconds, 0, 24 * 3600);
        found.range("area.settle_seconds", area.settle_seconds, 0, 24 * 3600);
        found.range("deletion.grace_days", self.deletion.grace_days.into(), 0, 3660);
        self.bridge.check(found);
        self.console.check(found);
    }

    fn check_names(&self, found: &mut Found) {
        let bases = [
            ("dps.base_path", Some(self.dps.base_path.as_str())),
            ("dns.base_path", self.dns.base_path()),
            ("bridge.base_path", self.bridge.base_path()),
            ("bridge.otm_base_path", self.bridge.otm_base_path()),
            ("console.base_path", self.console.base_path()),
        ];
        let bases = bases.into_iter().filter_map(|(key, base)| Some((key, base?)));
        let mut others =
            vec!["/oauth2", "/swagger", "/deliveries", "/healthz", "/readyz", "/openapi.json", "/.well-known"];
        for (key, base) in bases {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
            let good = base.starts_with('/') && base.len() > 1 && !base.ends_with('/') && !base.contains("//");
            found.unless(
                good && base.bytes().all(plain),
                key,
                "begin with a slash, do not end with one, and use letters, digits, hyphens and slashes alone",
            );
            let taken = good && others.iter().any(|other| begins_with(base, other) || begins_with(other, base));
            found.unless(!taken, key, "is, or lies below or above, a path that Dipper needs for something else");
            others.push(base);
        }
        for entry in &self.egress.allow {
            let host = entry.parse::<std::net::IpAddr>().is_ok() || url::Host::parse(entry).is_ok();
            let good = if entry.contains('/') { is_network(entry) } else { host };
            found.unless(
                good,
                "egress.allow",
                &format!("{entry:?} is neither a host nor a network such as 10.1.0.0/16"),
            );
        }
        let layout = super::core::layout(&self.archive.layout);
        found.unless(layout.is_some(), "archive.layout", &format!("is none of {}", super::core::layout_names()));
        let filter = tracing_subscriber::EnvFilter::builder().parse(&self.log.level);
        found.unless(filter.is_ok(), "log.level", "write error, warn, info, debug or trace, or a filter of those");
    }
}

fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    match (address.parse::<std::net::IpAddr>(), length.parse::<u8>()) {
        (Ok(address), Ok(length)) => length <= if address.is_ipv4() { 32 } else { 128 },
        _ => false,
    }
}

pub(super) struct Found(Vec<Problem>);

impl Found {
    pub(super) fn unless(&mut self, good: bool, key: &str, message: &str) {
        if !good {
            self.0.push(Problem { key: key.to_owned(), message: message.to_owned() });
        }
    }

    pub(super) fn range(&mut self, key: &str, value: u64, least: u64, most: u64) {
        self.unless((least..=most).contains(&value), key, &format!("{value} is not between {least} and {most}"));
    }

    /// Empty, or an absolute address of a web server without query, fragment or credentials.
    fn url(&mut self, key: &str, text: &str) {
        let good = text.is_empty()
            || Url::parse(text).is_ok_and(|url| {
                let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
                matches!(url.scheme(), "http" | "https") && url.has_host() && bare
            });
        self.unless(good, key, &format!("{text:?} is not an address such as https://dipper.example.org"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use super::*;

    #[test]
    fn every_problem_is_told_at_once() {
        let mut settings = Settings::load(&Sources::default()).expect("the defaults are valid");
        settings.server.public_url = "dipper.example.org".to_owned();
        settings.issuer.jwks_url = "https://login.example.org/keys".to_owned();
        settings.worker.heartbeat_seconds = 40;
        settings.delivery.keep_hours = 1;
        settings.share.default_weight = 0;
        settings.share.weights = ["2d17=4", "heavy", "2d17=5"].map(str::to_owned).to_vec();
        settings.dps.base_path = "/oauth2/dps".to_owned();
        settings.egress.allow = vec!["10.0.0.0/33".to_owned(), "ok.example.org".to_owned(), "fe80::/10".to_owned()];
        settings.log.level = "=loud=".to_owned();
        settings.identifiers.node = "8-1".to_owned();
        settings.identifiers.urn_prefix = "hbz:6:1-".to_owned();
        settings.area.keep_hours = 0;
        let keys: Vec<_> = settings.check().into_iter().map(|problem| problem.key).collect();
        assert_eq!(
            keys,
            [
                "server.public_url",
                "issuer.jwks_url",
                "worker.heartbeat_seconds",
                "delivery.keep_hours",
                "share.default_weight",
                "share.weights",
                "share.weights",
                "dps.base_path",
                "egress.allow",
                "log.level",
                "identifiers.node",
                "identifiers.urn_prefix",
                "area.keep_hours",
            ]
        );
    }

    #[test]
    fn a_store_needs_a_bucket_and_links_that_it_can_make() {
        let mut settings = Settings::load(&Sources::default()).expect("the defaults are valid");
        let keys = |settings: &Settings| -> Vec<_> { settings.check().into_iter().map(|found| found.key).collect() };
        settings.delivery.store = "dips/out".to_owned();
        assert_eq!(keys(&settings), ["delivery.store"]);
        settings.delivery.store = "s3://dips/out".to_owned();
        assert!(keys(&settings).is_empty());
        settings.delivery_s3.endpoint = "http://127.0.0.1:9000".to_owned();
        assert_eq!(keys(&settings), ["delivery_s3.endpoint"]);
        settings.delivery_s3.allow_http = true;
        settings.delivery.link_hours = 169;
        assert_eq!(keys(&settings), ["delivery.link_hours"]);
        settings.delivery.store_links = StoreLinks::Redirect;
        assert!(keys(&settings).is_empty());
        settings.delivery_s3.checksum = "crc32".to_owned();
        assert_eq!(keys(&settings), ["delivery_s3.checksum"]);
    }

    #[test]
    fn tls_needs_both_files_and_an_address_that_clients_reach_by_https() {
        let keys = |changes: &[(&str, &str)]| -> Vec<String> {
            let overrides = changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let loaded = Settings::load(&Sources { overrides, ..Sources::default() });
            loaded.err().map_or_else(Vec::new, |error| error.0.into_iter().map(|problem| problem.key).collect())
        };
        let (certificate, key) = (("tls.certificate", "chain.pem"), ("tls.key", "key.pem"));
        let (plain, secure) =
            (("server.public_url", "http://dipper.example.org"), ("server.public_url", "https://dipper.example.org"));
        let redirect = ("tls.redirect_listen", "0.0.0.0:80");
        for (changes, expected) in [
            (&[certificate, key][..], &[][..]),
            (&[certificate], &["tls.key"]),
            (&[key], &["tls.certificate"]),
            (&[certificate, key, secure, redirect], &[]),
            (&[certificate, key, plain], &["server.public_url"]),
            (&[certificate, key, redirect], &["tls.redirect_listen"]),
            (&[secure, redirect], &["tls.redirect_listen"]),
            (&[certificate, key, secure, ("tls.redirect_listen", "80")], &["tls.redirect_listen"]),
        ] {
            assert_eq!(keys(changes), expected, "{changes:?}");
        }
    }

    #[test]
    fn base_paths() {
        let mut settings = Settings::load(&Sources::default()).expect("the defaults are valid");
        for (path, good) in [("/dps-submission", true), ("/a/b", true), ("", false), ("/", false), ("dps", false)]
            .into_iter()
            .chain([("/dps/", false), ("/a//b", false), ("/{x}", false), ("/swagger", false), ("/swagger-dps", true)])
            .chain([("/daweb3", false), ("/daweb3/dps", false), ("/daweb33", true)])
        {
            settings.dps.base_path = path.to_owned();
            assert_eq!(settings.check().is_empty(), good, "{path}");
        }
    }
}
