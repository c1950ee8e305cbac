//! `dipper fixity`: what was read again of what is stored, and what is due.

use std::time::Duration;

use clap::Args;
use dipper_core::scrub::{Coverage, coverage};
use serde_json::json;

use super::local::{LocalArguments, Missing};
use super::look::age;
use super::output::{Output, Table, count, size};

#[derive(Debug, Args)]
pub(crate) struct FixityArguments {
    #[command(flatten)]
    local: LocalArguments,
}

pub(crate) async fn run(arguments: FixityArguments, output: Output) -> anyhow::Result<()> {
    let installation = arguments.local.open(Missing::Refuse).await?;
    let coverage = coverage(&installation).await?;
    output.result(&document(&coverage), &text(&coverage))
}

fn document(coverage: &Coverage) -> serde_json::Value {
    let Coverage { period, standing, slice_bytes, today, damaged, now } = coverage;
    let amount =
        |amount: &dipper_core::db::checks::Amount| json!({ "packages": amount.packages, "bytes": amount.bytes });
    json!({
        "periodDays": period.map(|period| period.as_secs() / 86_400),
        "stored": amount(&standing.all),
        "checkedWithinPeriod": amount(&standing.covered),
        "neverChecked": amount(&standing.never),
        "oldest": standing.oldest.map(|oldest| oldest.to_string()),
        "oldestAgeSeconds": standing.oldest.map(|oldest| now.since(oldest).as_secs()),
        "inArchiveClass": { "packages": standing.cold_packages, "files": standing.cold_files },
        "damagedPackages": damaged,
        "today": amount(today),
        "dailyBytes": slice_bytes,
        "bytesPerSecondNeeded": slice_bytes.div_ceil(86_400),
    })
}

fn text(coverage: &Coverage) -> String {
    let Coverage { period, standing, slice_bytes, today, damaged, now } = coverage;
    let amount = |amount: &dipper_core::db::checks::Amount| {
        format!("{}, {}", count(amount.packages, "package"), size(amount.bytes))
    };
    let mut table = Table::new(&["fixity", ""]);
    let days = |period: &Duration| format!("{} days", period.as_secs() / 86_400);
    let period_text =
        period.as_ref().map_or_else(|| "nothing is read again by itself (fixity.period_days)".into(), days);
    table.row(&[&"period", &period_text]);
    table.row(&[&"stored", &amount(&standing.all)]);
    table.row(&[&"checked within the period", &amount(&standing.covered)]);
    table.row(&[&"never checked", &amount(&standing.never)]);
    let oldest = standing.oldest.map_or_else(|| "-".to_owned(), |oldest| format!("{} ago", age(now.since(oldest))));
    table.row(&[&"oldest check", &oldest]);
    let (packages, files) = (count(standing.cold_packages, "package"), count(standing.cold_files, "file"));
    table.row(&[&"left out, in an archive class", &format!("{files} of {packages}")]);
    table.row(&[&"damaged", &count(*damaged, "package")]);
    table.row(&[&"checked today", &amount(today)]);
    if period.is_some() {
        let needed = format!("{} a day, {}/s", size(*slice_bytes), size(slice_bytes.div_ceil(86_400)));
        table.row(&[&"the period needs", &needed]);
    }
    table.text("")
}
