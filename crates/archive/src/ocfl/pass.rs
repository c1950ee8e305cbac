//! One pass over the bytes of a file: each is read once, and every digest sees it then.
//!
//! Small files are hashed where they are read. In a large one every algorithm gets a thread of its own beside the
//! one that reads, because the digests together are slower than any disk.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::blocks::Blocks;
use crate::digest::{Algorithm, Digest, Hasher};

/// Above this a file is hashed by threads.
const LARGE_BYTES: u64 = 4 << 20;
const SMALL_BLOCK: usize = 128 * 1024;
const LARGE_BLOCK: usize = 1 << 20;
/// How many blocks may wait for a slow digest.
const BLOCKS_AHEAD: usize = 4;
/// Digests take turns on pieces that stay in the processor's cache.
const PIECE: usize = 32 * 1024;

/// Reads files; keeps its buffer from one to the next.
pub(crate) struct Pass {
    buffer: Vec<u8>,
}

/// What a pass found.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) len: u64,
    pub(crate) digests: Vec<(Algorithm, Digest)>,
}

impl Passed {
    pub(crate) fn digest(&self, algorithm: Algorithm) -> Option<Digest> {
        self.digests.iter().find(|(known, _)| *known == algorithm).map(|(_, digest)| *digest)
    }
}

/// Which side of a pass failed.
#[derive(Debug)]
pub(crate) enum PassError {
    Source(io::Error),
    Sink(io::Error),
}

impl PassError {
    pub(crate) fn into_inner(self) -> io::Error {
        match self {
            PassError::Source(error) | PassError::Sink(error) => error,
        }
    }
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

impl Pass {
    pub(crate) fn new() -> Pass {
        Pass { buffer: vec![0; SMALL_BLOCK] }
    }

    /// Reads `source` to its end, gives every block to `sink`, and computes each of `algorithms`, which are distinct.
    pub(crate) fn run(
        &mut self,
        source: &mut dyn Read,
        algorithms: &[Algorithm],
        sink: Sink<'_>,
    ) -> Result<Passed, PassError> {
        let mut hashers: Vec<Hasher> = algorithms.iter().map(|algorithm| Hasher::new(*algorithm)).collect();
        let mut len = 0;
        while len < LARGE_BYTES {
            let count = read_block(source, &mut self.buffer).map_err(PassError::Source)?;
            let block = self.buffer.get(..count).unwrap_or_default();
            sink(block).map_err(PassError::Sink)?;
            for piece in block.chunks(PIECE) {
                hashers.iter_mut().for_each(|hasher| hasher.update(piece));
            }
            len += count as u64;
            if count < self.buffer.len() {
                return Ok(Passed { len, digests: finish(hashers) });
            }
        }
        run_large(source, hashers, sink, len)
    }
}

fn finish(hashers: Vec<Hasher>) -> Vec<(Algorithm, Digest)> {
    hashers.into_iter().map(|hasher| (hasher.algorithm(), hasher.finish())).collect()
}

fn run_large(source: &mut dyn Read, hashers: Vec<Hasher>, sink: Sink<'_>, mut len: u64) -> Result<Passed, PassError> {
    thread::scope(|scope| {
        let mut senders: Vec<SyncSender<Arc<Vec<u8>>>> = Vec::new();
        let mut threads = Vec::new();
        for hasher in hashers {
            let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
            senders.push(sender);
            threads.push(scope.spawn(move || hash_blocks(hasher, &receiver)));
        }
        let mut blocks = Blocks::new(LARGE_BLOCK);
        loop {
            let block = blocks.fill(|bytes| read_block(source, bytes)).map_err(PassError::Source)?;
            let count = block.len();
            sink(&block).map_err(PassError::Sink)?;
            len += count as u64;
            for sender in &senders {
                // A hasher ends only when its sender is gone.
                let _ = sender.send(Arc::clone(&block));
            }
            if count < LARGE_BLOCK {
                break;
            }
        }
        drop(senders);
        let mut digests = Vec::new();
        for thread in threads {
            let failed = |_| PassError::Source(io::Error::other("a thread that hashes has failed"));
            digests.push(thread.join().map_err(failed)?);
        }
        Ok(Passed { len, digests })
    })
}

fn hash_blocks(mut hasher: Hasher, blocks: &Receiver<Arc<Vec<u8>>>) -> (Algorithm, Digest) {
    for block in blocks {
        hasher.update(&block);
    }
    (hasher.algorithm(), hasher.finish())
}

/// Fills the buffer as far as the source goes.
fn read_block(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_and_small_sources_give_the_digests_of_their_bytes() {
        for len in [0, 1, SMALL_BLOCK, LARGE_BYTES as usize, LARGE_BYTES as usize + 1, 3 * LARGE_BYTES as usize + 7] {
            let bytes: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
            let algorithms = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512];
            let mut copy = Vec::new();
            let mut sink = |block: &[u8]| {
                copy.extend_from_slice(block);
                Ok(())
            };
            let passed = Pass::new().run(&mut bytes.as_slice(), &algorithms, &mut sink).unwrap();
            assert_eq!((passed.len, copy == bytes), (len as u64, true));
            for algorithm in algorithms {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(&bytes);
                assert_eq!(passed.digest(algorithm), Some(hasher.finish()), "{len} {algorithm}");
            }
        }
    }

    #[test]
    fn a_failing_sink_ends_the_pass_wherever_it_fails() {
        for limit in [0, LARGE_BYTES * 2] {
            let mut taken = 0;
            let mut sink = |block: &[u8]| {
                taken += block.len() as u64;
                if taken > limit { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
            };
            let passed = Pass::new().run(&mut io::repeat(1), &[Algorithm::Sha256], &mut sink);
            assert!(matches!(passed, Err(PassError::Sink(error)) if error.kind() == io::ErrorKind::StorageFull));
        }
    }
}
