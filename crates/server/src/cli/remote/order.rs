//! `dipper order` and `dipper status`.

use std::time::{Duration, Instant};

use clap::Args;

use super::ServerArguments;
use super::api::{Api, Dissemination, Ordered};
use super::patience::grown;
use crate::cli::bar;
use crate::cli::exit::{Exit, told};
use crate::cli::interrupt;
use crate::cli::output::{Output, note, plain, size};

const FIRST_POLL: Duration = Duration::from_millis(250);
const LONGEST_POLL: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(crate) struct OrderArguments {
    /// The package, as `dipper ingest` and `dipper package list` tell it
    archive_id: String,
    /// The urgency, from 1 to 100 [default: 50]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100))]
    priority: Option<u8>,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// The order, as `dipper order` tells it
    dissemination_id: String,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    server: ServerArguments,
}

/// Whether to wait for the end of an order.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct WaitArguments {
    /// Wait until the order is delivered, or will not be; that is a failure then. An order that is under way already
    /// is waited for in place of a new one
    #[arg(long)]
    wait: bool,
    /// Wait so many seconds at the most
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u64>,
}

pub(crate) async fn order(arguments: OrderArguments, output: Output) -> anyhow::Result<()> {
    let api = arguments.server.api()?;
    let ordered = match api.order(&arguments.archive_id, arguments.priority).await? {
        Ordered::New(ordered) => *ordered,
        // Who waits for a delivery gets the one that is under way, as the contract's best practice has it.
        Ordered::UnderWay { existing, .. } if arguments.wait.wait => api.get(&existing).await?,
        Ordered::UnderWay { existing, message } => {
            let message = format!("{message}: {existing} (see `dipper status {existing} --wait`)");
            return Err(told(Exit::Conflict, message));
        }
    };
    if arguments.wait.wait {
        note(&format!("order {}", ordered.dissemination_id));
    }
    let ordered = arguments.wait.follow(&api, ordered).await?;
    print(output, &ordered)?;
    arguments.wait.judge(&ordered)
}

pub(crate) async fn status(arguments: StatusArguments, output: Output) -> anyhow::Result<()> {
    let api = arguments.server.api()?;
    let found = api.get(&arguments.dissemination_id).await?;
    let found = arguments.wait.follow(&api, found).await?;
    print(output, &found)?;
    arguments.wait.judge(&found)
}

impl WaitArguments {
    /// Waits, if that was asked for, and tells each change of the status.
    pub(super) async fn follow(self, api: &Api, from: Dissemination) -> anyhow::Result<Dissemination> {
        if !self.wait {
            return Ok(from);
        }
        let interrupted = interrupt::watch("no longer waiting; the order goes on")?;
        let deadline = self.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let id = from.dissemination_id.clone();
        let following = follow(api, from, deadline, |found| note(&format!("  {}", found.status)));
        tokio::select! {
            followed = following => followed,
            () = interrupted.cancelled() => {
                let message = format!("interrupted: go on with `dipper status {id} --wait`");
                Err(told(Exit::Interrupted, message))
            }
        }
    }

    /// An order that was waited for and not delivered is a failure.
    fn judge(self, found: &Dissemination) -> anyhow::Result<()> {
        if !self.wait || found.is_delivered() {
            return Ok(());
        }
        Err(ended(found))
    }
}

/// The error of an order that ended without a delivery.
pub(crate) fn ended(found: &Dissemination) -> anyhow::Error {
    let damaged = found.error.as_ref().is_some_and(|error| error.code == "FIXITY_CHECK_FAILED");
    let exit = if damaged { Exit::Damage } else { Exit::Failure };
    told(exit, format!("order {} is {}: {}", found.dissemination_id, found.status, found.reason()))
}

/// Asks, at longer and longer intervals, until the order has ended. `changed` is told of each new status.
pub(crate) async fn follow(
    api: &Api,
    from: Dissemination,
    deadline: Option<Instant>,
    changed: impl Fn(&Dissemination),
) -> anyhow::Result<Dissemination> {
    let mut found = from;
    let mut asked = 0;
    let bar = bar::spinner(found.status.clone());
    bar.suspend(|| changed(&found));
    while !found.is_finished() {
        asked += 1;
        let wait = grown(FIRST_POLL, LONGEST_POLL, asked);
        if deadline.is_some_and(|deadline| Instant::now() + wait > deadline) {
            bar.finish_and_clear();
            let message = format!("order {} is still {}", found.dissemination_id, found.status);
            return Err(told(Exit::Again, message));
        }
        tokio::time::sleep(wait).await;
        let next = api.get(&found.dissemination_id).await?;
        if next.status != found.status {
            bar.set_message(next.status.clone());
            bar.suspend(|| changed(&next));
            // Things move: the next change may follow soon.
            asked = 0;
        }
        found = next;
    }
    bar.finish_and_clear();
    Ok(found)
}

fn print(output: Output, found: &Dissemination) -> anyhow::Result<()> {
    let mut text = format!(
        "order:   {}\npackage: {} ({}, {})\nstatus:  {}\n",
        plain(&found.dissemination_id),
        plain(&found.archive_id),
        plain(&found.object_id),
        size(found.sum_size_in_bytes),
        plain(&found.status),
    );
    if found.is_finished() && !found.is_delivered() {
        text.push_str(&format!("reason:  {}\n", plain(&found.reason())));
    }
    for file in &found.files {
        let (name, algorithm, checksum) = (&file.filename, &file.checksum_algorithm, &file.checksum);
        let size = size(file.filesize);
        text.push_str(&format!("file:    {} ({size}, {} {})\n", plain(name), plain(algorithm), plain(checksum)));
    }
    output.result(&found.document, &text)
}
