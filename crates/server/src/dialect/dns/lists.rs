//! Lists in which contractors ask about many objects at once, or order them: left in the incoming directory, or posted. The
//! file is `report.rs`; this is what stands in its columns.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use dipper_core::db::packages::PackageState;
use dipper_core::db::submissions::{Submission, SubmissionFilter, SubmissionState};
use dipper_core::incoming::{List, ListError, ListReader};
use dipper_core::intake::{Intake, IntakeError, OrderRetrieval, PackageRecord, Portion};
use dipper_core::time::Timestamp;
use dipper_core::{Caller, Role};
use futures_util::future::BoxFuture;
use tokio::task::JoinError;

use super::DIALECT;
use super::mapping::{self, INGESTING, QUEUED, REFUSED, WAITING};
use super::report::{Report, ReportError, Told, Wanted};
use super::wire::{ARCHIVED, CHECK_NEEDED, NOT_FOUND, TRANSIENT};

/// Rows that are looked up at a time.
const ROWS: usize = 300;
/// The longest list that is read.
const LONGEST_BYTES: u64 = 64 << 20;

/// What a list is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To be told the status of objects.
    Status,
    /// To have objects delivered.
    Retrieval,
}

/// Why a list cannot be filled in.
#[derive(Debug, thiserror::Error)]
pub(super) enum FillError {
    /// It is not such a file.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The core failed.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The work on it ended.
    #[error("the work on the list broke off: {0}")]
    Broken(#[from] JoinError),
}

/// A list that was filled in.
pub(super) struct Filled {
    pub bytes: Vec<u8>,
    /// How its text is encoded, as HTTP says it.
    pub charset: &'static str,
}

/// Answers lists that are left in incoming directories.
pub(super) struct Lists {
    pub intake: Intake,
}

impl fmt::Debug for Lists {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lists").finish_non_exhaustive()
    }
}

impl ListReader for Lists {
    fn takes(&self, name: &str) -> bool {
        ends(name, ".csv")
    }

    fn longest_bytes(&self) -> u64 {
        LONGEST_BYTES
    }

    fn answer<'a>(&'a self, list: List<'a>) -> BoxFuture<'a, Result<Vec<u8>, ListError>> {
        Box::pin(async move {
            let grants = [(list.contract_id.to_owned(), Role::Read)].into_iter().collect();
            let caller = Caller { client_id: format!("area {}", list.contract_id), grants, stored: false };
            match fill(&self.intake, &caller, asked(list.name), list.bytes.to_vec()).await {
                Ok(filled) => Ok(filled.bytes),
                Err(FillError::Report(error)) => Err(ListError::Refused(error.to_string())),
                Err(error) => Err(ListError::Passing(error.to_string())),
            }
        })
    }
}

/// What a list of that name is for.
fn asked(name: &str) -> Asked {
    const RETRIEVAL: &str = "retrieval";
    let is_retrieval = name.get(..RETRIEVAL.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(RETRIEVAL));
    if is_retrieval { Asked::Retrieval } else { Asked::Status }
}

fn ends(name: &str, end: &str) -> bool {
    let at = name.len().checked_sub(end.len());
    at.and_then(|at| name.get(at..)).is_some_and(|found| found.eq_ignore_ascii_case(end))
}

/// Fills in a list, and orders what it asks for. Doing it again does nothing twice.
pub(super) async fn fill(intake: &Intake, caller: &Caller, asked: Asked, bytes: Vec<u8>) -> Result<Filled, FillError> {
    let mut report = tokio::task::spawn_blocking(move || Report::read(&bytes)).await??;
    let wanted: Vec<Wanted> = report.wanted().collect();
    let mut row = 0;
    for some in wanted.chunks(ROWS) {
        let found = Found::look(intake, caller, some).await?;
        for wanted in some {
            let told = match found.of(wanted) {
                Ok(record) => {
                    let (status, success, remark) = match asked {
                        Asked::Status => found.status(record),
                        Asked::Retrieval => order(intake, caller, record).await?,
                    };
                    told(record, status, success, remark)
                }
                Err(told) => *told,
            };
            report.tell(row, told);
            row += 1;
        }
    }
    let charset = report.charset();
    let bytes = tokio::task::spawn_blocking(move || report.write()).await?;
    Ok(Filled { bytes, charset })
}

/// What is known of some rows.
struct Found {
    by_identifier: HashMap<String, PackageRecord>,
    /// The identifiers of those with a name.
    by_name: HashMap<String, Vec<String>>,
    /// The catalogue's identifiers of packages that get a version now.
    changing: BTreeSet<String>,
    /// The newest submission of each name.
    submissions: HashMap<String, Submission>,
}

impl Found {
    async fn look(intake: &Intake, caller: &Caller, rows: &[Wanted]) -> Result<Found, IntakeError> {
        let identifiers: BTreeSet<&str> = rows.iter().filter_map(|row| row.identifier.as_deref()).collect();
        let names: BTreeSet<&str> = rows.iter().filter_map(|row| row.object_id.as_deref()).collect();
        let (identifiers, names) = (Vec::from_iter(identifiers), Vec::from_iter(names));
        let mut records = intake.package_find_named(caller, &identifiers, &names).await?;
        records.retain(|record| record.package.state != PackageState::Deleted);
        let ids: Vec<&str> = records.iter().map(|record| record.package.id.as_str()).collect();
        let work = intake.package_work(caller, &ids).await?.into_iter();
        let changing = work.filter(|work| work.is_being_ingested).map(|work| work.package_id).collect();
        let filter = SubmissionFilter {
            states: mapping::OPEN.to_vec(),
            object_ids: names.into_iter().map(str::to_owned).collect(),
            limit: u32::MAX,
            ..SubmissionFilter::default()
        };
        let submissions =
            if filter.object_ids.is_empty() { Vec::new() } else { intake.submission_list(caller, &filter).await? };
        let submissions =
            submissions.into_iter().filter_map(|submission| Some((submission.object_id.clone()?, submission)));
        let mut by_name: HashMap<String, Vec<String>> = HashMap::new();
        for record in &records {
            let identifiers = by_name.entry(record.package.object_id.clone()).or_default();
            identifiers.push(record.package.identifier.clone());
        }
        let by_identifier = records.into_iter().map(|record| (record.package.identifier.clone(), record));
        Ok(Found { by_identifier: by_identifier.collect(), by_name, changing, submissions: submissions.collect() })
    }

    /// The one object that a row is about, or what the row is told instead.
    fn of(&self, wanted: &Wanted) -> Result<&PackageRecord, Box<Told>> {
        let missing =
            |status: u16, remark: &str| Box::new(Told { status, remark: remark.to_owned(), ..Told::default() });
        let record = match (&wanted.identifier, &wanted.object_id) {
            (None, None) => return Err(missing(NOT_FOUND, "weder identifier noch origName angegeben")),
            (Some(identifier), name) => {
                let record = self.by_identifier.get(identifier);
                record.filter(|record| name.as_ref().is_none_or(|name| record.package.object_id == *name))
            }
            (None, Some(name)) => match self.by_name.get(name).map(Vec::as_slice) {
                Some([identifier]) => self.by_identifier.get(identifier),
                Some([_, _, ..]) => return Err(missing(NOT_FOUND, "mehrdeutig: bitte den identifier angeben")),
                _ => None,
            },
        };
        let submission = || wanted.object_id.as_ref().and_then(|name| self.submissions.get(name));
        record.ok_or_else(|| match submission() {
            Some(submission) => Box::new(handed_in(submission)),
            None => missing(NOT_FOUND, "nicht gefunden"),
        })
    }

    fn status(&self, record: &PackageRecord) -> (u16, bool, &'static str) {
        match record.package.state {
            PackageState::Preserved if self.changing.contains(&record.package.id) => {
                (TRANSIENT.1, false, "wird gerade bearbeitet")
            }
            PackageState::Preserved => (ARCHIVED.1, true, "fertig archiviert"),
            PackageState::Damaged | PackageState::Missing | PackageState::Deleted => (CHECK_NEEDED.1, false, CHECK),
        }
    }
}

const CHECK: &str = "archiviert, muss aber geprüft werden";

/// Of something that was handed in and is no object yet.
fn handed_in(submission: &Submission) -> Told {
    let reason = submission.reason.as_deref().and_then(|reason| reason.lines().next()).unwrap_or_default();
    let (status, remark) = match submission.state {
        SubmissionState::Refused => (REFUSED, format!("Ablieferung abgelehnt: {reason}")),
        SubmissionState::Working => (INGESTING, "Ablieferung wird verarbeitet".to_owned()),
        SubmissionState::Waiting | SubmissionState::Ingested | SubmissionState::Answered => {
            (WAITING, "Ablieferung wartet auf die Verarbeitung".to_owned())
        }
    };
    Told { status, remark, ..Told::default() }
}

async fn order(
    intake: &Intake,
    caller: &Caller,
    record: &PackageRecord,
) -> Result<(u16, bool, &'static str), IntakeError> {
    let package_id = record.package.id.clone();
    let command = OrderRetrieval { package_id, portion: Portion::default(), dialect: DIALECT };
    match intake.retrieval_order(caller, command).await {
        Ok(_) => Ok((QUEUED, true, "Abruf beauftragt")),
        Err(IntakeError::AlreadyOrdered { .. }) => Ok((QUEUED, true, "Abruf war bereits beauftragt")),
        Err(IntakeError::NotPreserved { .. }) => Ok((CHECK_NEEDED.1, false, CHECK)),
        // It went between the search and the order.
        Err(IntakeError::PackageUnknown(_) | IntakeError::NotAllowed { .. } | IntakeError::VersionUnknown { .. }) => {
            Ok((NOT_FOUND, false, "nicht gefunden"))
        }
        Err(error) => Err(error),
    }
}

fn told(record: &PackageRecord, status: u16, success: bool, remark: &str) -> Told {
    let PackageRecord { package, versions } = record;
    let updated = versions.last().map_or(package.created, |version| version.created);
    Told {
        identifier: Some(package.identifier.clone()),
        object_id: Some(package.object_id.clone()),
        created: Some(date(package.created)),
        updated: Some(date(updated)),
        status,
        success,
        remark: remark.to_owned(),
    }
}

/// A time in UTC, as these files have it.
fn date(time: Timestamp) -> String {
    let text = time.to_string();
    text.split('.').next().unwrap_or(&text).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_list_says_what_it_is_for() {
        for (name, expected) in [
            ("retrieval.csv", Asked::Retrieval),
            ("Retrieval-März.CSV", Asked::Retrieval),
            ("status.csv", Asked::Status),
            ("ret☃.csv", Asked::Status),
            ("my-retrieval.csv", Asked::Status),
        ] {
            assert_eq!(asked(name), expected, "{name}");
        }
        for (name, expected) in [("a.csv", true), ("A.CSV", true), ("csv", false), ("a.csv.tar", false), ("☃", false)]
        {
            assert_eq!(ends(name, ".csv"), expected, "{name}");
        }
    }

    #[test]
    fn dates_are_those_of_the_files() {
        assert_eq!(date(Timestamp(1_757_417_696_123_456)), "2025-09-09 11:34:56");
    }
}
