//! The door: a directory or archive that was handed in, its files in one pass, and what is wrong with them.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::report::{Problem, Report};
use super::source::{FileEntry, Limits, Listing, OpenError, Source};
use super::structure::{Structure, examine};
use super::sums::{Sum, Sums};
use crate::digest::{Algorithm, Digest};

const BUFFER_BYTES: usize = 128 << 10;

/// What was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory of plain files, with nothing to hold them against.
    Plain,
    /// A bag.
    Bag,
}

/// A directory or archive that was handed in (a submission information package), listed but not yet read.
pub struct Submission {
    path: PathBuf,
    kind: Kind,
    source: Source,
    listing: Listing,
    structure: Structure,
    report: Report,
}

/// Why the files could not all be read. What is wrong with single files is in the [`Report`] instead.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The archive could not be read to its end.
    #[error("{path:?} could not be read: {source}")]
    Source {
        /// The directory or archive.
        path: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
    /// The consumer failed.
    #[error("{file:?} could not be taken over: {source}")]
    Consumer {
        /// The file.
        file: String,
        /// The consumer's error.
        source: io::Error,
    },
}

/// Opens what was handed in: a directory with `bagit.txt`, or a tar or zip, is a bag, and any other directory is
/// plain files. A tar or zip without a bag in it is refused, because nothing says what of it was meant.
///
/// Only names, sizes and tag files are read yet; [`Submission::report`] says what was found so far.
pub fn open(path: &Path, limits: &Limits) -> Result<Submission, OpenError> {
    open_as(path, limits, None)
}

/// Validates a bag: a directory, or a tar or zip that holds it. A directory without `bagit.txt` is an invalid bag.
pub fn validate(path: &Path, limits: &Limits) -> Result<Report, ReadError> {
    open_as(path, limits, Some(Kind::Bag))?.read(&[], &|_| Ok(()))
}

fn open_as(path: &Path, limits: &Limits, kind: Option<Kind>) -> Result<Submission, OpenError> {
    let source = Source::open(path)?;
    let listing = source.list(limits)?;
    let is_bag = source.is_archive() || listing.tag_files.contains_key("bagit.txt");
    let kind = kind.unwrap_or(if is_bag { Kind::Bag } else { Kind::Plain });
    let mut report = Report::default();
    let structure = match kind {
        Kind::Bag => examine(&listing, &mut report),
        Kind::Plain => Structure::default(),
    };
    report.sort();
    Ok(Submission { path: path.to_owned(), kind, source, listing, structure, report })
}

impl Submission {
    /// Whether it is a bag.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Every file, tag files too, with paths from the top of the bag on.
    pub fn files(&self) -> &[FileEntry] {
        &self.listing.files
    }

    /// The labels and values of `bag-info.txt` in their order.
    pub fn info(&self) -> &[(String, String)] {
        &self.structure.info
    }

    /// The checksums that the manifests give for a file.
    pub fn expected(&self, path: &str) -> &[(Sum, Digest)] {
        self.structure.expected.get(path).map(Vec::as_slice).unwrap_or_default()
    }

    /// What was found without reading the payload. A bag with errors here need not be read any further.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Reads every file once and gives it to `consumer`, and reports everything that was found: nothing may be
    /// committed unless the report is valid.
    ///
    /// The digests of `wanted` are computed together with those that the manifests ask for. Files of a directory
    /// come on several threads at once, those of an archive one after another in its order.
    pub fn read(
        &self,
        wanted: &[Algorithm],
        consumer: &(dyn Fn(&mut FileReader<'_>) -> io::Result<()> + Sync),
    ) -> Result<Report, ReadError> {
        let report = Mutex::new(self.report.clone());
        let failed = Mutex::new(None);
        let read = self.source.read(&self.listing, &|file, reader| {
            let expected = self.expected(&file.path);
            let mut reader = FileReader::new(file, reader, expected, wanted);
            let consumed = consumer(&mut reader).and_then(|()| reader.finish());
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            match (reader.problem.take(), consumed) {
                (Some(problem), _) => report.error(&file.path, problem),
                (None, Ok(())) => compare(&file.path, expected, reader.values(), &mut report),
                (None, Err(error)) => {
                    let message = error.to_string();
                    let first = (file.path.clone(), error);
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(first);
                    return Err(io::Error::other(message));
                }
            }
            Ok(())
        });
        if let Some((file, source)) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(ReadError::Consumer { file, source });
        }
        read.map_err(|source| ReadError::Source { path: self.path.clone(), source })?;
        let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.sort();
        Ok(report)
    }
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Submission { path, kind, .. } = self;
        formatter.debug_struct("Submission").field("path", path).field("kind", kind).finish_non_exhaustive()
    }
}

fn compare(path: &str, expected: &[(Sum, Digest)], values: &[(Sum, Digest)], report: &mut Report) {
    let mut unchecked = false;
    let mut wrong = false;
    for (sum, expected) in expected {
        let found = values.iter().find(|(found, _)| found == sum).map(|(_, value)| *value);
        unchecked |= found.is_none();
        if let Some(found) = found.filter(|found| found != expected) {
            wrong = true;
            let (expected, found) = (Box::new(*expected), Box::new(found));
            report.error(path, Problem::Checksum { sum: *sum, expected, found });
        }
    }
    if unchecked && !wrong {
        // A consumer that took the digests on itself must vouch for all of them.
        report.error(path, Problem::Unreadable { message: "its checksums were not compared".to_owned() });
    }
}

/// One file on its way to the consumer. What the consumer leaves unread is read afterwards.
pub struct FileReader<'a> {
    file: &'a FileEntry,
    expected: &'a [(Sum, Digest)],
    reader: &'a mut dyn Read,
    sums: Option<Sums>,
    values: Vec<(Sum, Digest)>,
    position: u64,
    problem: Option<Problem>,
}

impl<'a> FileReader<'a> {
    fn new(
        file: &'a FileEntry,
        reader: &'a mut dyn Read,
        expected: &'a [(Sum, Digest)],
        wanted: &[Algorithm],
    ) -> FileReader<'a> {
        let known = expected.iter().map(|(sum, _)| *sum);
        let sums = known.chain(wanted.iter().map(|algorithm| Sum::Known(*algorithm))).collect::<Vec<_>>();
        let sums = Some(Sums::new(&sums));
        FileReader { file, expected, reader, sums, values: Vec::new(), position: 0, problem: None }
    }

    /// The path, from the top of the bag on.
    pub fn path(&self) -> &str {
        &self.file.path
    }

    /// The length in bytes; reading fails when the file turns out to have another one.
    pub fn size(&self) -> u64 {
        self.file.size
    }

    /// The digests of the whole file, those that were wanted and those of the manifests. Reads what is left.
    pub fn digests(&mut self) -> io::Result<Vec<(Algorithm, Digest)>> {
        self.finish()?;
        let known = self.values.iter().filter_map(|(sum, digest)| match sum {
            Sum::Known(algorithm) => Some((*algorithm, *digest)),
            Sum::Sha224 | Sum::Sha384 => None,
        });
        Ok(known.collect())
    }

    /// What the manifests say of the file, in the algorithms that [`Algorithm`] has.
    pub fn expected(&self) -> Vec<(Algorithm, Digest)> {
        let known = self.expected.iter().filter_map(|(sum, digest)| match sum {
            Sum::Known(algorithm) => Some((*algorithm, *digest)),
            Sum::Sha224 | Sum::Sha384 => None,
        });
        known.collect()
    }

    /// The consumer computes digests anyway, and takes on those of [`FileReader::expected`], so that they are not
    /// computed twice. It says what it found with [`FileReader::vouch`].
    pub fn leave_digests(&mut self) {
        let others = self.expected.iter().map(|(sum, _)| *sum).filter(|sum| !matches!(sum, Sum::Known(_)));
        self.sums = Some(Sums::new(&others.collect::<Vec<_>>()));
    }

    /// Takes digests of the whole file from the consumer's hand. If nothing else is to be known of the file, what
    /// is left of it is not read.
    pub fn vouch(&mut self, digests: &[(Algorithm, Digest)]) {
        self.values.extend(digests.iter().map(|(algorithm, digest)| (Sum::Known(*algorithm), *digest)));
        let values = &self.values;
        if self.expected.iter().all(|(sum, _)| values.iter().any(|(known, _)| known == sum)) {
            self.sums = None;
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.sums.is_some() {
            let mut buffer = vec![0; BUFFER_BYTES];
            while self.read(&mut buffer)? > 0 {}
        }
        Ok(())
    }

    fn values(&self) -> &[(Sum, Digest)] {
        &self.values
    }

    fn fail(&mut self, problem: Problem) -> io::Error {
        let error = io::Error::other(format!("{}: {problem}", self.file.path));
        self.problem.get_or_insert(problem);
        error
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(sums) = &mut self.sums else { return Ok(0) };
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = match self.reader.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.fail(Problem::Unreadable { message: error.to_string() })),
        };
        sums.update(buffer.get(..read).unwrap_or_default());
        self.position += read as u64;
        let ended = read == 0;
        if self.position > self.file.size || ended && self.position < self.file.size {
            return Err(self.fail(Problem::Changed));
        }
        if ended {
            self.values.extend(self.sums.take().map(Sums::finish).unwrap_or_default());
        }
        Ok(read)
    }
}
