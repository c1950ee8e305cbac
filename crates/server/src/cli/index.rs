//! `dipper index`: the catalogue from the storage root.

use clap::Args;
use dipper_core::index::{IndexReport, index};
use serde_json::{Value, json};

use super::bar;
use super::exit::{Exit, told};
use super::local::{LocalArguments, Missing};
use super::output::{Output, count, plain};

#[derive(Debug, Args)]
pub(crate) struct IndexArguments {
    #[command(flatten)]
    local: LocalArguments,
    /// The contract that objects of other software are given to; without it they are left out
    #[arg(long)]
    contract: Option<String>,
}

pub(crate) async fn run(arguments: IndexArguments, output: Output) -> anyhow::Result<()> {
    let installation = arguments.local.open(Missing::Create).await?;
    let bar = bar::spinner("walking the storage root");
    let indexed = index(&installation, arguments.contract.as_deref(), |objects| {
        bar.set_message(format!("{} seen", count(objects, "object")));
    })
    .await;
    bar.finish_and_clear();
    let report = indexed?;
    output.result(&report_json(&report), &report_text(&report))?;
    if report.unreadable.is_empty() && report.missing == 0 {
        return Ok(());
    }
    let message = format!(
        "{} cannot be read, and {} of the catalogue {} not in the storage root",
        count(report.unreadable.len() as u64, "object"),
        count(report.missing, "package"),
        if report.missing == 1 { "is" } else { "are" },
    );
    Err(told(Exit::Damage, message))
}

fn report_json(report: &IndexReport) -> Value {
    let unreadable: Vec<_> =
        report.unreadable.iter().map(|(path, reason)| json!({ "path": path, "reason": reason })).collect();
    json!({
        "objects": report.objects,
        "added": report.added,
        "changed": report.changed,
        "missing": report.missing,
        "foreign": report.foreign,
        "unreadable": unreadable,
        "archived": report.archived,
    })
}

fn report_text(report: &IndexReport) -> String {
    let mut text = format!(
        "{}: {} new, {} changed, {} missing\n",
        count(report.objects, "object"),
        report.added,
        report.changed,
        report.missing
    );
    if report.foreign > 0 {
        let foreign = count(report.foreign, "object");
        text.push_str(&format!("{foreign} of other software left out: name their contract with --contract\n"));
    }
    for path in &report.archived {
        text.push_str(&format!("in an archive class, not read: {}\n", plain(path)));
    }
    for (path, reason) in &report.unreadable {
        text.push_str(&format!("unreadable: {}: {}\n", plain(path), plain(reason)));
    }
    text
}
