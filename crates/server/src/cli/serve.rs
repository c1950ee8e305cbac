//! `dipper serve`: the whole server in one process.

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;

use super::interrupt;
use super::local::LocalArguments;
use super::output::Output;
use crate::config::Settings;
use crate::{log, serve};

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    local: LocalArguments,
    /// The address and port to listen on; port 0 takes a free one [default: server.listen of the settings]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Leave steps and notices to `dipper worker` processes [default: worker.enabled of the settings]
    #[arg(long)]
    without_worker: bool,
}

pub(crate) async fn run(arguments: ServeArguments, output: Output) -> anyhow::Result<()> {
    let listen = arguments.listen.map(|listen| ("server.listen".to_owned(), listen.to_string()));
    let without_worker = arguments.without_worker.then(|| ("worker.enabled".to_owned(), false.to_string()));
    let settings = Settings::load(&arguments.local.sources(listen.into_iter().chain(without_worker).collect())?)?;
    let telemetry = log::start(&settings)?;
    let shutdown = interrupt::watch("stopping: running answers and steps are finished; again to stop at once")?;
    let serving = serve::serve(settings, shutdown).await?;
    // Scripts wait for this line: it comes once connections are taken.
    let scheme = if serving.tls { "https" } else { "http" };
    let url = url(scheme, serving.addr);
    let metrics = serving.metrics_addr.map(|addr| format!("{}/metrics", self::url("http", addr)));
    let sftp = serving.sftp_addr.map(|addr| format!("sftp://{addr}"));
    let told = metrics.iter().map(|metrics| format!("metrics at {metrics}\n"));
    let told = told.chain(sftp.iter().map(|sftp| format!("SFTP at {sftp}\n")));
    let told: String = std::iter::once(format!("listening on {url}\n")).chain(told).collect();
    output.result(&json!({ "listening": url, "metrics": metrics, "sftp": sftp }), &told)?;
    let ended = serving.finished().await;
    telemetry.finish().await;
    ended
}

/// The address under which a server can be reached from this machine.
pub(super) fn url(scheme: &str, bound: SocketAddr) -> String {
    let localhost = || format!("{scheme}://localhost:{}", bound.port());
    if bound.ip().is_unspecified() { localhost() } else { format!("{scheme}://{bound}") }
}
