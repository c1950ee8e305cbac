//! Whether the audit log is as it was written: each chain is computed again from its beginning, in flat memory, beside
//! those who go on writing.

use std::fmt;

use super::chain::{BEGINNING, Chained, FileList};
use crate::db::{Database, DatabaseError, audit};

/// How many entries, and how many files of a list, are read at a time.
const PAGE: u32 = 1000;

/// What a chain turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// Its contract.
    pub contract_id: String,
    /// How many of its entries are as they were written, from the first on.
    pub entries: u64,
    /// The hash of the last of them: kept elsewhere, it shows later that the chain still goes on from here.
    pub head: String,
    /// The first thing that is wrong.
    pub fault: Option<ChainFault>,
    /// Where the remembered hash was found, if one was given.
    pub remembered: Option<u64>,
}

/// What is wrong with a chain: the first thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// The entry does not say what it said when it was written.
    Changed(u64),
    /// The entry cannot be read: it holds what was never written.
    Unreadable(u64, String),
    /// The entry is not there.
    Removed(u64),
    /// The entry was not written behind the one that is before it: one of the two was put there, or they were exchanged.
    OutOfPlace(u64),
    /// There is an entry under a number that none has.
    Inserted(i64),
    /// The list of files of the entry is not the one that was written.
    FilesChanged(u64),
    /// There are files of an entry that has none, or is not there.
    FilesInserted(i64),
    /// The chain ends after so many entries, and it had more.
    CutOff {
        /// How many there are.
        found: u64,
        /// How many there were.
        expected: u64,
    },
    /// What is noted of the end of the chain is not what the chain ends with, or not sealed with the installation's key.
    HeadChanged,
    /// The note of where the chain ends is not there.
    HeadRemoved,
    /// No entry has the hash that was remembered: the chain was cut off before it, or written anew.
    NotRemembered,
}

impl fmt::Display for ChainFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChainFault::Changed(number) => write!(formatter, "entry {number} was changed"),
            ChainFault::Unreadable(number, why) => write!(formatter, "entry {number} was changed: {why}"),
            ChainFault::Removed(number) => write!(formatter, "entry {number} was removed"),
            ChainFault::OutOfPlace(number) => write!(
                formatter,
                "entry {number} does not follow the one before it: it was inserted, or one of them was replaced or \
                 put in another place"
            ),
            ChainFault::Inserted(number) => write!(formatter, "there is an entry {number} that was never written"),
            ChainFault::FilesChanged(number) => write!(formatter, "the list of files of entry {number} was changed"),
            ChainFault::FilesInserted(number) => {
                write!(formatter, "there is a list of files for entry {number}, which has none")
            }
            ChainFault::CutOff { found, expected } => {
                write!(formatter, "the chain was cut off: it ends with entry {found}, and had {expected}")
            }
            ChainFault::HeadChanged => formatter.write_str(
                "the note of where the chain ends was changed, or entries were written without the installation's key",
            ),
            ChainFault::HeadRemoved => formatter.write_str("the note of where the chain ends was removed"),
            ChainFault::NotRemembered => formatter.write_str(
                "no entry has the hash that was remembered: the chain was cut off before it, or written anew",
            ),
        }
    }
}

/// Verifies the chain of one contract, or every chain. `remembered` is the hash of an entry that somebody kept elsewhere:
/// it must be in one of the chains. `progress` is told how many entries were looked at.
pub async fn verify(
    database: &Database,
    contract_id: Option<&str>,
    remembered: Option<&str>,
    mut progress: impl FnMut(u64),
) -> Result<Vec<ChainReport>, DatabaseError> {
    let chains = match contract_id {
        Some(contract_id) => vec![contract_id.to_owned()],
        None => audit::chains(database).await?,
    };
    let mut reports = Vec::with_capacity(chains.len());
    let mut seen = 0;
    for contract_id in chains {
        let mut tell = |entries: u64| {
            seen += entries;
            progress(seen);
        };
        reports.push(verify_chain(database, contract_id, remembered, &mut tell).await?);
    }
    if remembered.is_some() && reports.iter().all(|report| report.remembered.is_none()) {
        for report in &mut reports {
            report.fault.get_or_insert(ChainFault::NotRemembered);
        }
    }
    Ok(reports)
}

async fn verify_chain(
    database: &Database,
    contract_id: String,
    remembered: Option<&str>,
    tell: &mut impl FnMut(u64),
) -> Result<ChainReport, DatabaseError> {
    let (noted, last) = audit::end(database, &contract_id).await?;
    let mut report = ChainReport { contract_id, entries: 0, head: BEGINNING.to_owned(), fault: None, remembered: None };
    // What is appended while this runs is left for the next time.
    let mut after = i64::MIN;
    'pages: loop {
        let page = audit::page(database, &report.contract_id, after, PAGE).await?;
        for (number, read) in &page {
            if u64::try_from(*number).is_ok_and(|number| number > last) {
                break 'pages;
            }
            after = *number;
            report.fault = look_at(database, &report, *number, read).await?;
            match (&report.fault, read) {
                (None, Ok(chained)) => {
                    report.entries = chained.number;
                    report.head.clone_from(&chained.hash);
                    if remembered.is_some_and(|hash| hash.eq_ignore_ascii_case(&chained.hash)) {
                        report.remembered = Some(chained.number);
                    }
                }
                _ => return Ok(report),
            }
        }
        tell(page.len() as u64);
        if page.len() < PAGE as usize {
            break;
        }
    }
    report.fault = match noted {
        None if report.entries > 0 => Some(ChainFault::HeadRemoved),
        None => None,
        Some(noted) if noted.number > report.entries => {
            Some(ChainFault::CutOff { found: report.entries, expected: noted.number })
        }
        Some(noted) => {
            let is_end = (noted.number, &noted.hash) == (report.entries, &report.head);
            let is_sealed = |sealer: &super::chain::Sealer| {
                sealer.is_right(&report.contract_id, noted.number, &noted.hash, &noted.seal)
            };
            let is_right = is_end && (noted.number == 0 || database.sealer().is_none_or(is_sealed));
            (!is_right).then_some(ChainFault::HeadChanged)
        }
    };
    if report.fault.is_none()
        && let Some(stray) = audit::stray_files(database, &report.contract_id).await?
    {
        report.fault = Some(ChainFault::FilesInserted(stray));
    }
    Ok(report)
}

/// What is wrong with the next entry of a chain, if anything is.
async fn look_at(
    database: &Database,
    report: &ChainReport,
    number: i64,
    read: &Result<Chained, String>,
) -> Result<Option<ChainFault>, DatabaseError> {
    let expected = report.entries + 1;
    let Some(number) = u64::try_from(number).ok().filter(|number| *number > 0) else {
        return Ok(Some(ChainFault::Inserted(number)));
    };
    if number != expected {
        return Ok(Some(ChainFault::Removed(expected)));
    }
    Ok(match read {
        Err(why) => Some(ChainFault::Unreadable(number, why.clone())),
        Ok(chained) if chained.computed() != chained.hash => Some(ChainFault::Changed(number)),
        Ok(chained) if chained.previous != report.head => Some(ChainFault::OutOfPlace(number)),
        Ok(chained) => match &chained.file_list {
            Some(hash) if *hash != list_hash(database, chained).await? => Some(ChainFault::FilesChanged(number)),
            _ => None,
        },
    })
}

/// The hash of an entry's list of files as it is now; of a list that cannot be read, none that there is.
async fn list_hash(database: &Database, chained: &Chained) -> Result<String, DatabaseError> {
    let mut list = FileList::default();
    let mut expected = 1;
    loop {
        let read = audit::files(database, &chained.entry.contract_id, chained.number, expected - 1, PAGE).await;
        let page = match read {
            Err(DatabaseError::Value { .. }) => return Ok(String::new()),
            read => read?,
        };
        for (position, file) in &page {
            if *position != expected {
                return Ok(String::new());
            }
            expected += 1;
            list.add(file);
        }
        if page.len() < PAGE as usize {
            return Ok(list.finish());
        }
    }
}
