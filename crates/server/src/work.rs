//! What is done besides answering requests: steps, notices and sweeping, in the server or in a process of their own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use dipper_core::area::sweep::AreaSweeper;
use dipper_core::db::processes::ProcessKind;
use dipper_core::incoming::Pickup;
use dipper_core::installation::Installation;
use dipper_core::intake::Intake;
use dipper_core::link::Links;
use dipper_core::mail::Mailer;
use dipper_core::notify::{NoticeRenderer, Notifier};
use dipper_core::oversight::presence::Presence;
use dipper_core::recovery;
use dipper_core::scrub::Scrubber;
use dipper_core::store::sweep::Sweeper;
use dipper_core::time::Clock;
use dipper_core::wake;
use dipper_core::worker::Worker;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::Settings;
use crate::dialect::{dns, dps};
use crate::mail::Words;
use crate::metrics::Metrics;

/// The installation, and what tells others of it.
pub(crate) struct Background {
    pub(crate) installation: Arc<Installation>,
    pub(crate) senders: Senders,
    pub(crate) links: Links,
}

/// What sends notices, and e-mail if a mail server is named.
pub(crate) struct Senders {
    notifier: Notifier,
    mailer: Option<Mailer>,
}

impl Background {
    /// Opens what the settings name, and finishes what a crash left. Links begin with `base`.
    pub(crate) async fn open(settings: &Settings, base: Url, clock: Clock) -> anyhow::Result<Background> {
        let installation = Arc::new(Installation::open(settings.places()?, settings.core(), clock).await?);
        // Safe to repeat, so one that cannot be finished now does not keep the rest from being done.
        if let Err(error) = recovery::recover(&installation).await {
            tracing::warn!(%error, "what a crash left could not be finished");
        }
        let direct = installation.store.clone().filter(|_| installation.settings.direct_links);
        let links = Links::new(&installation.key, base).direct(direct);
        let renderers: HashMap<&'static str, Box<dyn NoticeRenderer>> =
            HashMap::from([(dps::DIALECT, dps::renderer())]);
        let notifier = Notifier::new(installation.clone(), links.clone(), renderers)?;
        let words = Arc::new(Words::new(settings.ways()));
        let mailer = Mailer::new(installation.clone(), words).context("mail")?;
        Ok(Background { installation, senders: Senders { notifier, mailer }, links })
    }
}

/// Begins to work on steps, to send notices and e-mail, and to sweep the areas and the store of deliveries. At shutdown,
/// steps that run have until `deadline` to finish.
pub(crate) fn start(
    worker: Worker,
    senders: &Senders,
    intake: Intake,
    deadline: Duration,
    shutdown: &CancellationToken,
) -> JoinSet<()> {
    let mut working = JoinSet::new();
    working.spawn(Sweeper::new(worker.installation().clone()).run(shutdown.clone()));
    working.spawn(AreaSweeper::new(worker.installation().clone()).run(shutdown.clone()));
    let pickup = Pickup::new(worker.installation().clone()).reading(dns::list_reader(intake));
    working.spawn(pickup.run(shutdown.clone()));
    working.spawn(Scrubber::new(worker.installation().clone()).run(shutdown.clone()));
    working.spawn(worker.run(shutdown.clone(), deadline));
    working.spawn(senders.notifier.clone().run(shutdown.clone()));
    if let Some(mailer) = &senders.mailer {
        working.spawn(mailer.clone().run(shutdown.clone()));
    }
    working
}

/// Waits until everything has ended, takes the process away, and closes the catalogue.
pub(crate) async fn finish(mut working: JoinSet<()>, presence: Presence, installation: &Installation) {
    while let Some(ended) = working.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a part of the program ended in a panic");
        }
    }
    presence.end().await;
    // The last connection to close writes the log back into the database file.
    installation.database.close().await;
    tracing::info!("stopped");
}

/// A process that works on steps and sends notices, and answers nobody.
pub struct Working {
    /// How it is called where it is told who holds which step: host and process.
    pub name: String,
    /// The address at which its metrics are shown, if they are.
    pub metrics_addr: Option<SocketAddr>,
    task: JoinHandle<()>,
}

/// Opens what the settings name, and works until `shutdown` is cancelled.
pub async fn work(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<Working> {
    let base = settings.public_url_elsewhere().context(
        "server.public_url: set it to the address of the server: the links in notices begin with it, and a worker has \
         no address of its own",
    )?;
    let base = Url::parse(&base).with_context(|| format!("{base} (server.public_url)"))?;
    let metrics = Metrics::bind(settings.metrics.address()).await?;
    let Background { installation, senders, links } = Background::open(&settings, base, Clock::system()).await?;
    let worker = Worker::new(installation.clone());
    let name = worker.name().to_owned();
    let presence = Presence::begin(&installation, &name, ProcessKind::Worker, worker.slots());
    let intake = Intake::new(installation.clone(), links);
    let deadline = Duration::from_secs(settings.server.shutdown_seconds);
    let mut working = start(worker, &senders, intake, deadline, &shutdown);
    working.spawn(wake::run(installation.clone(), shutdown.clone()));
    let showing = metrics.map(|metrics| metrics.show(installation.clone(), shutdown)).transpose()?;
    let metrics_addr = showing.as_ref().map(|showing| showing.addr);
    if let Some(showing) = showing {
        working.spawn(showing.finished());
    }
    tracing::info!(%name, "working");
    let task = tokio::spawn(async move { finish(working, presence, &installation).await });
    Ok(Working { name, metrics_addr, task })
}

impl Working {
    /// Ends when the process has: it was told to, and the running steps and notices are done.
    pub async fn finished(self) -> anyhow::Result<()> {
        self.task.await.context("the worker ended in a panic")
    }
}
