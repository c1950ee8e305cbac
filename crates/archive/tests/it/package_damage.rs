//! Packages that must not be handed out: every fault of a file is found, and stops the bytes.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dipper_archive::digest::Algorithm;
use dipper_archive::package::{Control, Form, Options, PrepareError, Progress, ReadError, SourceError, prepare};
use dipper_archive::storage::{Condition, Entry, Revision, Storage};

use crate::package_support::{Files, MIB, bag, noise};

/// What can befall a stored file.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Flipped(usize),
    Truncated,
    Emptied,
    Extended,
    Missing,
    Directory,
}

impl Fault {
    fn inflict(self, files: &Files, index: usize) {
        let path = files.path(index);
        let mut bytes = std::fs::read(&path).expect("a file");
        match self {
            Fault::Flipped(at) => bytes[at] ^= 1,
            Fault::Truncated => bytes.truncate(bytes.len() - 1),
            Fault::Emptied => bytes.clear(),
            Fault::Extended => bytes.push(0),
            Fault::Missing | Fault::Directory => {}
        }
        std::fs::remove_file(&path).expect("removed");
        match self {
            Fault::Missing => {}
            Fault::Directory => std::fs::create_dir(&path).expect("a directory"),
            _ => std::fs::write(&path, bytes).expect("a file"),
        }
    }

    fn heal(self, files: &Files, index: usize, bytes: &[u8]) {
        let path = files.path(index);
        if matches!(self, Fault::Directory) {
            std::fs::remove_dir(&path).expect("removed");
        }
        std::fs::write(path, bytes).expect("a file");
    }

    fn expected(self, error: &PrepareError, name: &str) -> bool {
        match (self, error) {
            (Fault::Flipped(_), PrepareError::Fixity { logical_path, .. }) => logical_path == name,
            (Fault::Truncated | Fault::Emptied | Fault::Extended, PrepareError::Source(error)) => {
                matches!(error, SourceError::WrongSize { .. }) && error.logical_path() == name
            }
            (Fault::Missing, PrepareError::Source(error)) => {
                matches!(error, SourceError::Missing { .. }) && error.logical_path() == name
            }
            (Fault::Directory, PrepareError::Source(error)) => {
                matches!(error, SourceError::Io { .. }) && error.logical_path() == name
            }
            _ => false,
        }
    }
}

const SIZES: [usize; 8] = [1, 700, 5000, 1_048_576, 1_100_000, 4_194_304, 4_194_305, 6_000_000];

fn sound() -> Files {
    let mut files = Files::new();
    for size in SIZES {
        files.add(&format!("{size:08}"), &noise(size as u64, size));
    }
    files
}

#[test]
fn every_fault_of_every_file_stops_the_package() {
    let files = sound();
    let layout = files.layout(bag());
    let (prepared, whole) = files.prepare(&layout).expect("a package");
    let checkpoints = Arc::new(prepared.checkpoints);
    for (index, size) in SIZES.into_iter().enumerate() {
        let name = files.contents[index].logical_path.clone();
        let sound = std::fs::read(files.path(index)).expect("a file");
        let flips = [0, size / 2, size - 1].map(Fault::Flipped);
        let others = [Fault::Truncated, Fault::Emptied, Fault::Extended, Fault::Missing, Fault::Directory];
        for fault in flips.into_iter().chain(others) {
            fault.inflict(&files, index);

            let mut given = 0;
            let mut sink = |piece: &[u8]| {
                given += piece.len();
                Ok(())
            };
            let options = Options::new(Algorithm::Sha256);
            let refused = prepare(&layout, &*files.storage, &options, Control::default(), Some(&mut sink));
            let error = refused.expect_err("damaged");
            assert!(fault.expected(&error, &name), "{fault:?} {name}: {error}");
            assert_eq!(error.is_retryable(), matches!(fault, Fault::Directory));
            let content_end = layout.entries().nth(index).map(|entry| entry.offset + entry.size);
            assert!(Some(given as u64) <= content_end, "{fault:?} {name}: {given} bytes were passed on");

            // Every range that touches the file gives the right bytes or none of a wrong piece.
            let entry = layout.entries().nth(index).expect("an entry");
            let (start, end) = (entry.offset, entry.offset + entry.size);
            let mut refusals = 0;
            for range in [0..layout.len(), start..end, start..start + 1, end - 1..end, start.saturating_sub(1)..end + 1]
            {
                match files.read(&layout, &checkpoints, range.clone()) {
                    Ok(bytes) => assert!(bytes == whole[range.start as usize..range.end as usize], "{fault:?} {name}"),
                    Err(ReadError::Damaged { .. } | ReadError::Source(_)) => refusals += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            assert!(refusals >= 3, "{fault:?} {name}: {refusals} refusals");
            fault.heal(&files, index, &sound);
        }
    }
}

#[test]
fn a_wrong_piece_gives_no_byte_and_ends_the_reader() {
    let files = sound();
    let layout = files.layout(Form::Plain);
    let (prepared, whole) = files.prepare(&layout).expect("a package");
    let entry = layout.entries().last().expect("an entry");
    let at = 3 * MIB as usize;
    Fault::Flipped(at).inflict(&files, SIZES.len() - 1);
    let damaged = entry.offset + at as u64;

    let checkpoints = Arc::new(prepared.checkpoints);
    let mut reader = dipper_archive::package::VerifiedReader::new(
        Arc::clone(&layout),
        files.storage.clone(),
        checkpoints,
        5..layout.len(),
    )
    .expect("a reader");
    let mut given = Vec::new();
    let error = loop {
        match reader.next_chunk() {
            Ok(Some(chunk)) => given.extend_from_slice(&chunk),
            Ok(None) => panic!("the whole package was handed out"),
            Err(error) => break error,
        }
    };
    let piece = damaged / MIB * MIB;
    assert!(matches!(error, ReadError::Damaged { start, end } if start == piece && end == piece + MIB), "{error}");
    assert!(given == whole[5..piece as usize]);
    assert!(matches!(reader.next_chunk(), Ok(None)));
}

#[test]
fn it_stops_when_it_is_told_to() {
    let files = sound();
    let layout = files.layout(bag());
    let last = Cell::new(0);
    let mut progress = |progress: Progress| last.set(progress.bytes);
    let cancelled = || last.get() > 3 * MIB;
    let control = Control { progress: Some(&mut progress), cancelled: Some(&cancelled) };
    let stopped = prepare(&layout, &*files.storage, &Options::new(Algorithm::Md5), control, None);
    assert!(matches!(stopped, Err(PrepareError::Cancelled)));
    assert!(last.get() < layout.len());
}

#[test]
fn a_sink_that_fails_ends_it() {
    let files = sound();
    let layout = files.layout(bag());
    for room in [0, 1000, 5 * MIB as usize, 12 * MIB as usize] {
        let mut given = 0;
        let mut sink = |piece: &[u8]| {
            given += piece.len();
            if given > room { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        };
        let options = Options::new(Algorithm::Md5);
        let stopped = prepare(&layout, &*files.storage, &options, Control::default(), Some(&mut sink));
        let error = stopped.expect_err("the sink is full");
        assert!(matches!(&error, PrepareError::Sink(error) if error.kind() == io::ErrorKind::StorageFull));
        assert!(error.is_retryable());
    }
}

#[test]
fn a_sink_that_panics_leaves_no_thread_waiting() {
    let files = sound();
    let layout = files.layout(bag());
    let panicked = std::panic::catch_unwind(|| {
        let mut sink = |_: &[u8]| panic!("the sink's own defect");
        prepare(&layout, &*files.storage, &Options::new(Algorithm::Md5), Control::default(), Some(&mut sink))
    });
    assert!(panicked.is_err());
}

#[test]
fn options_that_give_no_checkpoints_are_refused() {
    let files = sound();
    let layout = files.layout(bag());
    let odd = Options { checkpoint_interval: Some(3 * MIB), ..Options::new(Algorithm::Md5) };
    for options in [Options::new(Algorithm::Blake2b512), odd] {
        let refused = prepare(&layout, &*files.storage, &options, Control::default(), None);
        assert!(matches!(refused, Err(PrepareError::Options { .. })), "{options:?}");
    }
}

/// A storage that counts what is read, and fails where it is told to.
struct Watched<'a> {
    inner: &'a dyn Storage,
    bytes: AtomicUsize,
    fail_at: Option<&'a str>,
}

struct Counted<'a, R> {
    inner: R,
    bytes: &'a AtomicUsize,
}

impl<R: io::Read> io::Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}

impl Storage for Watched<'_> {
    fn list(&self, directory: &str) -> io::Result<Vec<Entry>> {
        self.inner.list(directory)
    }

    fn entry(&self, path: &str) -> io::Result<Option<Entry>> {
        self.inner.entry(path)
    }

    fn open(&self, path: &str, range: std::ops::Range<u64>) -> io::Result<Box<dyn io::Read + Send>> {
        if self.fail_at == Some(path) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut bytes = Vec::new();
        let reader = self.inner.open(path, range)?;
        io::Read::read_to_end(&mut Counted { inner: reader, bytes: &self.bytes }, &mut bytes)?;
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    fn moves_directories(&self) -> bool {
        self.inner.moves_directories()
    }

    fn list_below(&self, directory: &str, found: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        self.inner.list_below(directory, found)
    }

    fn read_revision(&self, path: &str, limit: u64) -> io::Result<(Vec<u8>, Revision)> {
        self.inner.read_revision(path, limit)
    }

    fn write(&self, path: &str, bytes: &[u8], condition: Condition<'_>) -> io::Result<()> {
        self.inner.write(path, bytes, condition)
    }

    fn publish(&self, staged: &std::path::Path, path: &str) -> io::Result<()> {
        self.inner.publish(staged, path)
    }

    fn withdraw(&self, path: &str, to: &std::path::Path) -> io::Result<()> {
        self.inner.withdraw(path, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.inner.remove(path)
    }
}

#[test]
fn every_content_byte_is_read_once() {
    let files = sound();
    let watched = Watched { inner: &*files.storage, bytes: AtomicUsize::new(0), fail_at: None };
    let layout = files.layout(bag());
    prepare(&layout, &watched, &Options::new(Algorithm::Md5), Control::default(), None).expect("a package");
    assert_eq!(watched.bytes.load(Ordering::Relaxed), SIZES.iter().sum::<usize>());
}

#[test]
fn a_storage_that_fails_may_be_asked_again() {
    let files = sound();
    let layout = files.layout(bag());
    let mut storage = Watched { inner: &*files.storage, bytes: AtomicUsize::new(0), fail_at: Some("f5") };
    let options = Options::new(Algorithm::Md5);
    let failed = prepare(&layout, &storage, &options, Control::default(), None).expect_err("it timed out");
    assert!(failed.is_retryable(), "{failed}");
    storage.fail_at = None;
    assert!(prepare(&layout, &storage, &options, Control::default(), None).is_ok());
}
