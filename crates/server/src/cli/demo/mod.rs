//! `dipper demo`: the whole way of a package on this machine, with real figures. Nothing in it is pretended: it
//! signs in, orders and fetches over HTTP as any client does.

mod hints;
mod receiver;
mod sample;
mod setup;
mod tour;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use dipper_core::time::Clock;
use serde_json::json;

use self::setup::Setup;
use self::tour::Tour;
use super::exit::{Exit, told};
use super::local::LocalArguments;
use super::output::{Output, note, print};
use super::{interrupt, serve};
use crate::config::Settings;
use crate::serve::Server;

const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// A directory or bag of your own, to be shown beside the sample package
    path: Option<PathBuf>,
    /// The data directory; one that exists is used as it is
    #[arg(long, value_name = "DIR", default_value = "dipper-demo")]
    data: PathBuf,
    /// The address and port to listen on [default: 127.0.0.1:8080, or a free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// End when everything was shown, rather than leave the server up
    #[arg(long)]
    exit: bool,
}

/// Tells what happens: on standard output for people, on standard error where the result is JSON.
#[derive(Clone, Copy, Debug)]
struct Story {
    output: Output,
}

impl Story {
    fn tell(self, name: &str, what: &str) -> anyhow::Result<()> {
        let line = format!("{name:13}{what}");
        let line = line.trim_end();
        if self.output.is_json() {
            note(line);
            return Ok(());
        }
        print(&format!("{line}\n"))
    }
}

pub(crate) async fn run(arguments: DemoArguments, output: Output) -> anyhow::Result<()> {
    let story = Story { output };
    let known = arguments.data.join("dipper.db").is_file();
    let stop = interrupt::watch("stopping; again to stop at once")?;
    let (server, base_path) = open(&arguments).await?;
    let state = if known { "that was there is used" } else { "created: catalogue, keys, OCFL storage root" };
    story.tell("installation", &format!("{} {state}", arguments.data.display()))?;
    let setup = Setup::new(&server, base_path, &arguments.data).await?;
    setup.tell(story)?;

    let serving = server.start(stop.clone())?;
    let url = serve::url("http", serving.addr);
    story.tell("server", &format!("listening on {url}"))?;
    let tour = Tour::new(&setup, &url, story)?;
    let shown = tokio::select! {
        shown = tour.show(arguments.path.as_deref(), &stop) => shown,
        () = stop.cancelled() => Err(told(Exit::Interrupted, "interrupted: run the demo again to go on")),
    };
    let hinted = match shown {
        Ok(packages) => conclude(&setup, &url, &packages, &arguments, output).map(|()| arguments.exit),
        Err(error) => Err(error),
    };
    if matches!(hinted, Ok(false)) {
        note("The server is up until Ctrl-C.");
        stop.cancelled().await;
    }
    // Nobody will listen there any more.
    setup.clear().await;
    stop.cancel();
    serving.finished().await?;
    hinted.map(|_| ())
}

/// Opens the server on the address that was asked for; on the usual one, or a free one if that is taken, otherwise.
async fn open(arguments: &DemoArguments) -> anyhow::Result<(Server, String)> {
    let listen = arguments.listen.map_or_else(|| DEFAULT_LISTEN.to_owned(), |listen| listen.to_string());
    let local = LocalArguments::new(arguments.data.clone());
    let settings = |listen: String| -> anyhow::Result<Settings> {
        let mut settings = Settings::load(&local.sources(vec![("server.listen".to_owned(), listen)])?)?;
        // The webhook receiver of the demo is on this machine.
        settings.egress.allow.push("127.0.0.1".to_owned());
        // So is the client, which does not know the authority of a certificate that may be set.
        (settings.tls.certificate, settings.tls.key) = (PathBuf::new(), PathBuf::new());
        Ok(settings)
    };
    let usual = settings(listen)?;
    let base_path = usual.dps.base_path.clone();
    let server = match Server::open(usual, Clock::system()).await {
        Err(error) if arguments.listen.is_none() && is_taken(&error) => {
            Server::open(settings("127.0.0.1:0".to_owned())?, Clock::system()).await?
        }
        opened => opened?,
    };
    Ok((server, base_path))
}

fn is_taken(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.into_iter().any(|cause| cause.kind() == io::ErrorKind::AddrInUse)
}

/// Says what was shown, and what to try while the server is up.
fn conclude(
    setup: &Setup,
    url: &str,
    packages: &[tour::Shown],
    arguments: &DemoArguments,
    output: Output,
) -> anyhow::Result<()> {
    let archive_id = packages.first().map(|package| package.archive_id.as_str()).unwrap_or_default();
    let secret_file = absolute(&setup.secret_file)?;
    let document = json!({
        "listening": url,
        "clientId": setup::CLIENT,
        "clientSecretFile": secret_file.display().to_string(),
        "packages": packages.iter().map(tour::Shown::json).collect::<Vec<_>>(),
    });
    let mut text = String::new();
    if !arguments.exit {
        let hints = hints::text(url, &setup.base_path, setup::CLIENT, &secret_file, archive_id);
        text = format!("\n{hints}\n");
    }
    output.result(&document, &text)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize().with_context(|| format!("{} cannot be found", path.display()))
}
