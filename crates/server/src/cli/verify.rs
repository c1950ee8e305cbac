//! `dipper verify`: the storage root against OCFL, and every stored byte against its digests.

use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use dipper_core::administration::Administration;
use dipper_core::verify::{VerifyCommand, VerifyReport, verify};
use serde_json::{Value, json};

use super::exit::{Exit, told};
use super::local::{LocalArguments, Missing};
use super::output::{Output, count, plain, size};
use super::{bar, interrupt};

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    local: LocalArguments,
    /// This package alone
    #[arg(long, value_name = "ARCHIVE_ID", conflicts_with = "object_id")]
    package: Option<String>,
    /// The package with this depositor's name alone
    #[arg(long)]
    object_id: Option<String>,
    /// The contract of the package that --object-id names
    #[arg(long, requires = "object_id")]
    contract: Option<String>,
    /// Check structure and inventories without reading the content
    #[arg(long)]
    no_hash: bool,
}

pub(crate) async fn run(arguments: VerifyArguments, output: Output) -> anyhow::Result<()> {
    let installation = arguments.local.open(Missing::Refuse).await?;
    let package_id = match (&arguments.package, &arguments.object_id) {
        (Some(id), _) => Some(id.clone()),
        (None, Some(object_id)) => {
            let administration = Administration::new(installation.clone());
            Some(package_id(&administration, arguments.contract.as_deref(), object_id).await?)
        }
        (None, None) => None,
    };
    let interrupted = interrupt::watch("stopping: packages that are done stay recorded as verified")?;
    let (bar, began) = (bar::spinner("verifying"), Instant::now());
    let told_bar = bar.clone();
    let progress = Box::new(move |checked: dipper_archive::ocfl::Progress| {
        let (objects, files) = (count(checked.objects, "object"), count(checked.files, "file"));
        let rate = size(per_second(checked.bytes, began));
        told_bar.set_message(format!("{objects}, {files}, {} verified, {rate}/s", size(checked.bytes)));
    });
    let command = VerifyCommand { package_id, structure_only: arguments.no_hash };
    let verified = tokio::select! {
        verified = verify(&installation, command, progress) => verified,
        () = interrupted.cancelled() => {
            bar.finish_and_clear();
            return Err(told(Exit::Interrupted, "interrupted: not everything was verified"));
        }
    };
    bar.finish_and_clear();
    let report = verified.context("the verification did not come to its end")?;
    output.result(&report_json(&report, began), &report_text(&report, began, arguments.no_hash))?;
    if report.is_valid() {
        return Ok(());
    }
    let errors = report.problems.iter().filter(|problem| problem.code.is_error()).count();
    let objects = count(report.invalid_objects, "object");
    Err(told(Exit::Damage, format!("{} in the storage root, {objects} damaged", count(errors as u64, "error"))))
}

async fn package_id(
    administration: &Administration,
    contract: Option<&str>,
    object_id: &str,
) -> anyhow::Result<String> {
    let found = administration.package_list(contract, Some(object_id), "", 2).await?;
    match found.as_slice() {
        [package] => Ok(package.id.clone()),
        [] => Err(told(Exit::NotFound, format!("there is no package {object_id:?}"))),
        _ => {
            Err(told(Exit::Usage, format!("several contracts have a package {object_id:?}: name one with --contract")))
        }
    }
}

fn per_second(amount: u64, began: Instant) -> u64 {
    let seconds = began.elapsed().as_secs_f64();
    if seconds > 0.0 { (amount as f64 / seconds) as u64 } else { 0 }
}

fn report_json(report: &VerifyReport, began: Instant) -> Value {
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|problem| {
            let severity = if problem.code.is_error() { "error" } else { "warning" };
            let code = problem.code.to_string();
            json!({ "severity": severity, "code": code, "path": problem.path, "message": problem.message })
        })
        .collect();
    json!({
        "valid": report.is_valid(),
        "objects": report.checked.objects,
        "files": report.checked.files,
        "bytes": report.checked.bytes,
        "milliseconds": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "invalidObjects": report.invalid_objects,
        "archivedFiles": report.archived_files,
        "marked": report.marked,
        "lifted": report.lifted,
        "problems": problems,
    })
}

fn report_text(report: &VerifyReport, began: Instant, no_hash: bool) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let severity = if problem.code.is_error() { "error" } else { "warning" };
        text.push_str(&format!("{severity}: {}\n", plain(&problem.to_string())));
    }
    let checked = &report.checked;
    let (objects, files) = (count(checked.objects, "object"), count(checked.files, "file"));
    let seconds = began.elapsed().as_secs_f64();
    let read = if no_hash {
        "the content was not read".to_owned()
    } else {
        format!("{} read at {}/s", size(checked.bytes), size(per_second(checked.bytes, began)))
    };
    text.push_str(&format!("{objects}, {files}: {read}, in {seconds:.1} s\n"));
    if report.marked > 0 {
        text.push_str(&format!("{} newly marked as damaged\n", count(report.marked, "package")));
    }
    if report.lifted > 0 {
        text.push_str(&format!("{} found to be intact again\n", count(report.lifted, "package")));
    }
    if report.archived_files > 0 {
        let files = count(report.archived_files, "file");
        text.push_str(&format!("{files} in an archive class, not checked: recall them to have them verified\n"));
    }
    text.push_str(match (report.is_valid(), report.archived_files) {
        (false, _) => "damage was found\n",
        (true, 0) => "everything is intact\n",
        (true, _) => "everything that was read is intact\n",
    });
    text
}
