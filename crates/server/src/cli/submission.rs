//! `dipper submission`: what was handed in through the incoming directories of areas.

use clap::{Args, Subcommand};
use dipper_core::administration::Administration;
use dipper_core::db::submissions::{Submission, SubmissionFilter, SubmissionState};
use dipper_core::time::Timestamp;
use serde_json::{Value, json};

use super::local::{LocalArguments, Missing};
use super::output::{Output, Table, size, time_short};

#[derive(Debug, Args)]
pub(crate) struct SubmissionArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(subcommand)]
    command: SubmissionCommand,
}

#[derive(Debug, Subcommand)]
enum SubmissionCommand {
    /// List what was handed in, and what became of it
    List {
        /// Through the area of this contract alone
        #[arg(long)]
        contract: Option<String>,
        /// In this state alone; may be given several times
        #[arg(long, value_name = "STATE")]
        state: Vec<SubmissionState>,
        /// Those after this submission, to go on with a list
        #[arg(long, value_name = "SUBMISSION_ID", default_value = "")]
        after: String,
        /// How many at the most
        #[arg(long, default_value_t = 1000)]
        limit: u32,
    },
}

pub(crate) async fn run(arguments: SubmissionArguments, output: Output) -> anyhow::Result<()> {
    let installation = arguments.local.open(Missing::Refuse).await?;
    let administration = Administration::new(installation.clone());
    let SubmissionCommand::List { contract, state, after, limit } = arguments.command;
    if let Some(contract) = &contract {
        administration.contract_check(contract).await?;
    }
    let filter = SubmissionFilter { states: state, after, limit, ..SubmissionFilter::default() };
    let submissions = administration.submission_list(contract.as_deref(), &filter).await?;
    let now = installation.clock.now();
    let mut table = Table::new(&["first seen", "age", "contract", "file", "size", "state", "reason"]);
    for submission in &submissions {
        let age = duration(now.since(submission.created).as_secs());
        let (created, size) = (time_short(submission.created), size(submission.stamp.size_bytes));
        let reason = submission.reason.as_deref().unwrap_or("-").lines().next().unwrap_or("-");
        let state = submission.state.name();
        table.row(&[&created, &age, &submission.contract_id, &submission.path, &size, &state, &reason]);
    }
    let listed: Vec<_> = submissions.iter().map(|submission| submission_json(submission, now)).collect();
    // A full page may not be the last one.
    let next = submissions.last().filter(|_| submissions.len() as u64 == u64::from(limit));
    let next = next.map(|submission| &submission.id);
    output.result(&json!({ "submissions": listed, "next": next }), &table.text("no submissions"))
}

fn submission_json(submission: &Submission, now: Timestamp) -> Value {
    json!({
        "submissionId": submission.id,
        "contractId": submission.contract_id,
        "path": submission.path,
        "objectId": submission.object_id,
        "bytes": submission.stamp.size_bytes,
        "state": submission.state.name(),
        "reason": submission.reason,
        "attempts": submission.attempts,
        "archiveId": submission.package_id,
        "version": submission.version,
        "created": submission.created.to_string(),
        "updated": submission.updated.to_string(),
        "ageSeconds": now.since(submission.created).as_secs(),
    })
}

/// A duration as a person reads it.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
