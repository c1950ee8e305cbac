//! The installation that a command of the operator works on.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use dipper_core::administration::Administration;
use dipper_core::installation::Installation;
use dipper_core::time::Clock;
use tracing_subscriber::EnvFilter;

use super::by::By;
use super::exit::{Exit, told};
use crate::config::{Settings, Sources};

/// Where the installation is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LocalArguments {
    /// The data directory [default: DIPPER_DATA_DIRECTORY, otherwise "dipper-data"]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Installation")]
    data: Option<PathBuf>,

    /// The configuration file [default: DIPPER_CONFIG, otherwise "dipper.toml" in the data directory if it is there]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Installation")]
    config: Option<PathBuf>,
}

/// Whether a command may create the installation that it works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It sets something up, so it may.
    Create,
    /// It needs what is there. A mistyped directory must not become an empty installation.
    Refuse,
}

impl LocalArguments {
    /// A data directory that was chosen elsewhere.
    pub(crate) fn new(data: PathBuf) -> LocalArguments {
        LocalArguments { data: Some(data), config: None }
    }

    /// Where settings come from, with more of them from the command line.
    pub(crate) fn sources(&self, overrides: Vec<(String, String)>) -> anyhow::Result<Sources> {
        let mut all = Vec::new();
        if let Some(data) = &self.data {
            let data = data.to_str().context("--data: the path is not UTF-8")?;
            all.push(("data_directory".to_owned(), data.to_owned()));
        }
        all.extend(overrides);
        Ok(Sources { config_file: self.config.clone(), overrides: all, ..Sources::from_process() })
    }

    /// The settings.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings::load(&self.sources(Vec::new())?)?)
    }

    /// Opens the installation.
    pub(crate) async fn open(&self, missing: Missing) -> anyhow::Result<Arc<Installation>> {
        open(&self.settings()?, missing).await
    }

    /// Opens the installation for setting it up or looking at it.
    pub(crate) async fn administration(&self, missing: Missing) -> anyhow::Result<Administration> {
        Ok(Administration::new(self.open(missing).await?))
    }

    /// The same, for somebody who is named in the audit log.
    pub(crate) async fn administration_by(&self, missing: Missing, by: &By) -> anyhow::Result<Administration> {
        let agent = by.agent()?;
        Ok(self.administration(missing).await?.on_behalf_of(agent))
    }
}

/// Opens the installation that settings describe.
pub(crate) async fn open(settings: &Settings, missing: Missing) -> anyhow::Result<Arc<Installation>> {
    let data = &settings.data_directory;
    if missing == Missing::Refuse {
        refuse_missing(settings)?;
    }
    let opened = Installation::open(settings.places()?, settings.core(), Clock::system()).await;
    opened.map(Arc::new).with_context(|| format!("the installation in {} cannot be opened", data.display()))
}

/// Refuses to go on where there is no installation.
pub(crate) fn refuse_missing(settings: &Settings) -> anyhow::Result<()> {
    let data = &settings.data_directory;
    let places = settings.places()?;
    if places.hold_an_installation() {
        return Ok(());
    }
    if let Some(server) = &places.database {
        let message = format!(
            "there is no installation in {}: for the catalogue in {server} there is no key {}; name the directory with \
             --data, copy the keys of the other machines there, or begin an installation with `dipper contract add`",
            data.display(),
            places.key_file().display()
        );
        return Err(told(Exit::NotFound, message));
    }
    let message = format!(
        "there is no installation in {}: name it with --data, or begin one with `dipper contract add`",
        data.display()
    );
    Err(told(Exit::NotFound, message))
}

/// Lets warnings of the parts below be seen beside what the command prints. `RUST_LOG` shows more.
pub(crate) fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time();
    // Fails only where a subscriber is set already, as in tests that run several commands in one process.
    let _ = logging.try_init();
}
