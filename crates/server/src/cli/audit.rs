//! `dipper audit`: the log of what was done with stored content; whether it is as it was written, and what is in it.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use dipper_core::audit::export::{AuditWriter, export};
use dipper_core::audit::premis::Premis;
use dipper_core::audit::verify::{ChainReport, verify};
use dipper_core::audit::{AuditKind, Chained};
use dipper_core::db::audit::{self, AuditCursor, AuditFilter};
use dipper_core::time::Timestamp;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::exit::{Exit, told};
use super::local::{LocalArguments, Missing};
use super::output::{Output, Table, count, note, time_short};
use super::{bar, interrupt};
use crate::audit::{JsonWriter, entry_json};

#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check that no entry was changed, removed, inserted or put in another place since it was written
    Verify {
        /// The chain of this contract alone
        #[arg(long)]
        contract: Option<String>,
        /// A hash that an earlier run printed and that was kept elsewhere: the chain must still go on from it
        #[arg(long, value_name = "HASH", value_parser = hash)]
        since_head: Option<String>,
    },
    /// List entries, oldest first
    List {
        #[command(flatten)]
        filter: FilterArguments,
        /// Those behind this entry, to go on with a list
        #[arg(long, value_name = "CURSOR")]
        after: Option<AuditCursor>,
        /// How many at the most
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Write entries for other systems, with their lists of files
    Export {
        #[command(flatten)]
        filter: FilterArguments,
        /// PREMIS 3.0 in XML, or JSON
        #[arg(long, value_enum)]
        format: Format,
        /// Into this file, which must not be there yet [default: standard output]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Premis,
    Json,
}

/// Which entries are meant.
#[derive(Debug, Args)]
struct FilterArguments {
    /// Of this contract alone
    #[arg(long)]
    contract: Option<String>,
    /// Of this package alone
    #[arg(long, value_name = "ARCHIVE_ID")]
    package: Option<String>,
    /// That concern this file of the package, by its path in the version
    #[arg(long, value_name = "PATH", requires = "package")]
    file: Option<String>,
    /// Of this kind alone: ingest, replication, fixity, deletion, repair,
    /// restoration or administration
    #[arg(long)]
    kind: Option<AuditKind>,
    /// Of what went wrong alone
    #[arg(long)]
    failures: bool,
    /// At this time or later, such as 2026-11-22 or 2026-11-22T03:05:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
}

impl FilterArguments {
    fn filter(self) -> AuditFilter {
        AuditFilter {
            contract_ids: self.contract.map(|contract_id| vec![contract_id]),
            package_id: self.package,
            kind: self.kind,
            content_only: false,
            success: self.failures.then_some(false),
            since: self.since,
            until: self.until,
            path: self.file,
        }
    }
}

fn hash(text: &str) -> Result<String, String> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_owned()).ok_or_else(|| "a hash has 64 hexadecimal digits".to_owned())
}

/// A day in UTC, or a time with its offset.
fn time(text: &str) -> Result<Timestamp, String> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).map(|day| day.midnight().assume_utc());
    let time = day.or_else(|_| OffsetDateTime::parse(text, &Rfc3339));
    time.map(Timestamp::from).map_err(|_| "use a day such as 2026-11-22, or a time such as 2026-11-22T03:05:00Z".into())
}

pub(crate) async fn run(arguments: AuditArguments, output: Output) -> anyhow::Result<()> {
    let installation = arguments.local.open(Missing::Refuse).await?;
    let database = &installation.database;
    match arguments.command {
        AuditCommand::Verify { contract, since_head } => {
            let interrupted = interrupt::watch("stopping")?;
            let bar = bar::spinner("checking the audit log");
            let told_bar = bar.clone();
            let progress = move |entries| told_bar.set_message(count(entries, "entry").replace("entrys", "entries"));
            let verified = tokio::select! {
                verified = verify(database, contract.as_deref(), since_head.as_deref(), progress) => verified,
                () = interrupted.cancelled() => {
                    bar.finish_and_clear();
                    return Err(told(Exit::Interrupted, "interrupted: not everything was checked"));
                }
            };
            bar.finish_and_clear();
            told_chains(&verified.context("the audit log could not be read")?, output)
        }
        AuditCommand::List { filter, after, limit } => {
            let filter = filter.filter();
            let entries = audit::list(database, &filter, after.as_ref(), limit).await?;
            told_entries(&entries, limit, output)
        }
        AuditCommand::Export { filter, format, output: path } => {
            let filter = filter.filter();
            let mut sink: Box<dyn Write + Send> = match &path {
                Some(path) => {
                    let file = std::fs::File::options().write(true).create_new(true).open(path);
                    Box::new(BufWriter::new(file.with_context(|| path.display().to_string())?))
                }
                None => Box::new(BufWriter::new(io::stdout())),
            };
            let mut writer: Box<dyn AuditWriter + Send> = match format {
                Format::Premis => Box::new(Premis::default()),
                Format::Json => Box::new(JsonWriter::default()),
            };
            let written = export(database, &filter, writer.as_mut(), sink.as_mut()).await?;
            if path.is_some() {
                note(&count(written, "entry").replace("entrys", "entries"));
            }
            Ok(())
        }
    }
}

/// What became of each chain; fails when something is wrong with one.
fn told_chains(reports: &[ChainReport], output: Output) -> anyhow::Result<()> {
    let mut table = Table::new(&["contract", "entries", "result", "head"]);
    let mut listed = Vec::new();
    for report in reports {
        let result = match (&report.fault, report.remembered) {
            (Some(fault), _) => fault.to_string(),
            (None, Some(number)) => format!("ok, and goes on from entry {number}"),
            (None, None) => "ok".to_owned(),
        };
        table.row(&[&report.contract_id, &report.entries, &result, &report.head]);
        listed.push(json!({
            "contractId": report.contract_id,
            "valid": report.fault.is_none(),
            "entries": report.entries,
            "head": report.head,
            "fault": report.fault.as_ref().map(ToString::to_string),
            "remembered": report.remembered,
        }));
    }
    let valid = reports.iter().all(|report| report.fault.is_none());
    output.result(&json!({ "valid": valid, "chains": listed }), &table.text("the audit log is empty"))?;
    let first = reports.iter().find_map(|report| Some((&report.contract_id, report.fault.as_ref()?)));
    match first {
        None => Ok(()),
        Some((contract_id, fault)) => {
            Err(told(Exit::Damage, format!("the audit log is not as it was written: contract {contract_id}: {fault}")))
        }
    }
}

fn told_entries(entries: &[Chained], limit: u32, output: Output) -> anyhow::Result<()> {
    let mut table = Table::new(&["at", "kind", "result", "by", "contract", "number", "package", "version", "more"]);
    for chained in entries {
        let entry = &chained.entry;
        let result = if entry.success { "ok" } else { "failed" };
        let package = entry.package_id.as_deref().unwrap_or("-");
        let version = entry.version.map_or_else(|| "-".to_owned(), |version| version.to_string());
        table.row(&[
            &time_short(entry.at),
            &entry.kind,
            &result,
            &entry.agent,
            &entry.contract_id,
            &chained.number,
            &package,
            &version,
            &entry.detail,
        ]);
    }
    let listed: Vec<_> = entries.iter().map(entry_json).collect();
    // A full page may not be the last one.
    let next = entries.last().filter(|_| entries.len() as u64 == u64::from(limit));
    let next = next.map(|last| AuditCursor::behind(last).to_string());
    output.result(&json!({ "entries": listed, "next": next }), &table.text("no entries"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_or_have_an_offset() {
        let day = time("2026-01-01").expect("a day");
        assert_eq!(day, Timestamp(1_767_225_600_000_000));
        assert_eq!(time("2026-01-01T01:00:00+01:00"), Ok(day));
        assert!(time("yesterday").is_err() && time("2026-01-01T01:00:00").is_err());
        assert!(hash("00").is_err() && hash(&"g".repeat(64)).is_err() && hash(&"Ab".repeat(32)).is_ok());
    }
}
