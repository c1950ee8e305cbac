//! The verifying read of one file that is handed out by itself, for those who hand out many and read them side by side.

use super::checkpoints::{Checkpoints, Recorder};
use super::layout::Content;
use super::prepare::PrepareError;
use super::raw;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::meter;
use crate::storage::Storage;

/// Bytes that are read at a time, which is what a read holds in memory.
const PIECE_BYTES: usize = 1 << 20;

/// What reading a file whole has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The checkpoints of its content digest, for [`VerifiedReader`](super::VerifiedReader).
    pub checkpoints: Checkpoints,
    /// Its digests of the further algorithms, in the order in which they were asked for.
    pub digests: Vec<Digest>,
}

/// Reads a file once, holds it against its digest and its size, and computes further digests on the way. `cancelled` is
/// asked before each piece; after it, `progress` is told how many bytes that was.
pub fn prove(
    content: &Content,
    storage: &dyn Storage,
    further: &[Algorithm],
    cancelled: &dyn Fn() -> bool,
    progress: &dyn Fn(u64),
) -> Result<Proven, PrepareError> {
    let Some(mut recorder) = Recorder::new(content.algorithm, None, content.size) else {
        return Err(PrepareError::Options { checksum: content.algorithm, interval: None });
    };
    let mut hashers: Vec<Hasher> = further.iter().copied().map(Hasher::new).collect();
    let names = (content.logical_path.as_str(), content.location.as_str());
    let mut reader = raw::open_content(storage, names, content.size, 0)?;
    let mut bytes = vec![0; usize::try_from(content.size).unwrap_or(PIECE_BYTES).min(PIECE_BYTES)];
    loop {
        if cancelled() {
            return Err(PrepareError::Cancelled);
        }
        // Also of an empty file, which may have grown.
        let filled = reader.fill(&mut bytes)?;
        let piece = bytes.get(..filled).unwrap_or_default();
        recorder.update(piece);
        hashers.iter_mut().for_each(|hasher| hasher.update(piece));
        meter::hashed(filled as u64);
        progress(filled as u64);
        if reader.left() == 0 {
            break;
        }
    }
    let checkpoints = recorder.finish();
    if checkpoints.checksum() != content.digest {
        return Err(PrepareError::Fixity {
            logical_path: content.logical_path.clone(),
            expected: Box::new(content.digest),
            found: Box::new(checkpoints.checksum()),
        });
    }
    Ok(Proven { checkpoints, digests: hashers.into_iter().map(Hasher::finish).collect() })
}
