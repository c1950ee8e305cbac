//! The journal of a draft: one line of JSON for every file whose bytes are safely staged, so that a draft that was
//! interrupted goes on where it stopped.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::publish;

/// How much is staged before it is made durable and journalled.
const BATCH_BYTES: u64 = 64 << 20;
const BATCH_FILES: usize = 1000;

/// One staged file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The logical path.
    pub(crate) path: String,
    pub(crate) len: u64,
    /// What the caller said about the source.
    pub(crate) stamp: String,
    /// The content path in the object, whether in this version or an earlier one.
    pub(crate) content: String,
    /// Algorithm names and values.
    pub(crate) digests: BTreeMap<String, String>,
}

pub(crate) struct Journal {
    file: File,
    lines: Vec<u8>,
    files: Vec<PathBuf>,
    count: usize,
    bytes: u64,
}

impl Journal {
    /// Opens the journal of a draft and gives the lines that were written before. A last line that a crash cut off
    /// is dropped.
    pub(crate) fn open(draft: &Path) -> io::Result<(Journal, Vec<Line>)> {
        let path = draft.join("journal.jsonl");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (mut found, mut valid) = (Vec::new(), 0_u64);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if !line.ends_with(b"\n") {
                break;
            }
            let Ok(parsed) = serde_json::from_slice(line) else { break };
            found.push(parsed);
            valid += line.len() as u64;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.set_len(valid)?;
        publish::sync_directory(draft)?;
        Ok((Journal { file, lines: Vec::new(), files: Vec::new(), count: 0, bytes: 0 }, found))
    }

    /// Notes a file; `staged` is where its bytes are when they are new and not where they stay. When enough has come
    /// together, it is flushed.
    pub(crate) fn add(&mut self, line: &Line, staged: Option<PathBuf>, keep: Keep<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.lines, line)?;
        self.lines.push(b'\n');
        self.count += 1;
        self.bytes += line.len;
        self.files.extend(staged);
        if self.bytes >= BATCH_BYTES || self.count >= BATCH_FILES {
            self.flush(keep)?;
        }
        Ok(())
    }

    /// Has the bytes of the noted files kept, and writes the lines about them then: a line that survives tells the truth.
    pub(crate) fn flush(&mut self, keep: Keep<'_>) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        keep(self.files.clone())?;
        self.file.write_all(&self.lines)?;
        self.file.sync_data()?;
        self.lines.clear();
        self.files.clear();
        (self.count, self.bytes) = (0, 0);
        Ok(())
    }
}

/// Makes staged files durable.
pub(crate) type Keep<'a> = &'a dyn Fn(Vec<PathBuf>) -> io::Result<()>;
