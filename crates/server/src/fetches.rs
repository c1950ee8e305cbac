//! Which deliveries were fetched whole: the parts that were read, over all channels, handles and
//! connections of this process.
//!
//! A delivery counts as fetched when a client has closed what it read from and every byte was served. Where the first
//! part was served before this process began, everything from where a client went on is enough, for no client goes on elsewhere than
//! at the end of what it has. What was on its way when a connection was cut off does not count.

use std::collections::{BTreeMap, HashMap};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dipper_core::time::Timestamp;
use rustix::fs::Stat;

/// Deliveries that are remembered; the one that was not asked for the longest is forgotten first.
const MAX_FILES: usize = 10_000;
/// Parts of one file that do not touch each other. Nobody who fetches a whole file comes near that.
const MAX_PARTS: usize = 4096;
/// What can be on its way to a client: its window, and what the systems on both ends hold.
const ON_ITS_WAY: u64 = 16 * 1024 * 1024;

/// Parts of a file, from their beginnings to their ends, that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts(BTreeMap<u64, u64>);

impl Parts {
    /// Adds a part.
    pub(crate) fn add(&mut self, mut start: u64, mut end: u64) {
        if start >= end || self.0.len() >= MAX_PARTS {
            return;
        }
        while let Some((&other, &other_end)) = self.0.range(..=end).next_back().filter(|(_, other)| **other >= start) {
            start = start.min(other);
            end = end.max(other_end);
            self.0.remove(&other);
        }
        self.0.insert(start, end);
    }

    fn merge(&mut self, other: &Parts) {
        other.0.iter().for_each(|(start, end)| self.add(*start, *end));
    }

    fn covers(&self, start: u64, end: u64) -> bool {
        start >= end || self.0.range(..=start).next_back().is_some_and(|(_, until)| *until >= end)
    }

    /// Without what may not have arrived.
    fn arrived(&self) -> Parts {
        let shorter = |(start, end): (&u64, &u64)| (*start, end.saturating_sub(ON_ITS_WAY));
        Parts(self.0.iter().map(shorter).filter(|(start, end)| start < end).collect())
    }
}

/// A delivery in a contract's outgoing directory, or a file of a restore. One that replaced it is another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Delivery {
    pub(crate) contract_id: String,
    pub(crate) name: String,
    inode: u64,
    size: u64,
    written: (i64, i64),
}

impl Delivery {
    /// The one that a file holds that is open.
    pub(crate) fn new(contract_id: &str, name: &str, found: &Metadata) -> Delivery {
        let written = (found.mtime(), found.mtime_nsec());
        Delivery::known_by(contract_id, name, found.ino(), found.size(), written)
    }

    /// As [`Delivery::new`], from what the system call tells.
    pub(crate) fn of_stat(contract_id: &str, name: &str, stat: &Stat) -> Delivery {
        #[allow(clippy::useless_conversion, reason = "the types differ between platforms")]
        let written = (stat.st_mtime.into(), i64::try_from(stat.st_mtime_nsec).unwrap_or_default());
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        Delivery::known_by(contract_id, name, stat.st_ino, size, written)
    }

    /// A file of a restore, which takes the place of the contract.
    pub(crate) fn of_restore(restore_id: &str, number: u32, size: u64) -> Delivery {
        Delivery::known_by(restore_id, &number.to_string(), 0, size, (0, 0))
    }

    /// A stored file that a client looks at; the two take the place of the contract.
    pub(crate) fn of_stored(client_id: &str, package_id: &str, path: &str, digest: &str, size: u64) -> Delivery {
        Delivery::known_by(&format!("{client_id}/{package_id}"), &format!("{digest}/{path}"), 0, size, (0, 0))
    }

    fn known_by(contract_id: &str, name: &str, inode: u64, size: u64, written: (i64, i64)) -> Delivery {
        Delivery { contract_id: contract_id.to_owned(), name: name.to_owned(), inode, size, written }
    }

    /// Its length in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// What tells it from all others, as an entity tag.
    pub(crate) fn etag(&self) -> String {
        let (seconds, nanoseconds) = self.written;
        format!("\"{:x}-{:x}-{seconds:x}-{nanoseconds:x}\"", self.inode, self.size)
    }
}

#[derive(Debug)]
struct Known {
    parts: Parts,
    /// Where the first client began; absent as long as nothing was read.
    from: Option<u64>,
    readers: usize,
    touched: Instant,
    told: bool,
}

/// What was fetched of which delivery.
#[derive(Debug, Default)]
pub(crate) struct Fetches(Mutex<HashMap<Delivery, Known>>);

/// What one handle has read of a delivery.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) delivery: Delivery,
    /// When the file was opened.
    pub(crate) opened: Timestamp,
    parts: Parts,
    from: Option<u64>,
}

impl Fetch {
    /// So much was served from there on.
    pub(crate) fn served(&mut self, offset: u64, count: usize) {
        self.from.get_or_insert(offset);
        self.parts.add(offset, offset.saturating_add(count as u64));
    }
}

impl Fetches {
    /// A delivery was opened for reading.
    pub(crate) fn begin(&self, delivery: Delivery, opened: Timestamp) -> Fetch {
        Fetches::known(&mut self.lock(), &delivery, |known| known.readers += 1);
        Fetch { delivery, opened, parts: Parts::default(), from: None }
    }

    /// Its client has closed it; whether the delivery was fetched whole, which is told once.
    pub(crate) fn closed(&self, fetch: &Fetch) -> bool {
        self.end(fetch, &fetch.parts)
    }

    /// Its connection was cut off.
    pub(crate) fn cut_off(&self, fetch: &Fetch) {
        self.end(fetch, &fetch.parts.arrived());
    }

    /// What was known of a delivery is known no more: whoever fetches it again gives the next chance to note it.
    pub(crate) fn forget(&self, delivery: &Delivery) {
        self.lock().remove(delivery);
    }

    fn end(&self, fetch: &Fetch, parts: &Parts) -> bool {
        let size = fetch.delivery.size;
        Fetches::known(&mut self.lock(), &fetch.delivery, |known| {
            known.readers = known.readers.saturating_sub(1);
            let Some(began) = fetch.from else { return false };
            let from = match known.from {
                Some(from) if began < from => 0,
                Some(from) => from,
                None => began,
            };
            known.from = Some(from);
            known.parts.merge(parts);
            // As long as others read, one that began further on may be one of several that share the work.
            let rest = known.readers == 0 && from < size && known.parts.covers(from, size);
            let whole = (rest || known.parts.covers(0, size)) && !known.told;
            known.told |= whole;
            whole
        })
    }

    fn known<T>(all: &mut HashMap<Delivery, Known>, delivery: &Delivery, with: impl FnOnce(&mut Known) -> T) -> T {
        if all.len() >= MAX_FILES && !all.contains_key(delivery) {
            make_room(all);
        }
        let now = Instant::now();
        let new = || Known { parts: Parts::default(), from: None, readers: 0, touched: now, told: false };
        let known = all.entry(delivery.clone()).or_insert_with(new);
        known.touched = now;
        with(known)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Delivery, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(all: &mut HashMap<Delivery, Known>) {
    let mut times: Vec<Instant> = all.values().map(|known| known.touched).collect();
    times.sort_unstable();
    if let Some(middle) = times.get(times.len() / 2).copied() {
        all.retain(|_, known| known.touched > middle);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn delivery(size: u64) -> Delivery {
        Delivery { contract_id: "2d17".to_owned(), name: "a.tar".to_owned(), inode: 1, size, written: (1, 0) }
    }

    fn fetch(fetches: &Fetches, size: u64, parts: &[(u64, u64)]) -> Fetch {
        let mut fetch = fetches.begin(delivery(size), Timestamp::now());
        for (start, end) in parts {
            fetch.served(*start, usize::try_from(end - start).expect("small"));
        }
        fetch
    }

    #[test]
    fn a_delivery_is_fetched_when_all_of_it_was_served_and_the_handle_closed() {
        let fetches = Fetches::default();
        assert!(!fetches.closed(&fetch(&fetches, 100, &[(0, 60)])));
        assert!(fetches.closed(&fetch(&fetches, 100, &[(60, 100)])));
        assert!(!fetches.closed(&fetch(&fetches, 100, &[(0, 100)])), "told once");
        assert!(!fetches.closed(&fetches.begin(delivery(200), Timestamp::now())), "only opened");
        assert!(fetches.closed(&fetch(&fetches, 0, &[(0, 0)])), "an empty one");
    }

    #[test]
    fn what_was_on_its_way_at_a_cut_does_not_count() {
        let fetches = Fetches::default();
        let size = 100 * MIB;
        fetches.cut_off(&fetch(&fetches, size, &[(0, size)]));
        assert!(!fetches.closed(&fetch(&fetches, size, &[(99 * MIB, size)])));
        assert!(fetches.closed(&fetch(&fetches, size, &[(80 * MIB, size)])));
    }

    #[test]
    fn one_that_goes_on_where_an_earlier_process_stopped_fetches_the_whole() {
        let fetches = Fetches::default();
        assert!(fetches.closed(&fetch(&fetches, 100, &[(70, 90), (90, 100)])));
        let fetches = Fetches::default();
        assert!(!fetches.closed(&fetch(&fetches, 100, &[(70, 90)])));
        assert!(!fetches.closed(&fetch(&fetches, 100, &[(0, 10)])), "the part before was missing after all");
        assert!(!fetches.closed(&fetch(&fetches, 100, &[(90, 100)])));
        assert!(fetches.closed(&fetch(&fetches, 100, &[(10, 70)])));
    }

    #[test]
    fn memory_is_bounded() {
        let fetches = Fetches::default();
        for inode in 0..3 * MAX_FILES as u64 {
            let mut fetch = fetches.begin(Delivery { inode, ..delivery(100) }, Timestamp::now());
            fetch.served(0, 10);
            fetches.closed(&fetch);
        }
        assert!(fetches.lock().len() <= MAX_FILES);
        let mut parts = Parts::default();
        (0..3 * MAX_PARTS as u64).for_each(|number| parts.add(number * 2, number * 2 + 1));
        assert!(parts.0.len() <= MAX_PARTS);
    }

    proptest! {
        #[test]
        fn parts_cover_what_was_added(added in prop::collection::vec((0_u64..200, 0_u64..50), 0..30)) {
            let mut parts = Parts::default();
            let mut model = [false; 250];
            for (start, len) in added {
                parts.add(start, start + len);
                let (start, len) = (usize::try_from(start).expect("small"), usize::try_from(len).expect("small"));
                model.iter_mut().skip(start).take(len).for_each(|byte| *byte = true);
            }
            for start in (0..250).step_by(7) {
                for end in (start + 1..250).step_by(5) {
                    let all = model.iter().skip(start).take(end - start).all(|byte| *byte);
                    prop_assert_eq!(parts.covers(start as u64, end as u64), all);
                }
            }
            let apart = parts.0.iter().zip(parts.0.iter().skip(1)).all(|((_, end), (start, _))| end < start);
            prop_assert!(apart);
        }
    }
}
