//! `dipper worker`: steps and notices in a process of their own.

use clap::Args;
use serde_json::json;

use super::local::{self, LocalArguments};
use super::output::Output;
use super::{interrupt, serve};
use crate::config::Settings;
use crate::{log, work};

#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    #[command(flatten)]
    local: LocalArguments,
    /// How many steps to work on at a time [default: worker.count of the settings]
    #[arg(long, value_name = "N")]
    count: Option<usize>,
}

pub(crate) async fn run(arguments: WorkerArguments, output: Output) -> anyhow::Result<()> {
    let count = arguments.count.map(|count| ("worker.count".to_owned(), count.to_string()));
    let settings = Settings::load(&arguments.local.sources(count.into_iter().collect())?)?;
    let telemetry = log::start(&settings)?;
    local::refuse_missing(&settings)?;
    let shutdown = interrupt::watch("stopping: running steps are finished; again to stop at once")?;
    let working = work::work(settings, shutdown).await?;
    // Scripts wait for this line.
    let metrics = working.metrics_addr.map(|addr| format!("{}/metrics", serve::url("http", addr)));
    let mut told = format!("working as {}\n", working.name);
    if let Some(metrics) = &metrics {
        told.push_str(&format!("metrics at {metrics}\n"));
    }
    output.result(&json!({ "working": working.name, "metrics": metrics }), &told)?;
    let ended = working.finished().await;
    telemetry.finish().await;
    ended
}
