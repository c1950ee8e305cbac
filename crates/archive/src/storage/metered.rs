//! A storage whose work is counted and timed, whatever storage it is.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Availability, Condition, Entry, LocalFile, Recall, Revision, Storage, Streamed, Tier};
use crate::meter::StorageMeter;

/// A storage that is metered under the name of its back end.
#[derive(Debug)]
pub struct Metered<S> {
    storage: S,
    list: StorageMeter,
    entry: StorageMeter,
    open: StorageMeter,
    read: StorageMeter,
    write: StorageMeter,
    publish: StorageMeter,
    remove: StorageMeter,
    recall: StorageMeter,
}

impl<S: Storage> Metered<S> {
    /// Meters a storage. What is counted goes to the recorder that is installed by now.
    pub fn new(storage: S, backend: &'static str) -> Metered<S> {
        let meter = |operation| StorageMeter::new(backend, operation);
        Metered {
            storage,
            list: meter("list"),
            entry: meter("entry"),
            open: meter("open"),
            read: meter("read"),
            write: meter("write"),
            publish: meter("publish"),
            remove: meter("remove"),
            recall: meter("recall"),
        }
    }
}

impl<S: Storage> Storage for Metered<S> {
    fn moves_directories(&self) -> bool {
        self.storage.moves_directories()
    }

    fn has_archive_classes(&self) -> bool {
        self.storage.has_archive_classes()
    }

    fn reads_at_once(&self) -> Option<NonZeroUsize> {
        self.storage.reads_at_once()
    }

    fn list(&self, directory: &str) -> io::Result<Vec<Entry>> {
        self.list.time(|| self.storage.list(directory))
    }

    fn list_below(&self, directory: &str, found: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        self.list.time(|| self.storage.list_below(directory, found))
    }

    fn entry(&self, path: &str) -> io::Result<Option<Entry>> {
        self.entry.time(|| self.storage.entry(path))
    }

    fn open(&self, path: &str, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        let reader = self.open.time(|| self.storage.open(path, range))?;
        Ok(Box::new(MeteredReader { reader, meter: self.read.clone(), bytes: 0, took: Duration::ZERO }))
    }

    fn read_revision(&self, path: &str, limit: u64) -> io::Result<(Vec<u8>, Revision)> {
        let found = self.read.time(|| self.storage.read_revision(path, limit))?;
        self.read.bytes(found.0.len() as u64);
        Ok(found)
    }

    fn write(&self, path: &str, bytes: &[u8], condition: Condition<'_>) -> io::Result<()> {
        self.write.time(|| self.storage.write(path, bytes, condition))
    }

    fn publish(&self, staged: &Path, path: &str) -> io::Result<()> {
        self.publish.time(|| self.storage.publish(staged, path))
    }

    fn streams_above(&self) -> u64 {
        self.storage.streams_above()
    }

    fn upload(&self, files: &[LocalFile]) -> io::Result<()> {
        self.publish.time(|| self.storage.upload(files))
    }

    fn stream(&self, path: &str, len: Option<u64>) -> io::Result<Box<dyn Streamed>> {
        let stream = self.publish.time(|| self.storage.stream(path, len))?;
        Ok(Box::new(MeteredStream { stream, meter: self.publish.clone() }))
    }

    fn end_streams(&self, directory: &str) -> io::Result<()> {
        self.list.time(|| self.storage.end_streams(directory))
    }

    fn withdraw(&self, path: &str, to: &Path) -> io::Result<()> {
        self.remove.time(|| self.storage.withdraw(path, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.remove.time(|| self.storage.remove(path))
    }

    fn remove_files(&self, directory: &str, names: &[String]) -> io::Result<()> {
        self.remove.time(|| self.storage.remove_files(directory, names))
    }

    fn availability(&self, directory: &str, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<(String, Availability)>> {
        self.list.time(|| self.storage.availability(directory, wanted))
    }

    fn recall(&self, path: &str, tier: Tier, days: u32) -> io::Result<Recall> {
        self.recall.time(|| self.storage.recall(path, tier, days))
    }

    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = self.read.time(|| self.storage.read(path, limit))?;
        self.read.bytes(bytes.len() as u64);
        Ok(bytes)
    }
}

/// A reader that tells in the end how much it read, and how long it waited for it.
struct MeteredReader {
    reader: Box<dyn Read + Send>,
    meter: StorageMeter,
    bytes: u64,
    took: Duration,
}

impl MeteredReader {
    fn count(&mut self, began: Instant, read: io::Result<usize>) -> io::Result<usize> {
        self.took += began.elapsed();
        match &read {
            Ok(bytes) => self.bytes += *bytes as u64,
            Err(error) => self.meter.failed(error),
        }
        read
    }
}

impl Read for MeteredReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let began = Instant::now();
        let read = self.reader.read(bytes);
        self.count(began, read)
    }

    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let began = Instant::now();
        let read = self.reader.read_to_end(bytes);
        self.count(began, read)
    }
}

impl Drop for MeteredReader {
    fn drop(&mut self) {
        self.meter.took(self.took);
        self.meter.bytes(self.bytes);
    }
}

/// A file in the making whose end is timed.
struct MeteredStream {
    stream: Box<dyn Streamed>,
    meter: StorageMeter,
}

impl Write for MeteredStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Streamed for MeteredStream {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let MeteredStream { stream, meter } = *self;
        meter.time(|| stream.finish())
    }
}

#[cfg(test)]
mod tests {
    /// A method with a body of its own would otherwise be forgotten in silence, and the storage's own never called.
    #[test]
    fn every_method_is_passed_on() {
        let storage = include_str!("mod.rs").split("pub trait Storage").nth(1).expect("the trait");
        let storage = storage.split("\n}\n").next().expect("its end");
        let metered = include_str!("metered.rs").split("mod tests").next().expect("the code");
        let methods: Vec<&str> = storage.lines().filter_map(|line| line.strip_prefix("    fn ")).collect();
        assert!(methods.len() > 10, "{methods:?}");
        for method in methods {
            let name = method.split('(').next().expect("a name");
            assert!(metered.contains(&format!("self.storage.{name}(")), "{name}");
        }
    }
}
