//! Handing the audit log out, entry by entry, so that a log of any length is exported in flat memory.

use std::io::{self, Write};

use super::{AuditFile, Chained};
use crate::db::audit::{self, AuditCursor, AuditFilter, AuditSubject};
use crate::db::{Database, DatabaseError};

/// How many entries, and how many files of a list, are read at a time.
const PAGE: u32 = 500;

/// Writes entries in one format.
pub trait AuditWriter {
    /// What comes before everything else.
    fn begin(&mut self, sink: &mut dyn Write) -> io::Result<()>;
    /// Whether the contracts and packages that entries are about are to be told before the first entry.
    fn wants_subjects(&self) -> bool {
        false
    }
    /// A contract that entries are about.
    fn contract(&mut self, _sink: &mut dyn Write, _contract_id: &str) -> io::Result<()> {
        Ok(())
    }
    /// A package that entries are about.
    fn package(&mut self, _sink: &mut dyn Write, _subject: &AuditSubject) -> io::Result<()> {
        Ok(())
    }
    /// An entry, up to its list of files.
    fn entry(&mut self, sink: &mut dyn Write, chained: &Chained) -> io::Result<()>;
    /// A file of its list.
    fn file(&mut self, sink: &mut dyn Write, file: &AuditFile) -> io::Result<()>;
    /// What comes after its list of files.
    fn entry_end(&mut self, sink: &mut dyn Write) -> io::Result<()>;
    /// What comes after the last entry.
    fn end(&mut self, sink: &mut dyn Write) -> io::Result<()>;
}

/// Why an export broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Nobody takes what is written.
    #[error("the export cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The catalogue failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Writes every entry to which a filter applies, by time; how many there were.
pub async fn export(
    database: &Database,
    filter: &AuditFilter,
    writer: &mut (dyn AuditWriter + Send),
    sink: &mut (dyn Write + Send),
) -> Result<u64, ExportError> {
    let mut cursor: Option<AuditCursor> = None;
    let mut count = 0;
    writer.begin(sink)?;
    if writer.wants_subjects() {
        export_subjects(database, filter, writer, sink).await?;
    }
    loop {
        let page = audit::list(database, filter, cursor.as_ref(), PAGE).await?;
        for chained in &page {
            writer.entry(sink, chained)?;
            if chained.file_list.is_some() {
                export_files(database, chained, writer, sink).await?;
            }
            writer.entry_end(sink)?;
            count += 1;
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => cursor = Some(AuditCursor::behind(last)),
            _ => break,
        }
    }
    writer.end(sink)?;
    sink.flush()?;
    Ok(count)
}

async fn export_subjects(
    database: &Database,
    filter: &AuditFilter,
    writer: &mut (dyn AuditWriter + Send),
    sink: &mut (dyn Write + Send),
) -> Result<(), ExportError> {
    for contract_id in audit::contracts(database, filter).await? {
        writer.contract(sink, &contract_id)?;
    }
    let mut after = String::new();
    loop {
        let page = audit::subjects(database, filter, &after, PAGE).await?;
        for subject in &page {
            writer.package(sink, subject)?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after.clone_from(&last.package_id),
            _ => return Ok(()),
        }
    }
}

async fn export_files(
    database: &Database,
    chained: &Chained,
    writer: &mut (dyn AuditWriter + Send),
    sink: &mut (dyn Write + Send),
) -> Result<(), ExportError> {
    let mut after = 0;
    loop {
        let page = audit::files(database, &chained.entry.contract_id, chained.number, after, PAGE).await?;
        for (_, file) in &page {
            writer.file(sink, file)?;
        }
        match page.last() {
            Some((position, _)) if page.len() == PAGE as usize => after = *position,
            _ => return Ok(()),
        }
    }
}

/// An export that is asked for piece by piece, by somebody who cannot be kept waiting for the whole.
pub struct Export {
    database: Database,
    filter: AuditFilter,
    writer: Box<dyn AuditWriter + Send>,
    cursor: Option<AuditCursor>,
    stage: Stage,
}

/// What is written next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Beginning,
    Entries,
    Over,
}

impl Export {
    /// An export of the entries to which a filter applies.
    pub fn new(database: Database, filter: AuditFilter, writer: Box<dyn AuditWriter + Send>) -> Export {
        Export { database, filter, writer, cursor: None, stage: Stage::Beginning }
    }

    /// Writes the next piece; `false` when that was the last one.
    pub async fn next(&mut self, sink: &mut Vec<u8>) -> Result<bool, ExportError> {
        match self.stage {
            Stage::Beginning => {
                self.writer.begin(sink)?;
                if self.writer.wants_subjects() {
                    export_subjects(&self.database, &self.filter, self.writer.as_mut(), sink).await?;
                }
                self.stage = Stage::Entries;
            }
            Stage::Entries => {
                let page = audit::list(&self.database, &self.filter, self.cursor.as_ref(), PAGE).await?;
                for chained in &page {
                    self.writer.entry(sink, chained)?;
                    if chained.file_list.is_some() {
                        export_files(&self.database, chained, self.writer.as_mut(), sink).await?;
                    }
                    self.writer.entry_end(sink)?;
                }
                match page.last() {
                    Some(last) if page.len() == PAGE as usize => self.cursor = Some(AuditCursor::behind(last)),
                    _ => {
                        self.writer.end(sink)?;
                        self.stage = Stage::Over;
                    }
                }
            }
            Stage::Over => {}
        }
        Ok(self.stage != Stage::Over)
    }
}
