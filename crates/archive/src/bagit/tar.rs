//! A bag in a tar, plain or compressed with gzip.
//!
//! A plain one is listed by seeking from header to header. A compressed one has to be expanded for that, so it is expanded
//! twice: once for the names and sizes, once for the content. Neither ever lies on disk or in memory as a whole.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::source::{Collector, Limits, Listing, OpenError, Visit};

const BUFFER_BYTES: usize = 256 << 10;

/// How the tar is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tar {
    Plain,
    Gzip,
}

impl Tar {
    /// Tells a tar by its first 512 bytes, or as many as there are.
    pub(super) fn recognise(start: &[u8]) -> Option<Tar> {
        // RFC 1952, section 2.3.1; deflate is the only method there is.
        if start.starts_with(b"\x1f\x8b\x08") {
            return Some(Tar::Gzip);
        }
        // Old tars have no magic, but all have a checksum; an empty one is zeros.
        let block: &[u8; 512] = start.try_into().ok()?;
        let header = tar::Header::from_byte_slice(block);
        let sum = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) };
        let is_tar = header.cksum().is_ok_and(|checksum| checksum == block.iter().enumerate().map(sum).sum::<u32>());
        is_tar.then_some(Tar::Plain)
    }

    pub(super) fn list(self, path: &Path, limits: &Limits, collector: &mut Collector<'_>) -> Result<(), OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        match self {
            Tar::Plain => {
                let mut archive = tar::Archive::new(File::open(path).map_err(failed)?);
                collect(path, archive.entries_with_seek().map_err(failed)?, collector)?;
                // A tar that was cut off in its last file has all headers.
                let end = archive.into_inner().seek(SeekFrom::End(0)).map_err(failed)?;
                if end % 512 != 0 || end < collector.bytes {
                    return Err(malformed(path, &"it is cut off"));
                }
                Ok(())
            }
            Tar::Gzip => {
                let limit = limits.expanded(path).map_err(failed)?;
                let mut archive = tar::Archive::new(expanded(path).map_err(failed)?.take(limit));
                let entries = archive.entries();
                let collected = entries
                    .map_err(|error| malformed(path, &error))
                    .and_then(|entries| collect(path, entries, collector));
                let mut rest = archive.into_inner();
                // To the end, where gzip has its checksum.
                let drained = collected.and_then(|()| {
                    io::copy(&mut rest, &mut io::sink()).map(drop).map_err(|error| malformed(path, &error))
                });
                if rest.limit() == 0 { Err(OpenError::TooLarge { limit }) } else { drained }
            }
        }
    }

    pub(super) fn read(self, path: &Path, listing: &Listing, visit: Visit<'_>) -> io::Result<()> {
        match self {
            Tar::Plain => read(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?), listing, visit),
            Tar::Gzip => {
                let mut expanding = expanded(path)?;
                read(&mut expanding, listing, visit)?;
                io::copy(&mut expanding, &mut io::sink()).map(drop)
            }
        }
    }
}

fn expanded(path: &Path) -> io::Result<MultiGzDecoder<BufReader<File>>> {
    Ok(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?)))
}

fn malformed(path: &Path, message: &dyn std::fmt::Display) -> OpenError {
    OpenError::Archive { path: path.to_owned(), message: message.to_string() }
}

fn collect<R: Read>(path: &Path, entries: tar::Entries<'_, R>, collector: &mut Collector<'_>) -> Result<(), OpenError> {
    for entry in entries {
        let entry = entry.map_err(|error| malformed(path, &error))?;
        let Some((name, is_file)) = entry_path(&entry)? else { continue };
        if !is_file {
            collector.directory(name)?;
            continue;
        }
        let tag_file = collector.file(name, entry.size(), 0)?.map(str::to_owned);
        if let Some(name) = tag_file {
            collector.tag_file(name, entry).map_err(|error| malformed(path, &error))?;
        }
    }
    Ok(())
}

fn read(reader: impl Read, listing: &Listing, visit: Visit<'_>) -> io::Result<()> {
    let changed = || io::Error::other("the archive changed while it was read");
    let mut archive = tar::Archive::new(reader);
    let mut files = listing.files.iter();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let Some((path, true)) = entry_path(&entry).map_err(io::Error::other)? else { continue };
        let file = files.next().ok_or_else(changed)?;
        if path.strip_prefix(&listing.root) != Some(&file.path) || entry.size() != file.size {
            return Err(changed());
        }
        visit(file, &mut entry)?;
    }
    if files.next().is_some() { Err(changed()) } else { Ok(()) }
}

/// The path of an entry and whether it is a file; `None` for what is neither file nor directory but harmless.
fn entry_path<R: Read>(entry: &tar::Entry<'_, R>) -> Result<Option<(String, bool)>, OpenError> {
    let bytes = entry.path_bytes();
    let lossy = || String::from_utf8_lossy(&bytes).into_owned();
    let is_file = match entry.header().entry_type() {
        tar::EntryType::Regular | tar::EntryType::Continuous => true,
        tar::EntryType::Directory => false,
        tar::EntryType::XGlobalHeader => return Ok(None),
        _ => return Err(OpenError::EntryKind { entry: lossy() }),
    };
    let Ok(path) = std::str::from_utf8(&bytes) else {
        return Err(OpenError::Path { entry: lossy(), reason: "it is not UTF-8" });
    };
    // The oldest tars mark a directory by the end of its name only.
    let is_file = is_file && !path.ends_with('/');
    Ok(Some((path.trim_end_matches('/').trim_start_matches("./").to_owned(), is_file)))
}
