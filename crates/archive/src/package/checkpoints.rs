//! Checkpoints: the inner state of the delivery checksum at regular offsets of a package.
//!
//! A range that is read later is checked by going on from the state before it and comparing with the state after
//! it, so that it is verified against the very checksum that was promised, at no extra cost when preparing.

use crate::digest::{Algorithm, Digest, Hasher};

/// The smallest distance of checkpoints.
const MIN_INTERVAL_BYTES: u64 = 1 << 20;

/// How many checkpoints there are at most when the caller does not choose the interval: some megabytes of states.
const MAX_COUNT: u64 = 1 << 16;

const MAGIC: &[u8] = b"dipper checkpoints 1\n";

/// The states of one checksum along one package.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoints {
    algorithm: Algorithm,
    interval: u64,
    len: u64,
    checksum: Digest,
    /// The states one after another: the first after `interval` bytes, the last before the end.
    states: Vec<u8>,
}

/// Why bytes are not checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not the checkpoints of a package: {problem}; prepare the package again")]
pub struct CheckpointsError {
    problem: &'static str,
}

impl Checkpoints {
    /// The checkpoints of `len` bytes whose checksum is known: there are none, as long as they are so few that a reader
    /// takes them in one piece.
    pub fn of_small(algorithm: Algorithm, checksum: Digest, len: u64) -> Option<Checkpoints> {
        let interval = MIN_INTERVAL_BYTES;
        let is_small = count(len, interval) == 0 && state_len(algorithm).is_some();
        is_small.then(|| Checkpoints { algorithm, interval, len, checksum, states: Vec::new() })
    }

    /// The algorithm of the checksum.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The length of the package in bytes.
    #[allow(clippy::len_without_is_empty, reason = "this is the length of the package")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The checksum of the whole package.
    pub fn checksum(&self) -> Digest {
        self.checksum
    }

    /// The distance between two checkpoints in bytes, which is what a reader holds in memory.
    pub fn interval(&self) -> u64 {
        self.interval
    }

    /// The checkpoints as bytes, for a file or a database.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(self.algorithm.name().len() as u8);
        bytes.extend_from_slice(self.algorithm.name().as_bytes());
        bytes.extend_from_slice(&self.interval.to_be_bytes());
        bytes.extend_from_slice(&self.len.to_be_bytes());
        bytes.extend_from_slice(self.checksum.as_bytes());
        bytes.extend_from_slice(&self.states);
        bytes
    }

    /// Reads what [`Checkpoints::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoints, CheckpointsError> {
        let short = CheckpointsError { problem: "they are cut off" };
        let rest = bytes.strip_prefix(MAGIC).ok_or(CheckpointsError { problem: "they begin otherwise" })?;
        let (name_len, rest) = rest.split_first().ok_or(short.clone())?;
        let (name, rest) = rest.split_at_checked(usize::from(*name_len)).ok_or(short.clone())?;
        let algorithm = std::str::from_utf8(name).ok().and_then(Algorithm::from_name);
        let unknown = CheckpointsError { problem: "their algorithm is unknown" };
        let (algorithm, width) =
            algorithm.and_then(|algorithm| Some((algorithm, state_len(algorithm)?))).ok_or(unknown)?;
        let (interval, rest) = rest.split_first_chunk().ok_or(short.clone())?;
        let (len, rest) = rest.split_first_chunk().ok_or(short.clone())?;
        let (checksum, states) = rest.split_at_checked(algorithm.len_bytes()).ok_or(short.clone())?;
        let (interval, len) = (u64::from_be_bytes(*interval), u64::from_be_bytes(*len));
        if !is_interval(interval) {
            return Err(CheckpointsError { problem: "their interval is not a power of two from 1 MiB on" });
        }
        if states.len() as u64 != count(len, interval).saturating_mul(width as u64) {
            return Err(CheckpointsError { problem: "their number does not fit the length of the package" });
        }
        let checksum = hex::encode(checksum).parse().map_err(|_| short)?;
        Ok(Checkpoints { algorithm, interval, len, checksum, states: states.to_vec() })
    }

    /// A hasher that has read the package up to checkpoint `index`.
    pub(super) fn hasher_at(&self, index: u64) -> Option<Hasher> {
        let Some(before) = index.checked_sub(1) else {
            return Some(Hasher::new(self.algorithm));
        };
        // The part that `compact` took away is the empty block buffer.
        let mut saved = self.state(before)?.to_vec();
        saved.resize(Hasher::new(self.algorithm).save()?.len(), 0);
        Hasher::resume(self.algorithm, &saved)
    }

    /// Whether a hasher that has read the package up to checkpoint `index`, or to the end, read the right bytes.
    pub(super) fn confirm(&self, index: u64, hasher: Hasher) -> bool {
        match index.checked_sub(1).and_then(|before| self.state(before)) {
            Some(state) => compact(&hasher).is_some_and(|found| found == state),
            None => index.saturating_mul(self.interval) >= self.len && hasher.finish() == self.checksum,
        }
    }

    fn state(&self, index: u64) -> Option<&[u8]> {
        let width = state_len(self.algorithm)?;
        let start = usize::try_from(index).ok()?.checked_mul(width)?;
        self.states.get(start..start.checked_add(width)?)
    }
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Checkpoints { algorithm, interval, len, checksum, states: _ } = self;
        formatter
            .debug_struct("Checkpoints")
            .field("algorithm", algorithm)
            .field("interval", interval)
            .field("len", len)
            .field("checksum", checksum)
            .finish_non_exhaustive()
    }
}

/// Computes the checksum of a package and keeps the checkpoints on the way.
pub(super) struct Recorder {
    hasher: Hasher,
    interval: u64,
    position: u64,
    states: Vec<u8>,
}

impl Recorder {
    /// A recorder for a package of `len` bytes; `None` when the algorithm has no checkpoints or the interval is
    /// none.
    pub(super) fn new(algorithm: Algorithm, interval: Option<u64>, len: u64) -> Option<Recorder> {
        let interval = interval.unwrap_or_else(|| default_interval(len));
        let width = state_len(algorithm).filter(|_| is_interval(interval))?;
        let states = Vec::with_capacity(usize::try_from(count(len, interval)).ok()?.checked_mul(width)?);
        Some(Recorder { hasher: Hasher::new(algorithm), interval, position: 0, states })
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Reads the next bytes of the package.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let in_interval = self.position % self.interval;
            if in_interval == 0 && self.position > 0 {
                self.states.extend(compact(&self.hasher).unwrap_or_default());
            }
            let room = usize::try_from(self.interval - in_interval).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.hasher.update(now);
            self.position += now.len() as u64;
            bytes = later;
        }
    }

    pub(super) fn finish(self) -> Checkpoints {
        Checkpoints {
            algorithm: self.hasher.algorithm(),
            interval: self.interval,
            len: self.position,
            checksum: self.hasher.finish(),
            states: self.states,
        }
    }
}

fn is_interval(interval: u64) -> bool {
    interval.is_power_of_two() && interval >= MIN_INTERVAL_BYTES
}

/// The smallest interval that keeps the number of checkpoints in bounds.
fn default_interval(len: u64) -> u64 {
    let mut interval = MIN_INTERVAL_BYTES;
    while len / interval > MAX_COUNT {
        interval *= 2;
    }
    interval
}

/// How many checkpoints lie strictly inside a package.
fn count(len: u64, interval: u64) -> u64 {
    len.saturating_sub(1) / interval
}

/// The length of the state at a checkpoint; `None` for algorithms whose state cannot be saved.
fn state_len(algorithm: Algorithm) -> Option<usize> {
    compact(&Hasher::new(algorithm)).map(|state| state.len())
}

/// The state of a hasher at a block border, without its block buffer, which is empty there.
fn compact(hasher: &Hasher) -> Option<Vec<u8>> {
    let block_bytes = match hasher.algorithm() {
        Algorithm::Sha512 | Algorithm::Sha512_256 => 128,
        _ => 64,
    };
    let mut state = hasher.save()?;
    // The buffer is saved in as many bytes: its fill level, then what is in it.
    let buffer = state.split_off(state.len().checked_sub(block_bytes)?);
    buffer.iter().all(|byte| *byte == 0).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn record(algorithm: Algorithm, len: usize) -> Checkpoints {
        let mut recorder = Recorder::new(algorithm, Some(MIB), len as u64).expect("a recorder");
        let bytes = (0..len).map(|at| (at % 251) as u8).collect::<Vec<_>>();
        for piece in bytes.chunks(700_001) {
            recorder.update(piece);
        }
        recorder.finish()
    }

    #[test]
    fn states_are_small_and_go_on_from_where_they_were_taken() {
        let widths = [(Algorithm::Md5, 24), (Algorithm::Sha1, 28), (Algorithm::Sha256, 40), (Algorithm::Sha512, 80)];
        for (algorithm, width) in widths {
            assert_eq!(state_len(algorithm), Some(width), "{algorithm}");
            let mib = MIB as usize;
            for (len, states) in [(0, 0), (1, 0), (mib, 0), (mib + 1, 1), (2 * mib, 1), (3 * mib + 5, 3)] {
                let checkpoints = record(algorithm, len);
                assert_eq!(checkpoints.states.len(), states * width, "{algorithm} {len}");
                assert_eq!(Checkpoints::from_bytes(&checkpoints.to_bytes()), Ok(checkpoints.clone()));
                let bytes = (0..len).map(|at| (at % 251) as u8).collect::<Vec<_>>();
                for (index, chunk) in bytes.chunks(mib).enumerate() {
                    let mut hasher = checkpoints.hasher_at(index as u64).expect("a state");
                    let mut wrong = hasher.clone();
                    hasher.update(chunk);
                    assert!(checkpoints.confirm(index as u64 + 1, hasher), "{algorithm} {len} {index}");
                    let mut flipped = chunk.to_vec();
                    *flipped.last_mut().expect("a byte") ^= 1;
                    wrong.update(&flipped);
                    assert!(!checkpoints.confirm(index as u64 + 1, wrong), "{algorithm} {len} {index}");
                }
            }
        }
    }

    #[test]
    fn what_fits_one_piece_has_those_that_follow_from_its_checksum() {
        for (len, is_small) in [(0, true), (1, true), (MIB as usize, true), (MIB as usize + 1, false)] {
            let recorded = record(Algorithm::Sha512, len);
            let small = Checkpoints::of_small(Algorithm::Sha512, recorded.checksum(), len as u64);
            assert_eq!(small, is_small.then_some(recorded), "{len}");
        }
        let checksum = record(Algorithm::Md5, 1).checksum();
        assert_eq!(Checkpoints::of_small(Algorithm::Blake2b512, checksum, 1), None);
    }

    #[test]
    fn what_is_no_checkpoints_is_refused() {
        let bytes = record(Algorithm::Md5, 3 << 20).to_bytes();
        for len in 0..bytes.len() {
            assert!(Checkpoints::from_bytes(&bytes[..len]).is_err(), "{len}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Checkpoints::from_bytes(&longer).is_err());
        assert!(Recorder::new(Algorithm::Blake2b512, None, 1).is_none());
        for interval in [0, 1, MIB - 1, MIB + 1, 3 * MIB] {
            assert!(Recorder::new(Algorithm::Md5, Some(interval), 1).is_none());
        }
    }

    #[test]
    fn the_number_of_checkpoints_is_bounded() {
        for (len, interval) in [(0, MIB), (1 << 36, MIB), ((1 << 36) + MIB, 2 * MIB), (1 << 41, 32 * MIB)] {
            assert_eq!(default_interval(len), interval);
            assert!(count(len, interval) <= MAX_COUNT);
        }
    }
}
