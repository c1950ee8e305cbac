//! The way of each package: ingested, ordered, verified, told, fetched, and looked at.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use dipper_archive::bagit::{self, Limits};
use dipper_archive::publish;
use dipper_core::db::events::Event;
use dipper_core::ingest::{IngestCommand, Ingested, ingest};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::setup::{CLIENT, CONTRACT, Setup};
use super::{Story, sample};
use crate::cli::bar;
use crate::cli::exit::{Exit, told};
use crate::cli::ingest::control;
use crate::cli::output::{count, plain, size};
use crate::cli::remote::api::{Api, Credentials, DeliveredFile, Dissemination, Ordered};
use crate::cli::remote::download::Download;
use crate::cli::remote::fetch::targets;
use crate::cli::remote::order::{ended, follow};

/// How long a notice may take before the demo goes on without it.
const NOTICE_PATIENCE: Duration = Duration::from_secs(30);

/// Shows packages their way.
pub(super) struct Tour<'a> {
    setup: &'a Setup,
    api: Api,
    story: Story,
}

/// A package that has come to its end.
pub(super) struct Shown {
    pub(super) archive_id: String,
    ingested: Ingested,
    object_id: String,
    dissemination_id: String,
    notice: Option<String>,
    files: Vec<(PathBuf, DeliveredFile)>,
}

impl Shown {
    pub(super) fn json(&self) -> Value {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|(path, file)| {
                let (algorithm, checksum) = (&file.checksum_algorithm, &file.checksum);
                let path = path.display().to_string();
                json!({ "path": path, "bytes": file.filesize, "checksum": checksum, "checksumAlgorithm": algorithm })
            })
            .collect();
        json!({
            "archiveId": self.archive_id,
            "objectId": self.object_id,
            "version": self.ingested.version,
            "files": self.ingested.files,
            "bytes": self.ingested.bytes,
            "unchanged": self.ingested.unchanged,
            "disseminationId": self.dissemination_id,
            "notice": self.notice,
            "delivered": files,
        })
    }
}

impl<'a> Tour<'a> {
    pub(super) fn new(setup: &'a Setup, url: &str, story: Story) -> anyhow::Result<Tour<'a>> {
        let server: Url = url.parse().with_context(|| format!("{url} is no address"))?;
        let at = |path: &str| server.join(path).with_context(|| format!("{path} is no path"));
        let credentials = Credentials::Client {
            client_id: CLIENT.to_owned(),
            secret: setup.secret.clone(),
            token_url: at("/oauth2/token")?,
        };
        Ok(Tour { setup, api: Api::new(at(&setup.base_path)?, credentials)?, story })
    }

    /// Shows the sample, and a package of the reader's own.
    pub(super) async fn show(&self, own: Option<&Path>, stop: &CancellationToken) -> anyhow::Result<Vec<Shown>> {
        let unpacked = sample::unpack(&self.setup.directory);
        let bag = unpacked.with_context(|| format!("{} cannot be written", self.setup.directory.display()))?;
        let mut packages = vec![(bag, sample::OBJECT_ID.to_owned())];
        if let Some(own) = own {
            packages.push((own.to_owned(), object_id(own)?));
        }
        let mut shown = Vec::new();
        for (path, object_id) in packages {
            shown.push(self.show_one(path, object_id, stop).await?);
        }
        Ok(shown)
    }

    async fn show_one(&self, path: PathBuf, object_id: String, stop: &CancellationToken) -> anyhow::Result<Shown> {
        let ingested = self.ingest(path, &object_id, stop).await?;
        let delivered = self.order(&ingested.package_id).await?;
        let notice = self.notice(&delivered).await?;
        let files = self.fetch(&delivered).await?;
        for (path, _) in &files {
            self.look_into(path).await?;
        }
        Ok(Shown {
            archive_id: ingested.package_id.clone(),
            ingested,
            object_id,
            dissemination_id: delivered.dissemination_id,
            notice,
            files,
        })
    }

    async fn ingest(&self, path: PathBuf, object_id: &str, stop: &CancellationToken) -> anyhow::Result<Ingested> {
        let began = Instant::now();
        let command = IngestCommand {
            path: path.clone(),
            contract_id: CONTRACT.to_owned(),
            object_id: object_id.to_owned(),
            ..IngestCommand::default()
        };
        let bar = bar::bytes(0, "ingesting");
        let ingested = ingest(&self.setup.installation, command, control(&bar, stop.clone())).await;
        bar.finish_and_clear();
        let ingested = ingested?;
        self.story.tell("", "")?;
        let (files, bytes, took) = (count(ingested.files, "file"), size(ingested.bytes), milliseconds(began));
        let stored = if ingested.unchanged { "stored already, nothing added" } else { "stored" };
        let what = format!(
            "{}: package {}, version {}: {files}, {bytes}, every byte hashed and {stored}, in {took}",
            plain(&path.display().to_string()),
            ingested.package_id,
            ingested.version
        );
        self.story.tell("ingest", &what)?;
        Ok(ingested)
    }

    /// Orders the package; takes up the order of a demo that was broken off.
    async fn order(&self, archive_id: &str) -> anyhow::Result<Dissemination> {
        let ordered = match self.api.order(archive_id, None).await? {
            Ordered::New(ordered) => *ordered,
            Ordered::UnderWay { existing, .. } => self.api.get(&existing).await?,
        };
        let id = ordered.dissemination_id.clone();
        self.story.tell("order", &id)?;
        let found = follow(&self.api, ordered, None, |_| {}).await?;
        for (event, since) in self.states(&id).await? {
            let more = if event.detail.is_empty() { String::new() } else { format!(": {}", plain(&event.detail)) };
            self.story.tell("", &format!("+ {since:7.1} ms  {}{more}", event.kind))?;
        }
        if found.is_delivered() { Ok(found) } else { Err(ended(&found)) }
    }

    /// What was recorded of an order, each with the milliseconds since its beginning.
    async fn states(&self, id: &str) -> anyhow::Result<Vec<(Event, f64)>> {
        let events = self.setup.administration.event_list(Some(id), None, 100).await?;
        let Some(first) = events.first().map(|event| event.at) else {
            return Ok(Vec::new());
        };
        Ok(events
            .into_iter()
            .map(|event| {
                let since = event.at.since(first).as_secs_f64() * 1000.0;
                (event, since)
            })
            .collect())
    }

    async fn notice(&self, delivered: &Dissemination) -> anyhow::Result<Option<String>> {
        let mut receiving = self.setup.receiving.lock().await;
        let notice = receiving.notice(&delivered.dissemination_id, NOTICE_PATIENCE).await;
        match &notice {
            Some(notice) => {
                let what = format!("{} came to the webhook, and its signature is right", plain(&notice.kind));
                self.story.tell("notice", &what)?;
            }
            None => {
                let seconds = NOTICE_PATIENCE.as_secs();
                self.story.tell("notice", &format!("none came in {seconds} s: see `dipper webhook attempts`"))?;
            }
        }
        Ok(notice.map(|notice| notice.kind))
    }

    /// Fetches every file anew.
    async fn fetch(&self, delivered: &Dissemination) -> anyhow::Result<Vec<(PathBuf, DeliveredFile)>> {
        let directory = self.setup.directory.join("downloads");
        publish::create_directories(&directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        let targets = targets(Some(&directory), &delivered.files)?;
        let mut fetched = Vec::new();
        for (index, (file, target)) in delivered.files.iter().zip(targets).enumerate() {
            publish::remove_file(&target).with_context(|| format!("{} cannot be removed", target.display()))?;
            let began = Instant::now();
            let bar = bar::bytes(file.filesize, "fetching");
            let download =
                Download::new(&self.api, &delivered.dissemination_id, index, file, target.clone(), bar.clone())?;
            let done = download.run().await;
            bar.finish_and_clear();
            done?;
            let (bytes, algorithm, checksum) = (size(file.filesize), &file.checksum_algorithm, &file.checksum);
            let took = milliseconds(began);
            let what = format!("{}: {bytes} in {took}, {algorithm} {checksum} is right", target.display());
            self.story.tell("fetch", &what)?;
            fetched.push((target, file.clone()));
        }
        Ok(fetched)
    }

    /// Validates the bag in a fetched file with all its checksums.
    async fn look_into(&self, path: &Path) -> anyhow::Result<()> {
        let opened = path.to_owned();
        let work = move || -> anyhow::Result<(u64, u64)> {
            let submission = bagit::open(&opened, &Limits::default())?;
            let files = submission.files().len() as u64;
            let bytes = submission.files().iter().map(|file| file.size).sum();
            let report = bagit::validate(&opened, &Limits::default())?;
            if report.is_valid() {
                return Ok((files, bytes));
            }
            Err(told(Exit::Damage, format!("the bag in {} is not valid:\n{report}", opened.display())))
        };
        let (files, bytes) = tokio::task::spawn_blocking(work).await.context("the thread ended in a panic")??;
        let what =
            format!("the tar holds a valid bag: {}, {}, every checksum is right", count(files, "file"), size(bytes));
        self.story.tell("bag", &what)
    }
}

/// The name of a directory or file, as the depositor's name for the package.
fn object_id(path: &Path) -> anyhow::Result<String> {
    let whole = path.canonicalize().with_context(|| format!("{} cannot be found", path.display()))?;
    let name = whole.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).with_context(|| format!("{} has no name in UTF-8", path.display()))
}

fn milliseconds(began: Instant) -> String {
    format!("{:.1} ms", began.elapsed().as_secs_f64() * 1000.0)
}
