//! What is handed in and must not be unpacked anywhere: traversal, links, bombs and broken archives.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use dipper_archive::bagit::{Limits, OpenError, Submission, open, validate};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

use crate::bagit_support::{Bag, SHAPES, Shape, TarEntry, gzip, names, tar_of};

fn write(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let work = tempfile::tempdir().expect("a directory");
    let path = work.path().join(name);
    std::fs::write(&path, bytes).expect("a file");
    (work, path)
}

fn open_tar(entries: &[TarEntry]) -> Result<Submission, OpenError> {
    let (_work, path) = write("a.tar", &tar_of(entries));
    open(&path, &Limits::default())
}

/// A zip with the declaration of a bag and these names.
fn open_zip(names: &[&str]) -> Result<Submission, OpenError> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = zip::ZipWriter::new(&mut bytes);
    for name in names {
        writer.start_file(*name, SimpleFileOptions::default()).expect("an entry");
        writer.write_all(b"x").expect("its content");
    }
    writer.finish().expect("a zip");
    let (_work, path) = write("a.zip", bytes.get_ref());
    open(&path, &Limits::default())
}

const BAD_PATHS: [&str; 11] = [
    "../evil",
    "/etc/passwd",
    "bag/../../evil",
    "bag//a",
    "bag/./a",
    "bag/a\u{1}b",
    "bag/line\nend",
    "bag/..",
    "..",
    "bag/\u{7f}",
    "bag/data/../bagit.txt",
];

#[test]
fn paths_that_lead_elsewhere() {
    for bad in BAD_PATHS {
        let refused = open_tar(&[TarEntry::file("bag/bagit.txt", b""), TarEntry::file(bad, b"x")]);
        assert!(matches!(&refused, Err(OpenError::Path { entry, .. }) if entry == bad), "{bad:?}: {refused:?}");
        let refused = open_zip(&["bag/bagit.txt", bad]);
        assert!(matches!(&refused, Err(OpenError::Path { entry, .. }) if entry == bad), "{bad:?}: {refused:?}");
    }
    for directory in ["../evil/", "/etc/", "bag/../x/"] {
        let refused = open_tar(&[TarEntry::file("bag/bagit.txt", b""), TarEntry::directory(directory)]);
        assert!(matches!(refused, Err(OpenError::Path { .. })), "{directory:?}: {refused:?}");
    }
    let refused = open_zip(&["bag/bagit.txt", "bag\\data\\a"]);
    assert!(matches!(refused, Err(OpenError::Path { .. })), "{refused:?}");
}

#[test]
fn links_and_devices() {
    for kind in [b'1', b'2', b'3', b'4', b'6'] {
        let link = TarEntry::link("bag/data/a", kind, "/etc/passwd");
        let refused = open_tar(&[TarEntry::file("bag/bagit.txt", b""), link]);
        assert!(matches!(refused, Err(OpenError::EntryKind { .. })), "{}: {refused:?}", char::from(kind));
    }
    let sparse = TarEntry::link("bag/data/a", b'S', "");
    assert!(open_tar(&[TarEntry::file("bag/bagit.txt", b""), sparse]).is_err());
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = zip::ZipWriter::new(&mut bytes);
    writer.add_symlink("bag/data/a", "/etc/passwd", SimpleFileOptions::default()).expect("a link");
    writer.finish().expect("a zip");
    let (_work, path) = write("a.zip", bytes.get_ref());
    assert!(matches!(open(&path, &Limits::default()), Err(OpenError::EntryKind { .. })));

    let (_work, path) = Bag::sound("1.0").lay_out(Shape::Directory);
    std::os::unix::fs::symlink("/etc", path.join("data/etc")).expect("a link");
    let refused = open(&path, &Limits::default());
    assert!(matches!(&refused, Err(OpenError::EntryKind { entry }) if entry == "data/etc"), "{refused:?}");
}

#[test]
fn a_link_that_takes_the_place_of_a_directory_is_not_followed() {
    let (work, path) = Bag::sound("1.0").lay_out(Shape::Directory);
    let submission = open(&path, &Limits::default()).expect("a submission");
    std::fs::rename(path.join("data"), work.path().join("elsewhere")).expect("moved");
    std::os::unix::fs::symlink(work.path().join("elsewhere"), path.join("data")).expect("a link");
    let report = submission.read(&[], &|_| Ok(())).expect("a report");
    assert_eq!(names(&report.errors), ["data/one.txt: Unreadable", "data/sub/three.txt: Unreadable"]);
}

#[test]
fn the_same_path_twice() {
    let file = |path| TarEntry::file(path, b"x");
    for (one, other) in [("bag/a", "bag/a"), ("./bag/a", "bag/a"), ("bag/a", "bag/a/b"), ("bag/a/b", "bag/a")] {
        let refused = open_tar(&[file("bag/bagit.txt"), file(one), file(other)]);
        assert!(matches!(refused, Err(OpenError::Duplicate { .. })), "{one} {other}: {refused:?}");
    }
    let refused = open_tar(&[file("bag/bagit.txt"), file("bag/a"), TarEntry::directory("bag/a/")]);
    assert!(matches!(refused, Err(OpenError::Duplicate { .. })), "{refused:?}");

    // No library writes a zip with the same name twice, so one name is changed to the other in the bytes.
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = zip::ZipWriter::new(&mut bytes);
    for name in ["bagit.txt", "data/aaaa", "data/bbbb"] {
        writer.start_file(name, SimpleFileOptions::default()).expect("an entry");
    }
    writer.finish().expect("a zip");
    let mut bytes = bytes.into_inner();
    for at in 0..bytes.len() - 4 {
        if &bytes[at..at + 4] == b"bbbb" {
            bytes[at..at + 4].copy_from_slice(b"aaaa");
        }
    }
    let (_work, path) = write("a.zip", &bytes);
    assert!(matches!(open(&path, &Limits::default()), Err(OpenError::Archive { .. })));
}

#[test]
fn what_is_no_archive_of_one_bag() {
    let file = |path| TarEntry::file(path, b"x");
    assert!(matches!(open_tar(&[file("letters/a")]), Err(OpenError::NotABag { .. })));
    assert!(matches!(open_tar(&[file("a/b/bagit.txt")]), Err(OpenError::NotABag { .. })));
    assert!(matches!(open_zip(&["letters/a"]), Err(OpenError::NotABag { .. })));
    let beside = open_tar(&[file("bag/bagit.txt"), file("other")]);
    assert!(matches!(&beside, Err(OpenError::BesideTheBag { entry }) if entry == "other"), "{beside:?}");
    let two = open_tar(&[file("bag/bagit.txt"), file("other/bagit.txt")]);
    assert!(matches!(two, Err(OpenError::BesideTheBag { .. })));
    let long = [b'x'; 4096];
    for bytes in [&b""[..], b"x", &long, &[0; 1024]] {
        let (_work, path) = write("a", bytes);
        assert!(matches!(open(&path, &Limits::default()), Err(OpenError::NotAnArchive { .. })));
    }
    let (_work, path) = write("a", b"\x1f\x8b\x08\0");
    assert!(matches!(open(&path, &Limits::default()), Err(OpenError::Archive { .. })));
    assert!(matches!(open(Path::new("/nowhere/at/all"), &Limits::default()), Err(OpenError::Io { .. })));
}

#[test]
fn archives_that_were_cut_off() {
    for shape in [Shape::Tar, Shape::Zip] {
        let mut bag = Bag::sound("1.0");
        bag.put("data/one.txt", &"Many words. ".repeat(5000));
        bag.put("bag-info.txt", "");
        bag.seal();
        let (_work, path) = bag.lay_out(shape);
        let bytes = std::fs::read(&path).expect("an archive");
        // The zeros at the end of a tar are not needed; the last file before them is a tag manifest.
        let needed = if shape == Shape::Tar { bytes.len() - 1024 - 512 } else { bytes.len() };
        for len in (1..needed).step_by(911) {
            let (_work, path) = write("cut", &bytes[..len]);
            let whole = open(&path, &Limits::default())
                .is_ok_and(|submission| submission.read(&[], &|_| Ok(())).is_ok_and(|report| report.is_valid()));
            assert!(!whole, "{shape:?} {len} of {}", bytes.len());
        }
    }
}

#[test]
fn a_damaged_archive_is_never_taken_for_the_bag() {
    for shape in [Shape::Zip, Shape::TarGz] {
        damaged_is_not_taken(shape);
    }
}

fn damaged_is_not_taken(shape: Shape) {
    let bag = Bag::sound("1.0");
    let (_work, path) = bag.lay_out(shape);
    let bytes = std::fs::read(&path).expect("an archive");
    // Short texts are stored or deflated so that a flipped byte cannot stay unnoticed.
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let (_work, path) = write("a", &damaged);
        let Ok(submission) = open(&path, &Limits::default()) else { continue };
        let taken = std::sync::Mutex::new(std::collections::BTreeMap::new());
        let report = submission.read(&[], &|file| {
            let mut content = Vec::new();
            std::io::Read::read_to_end(file, &mut content)?;
            taken.lock().expect("no panic").insert(file.path().to_owned(), content);
            Ok(())
        });
        // Times and the like may change without harm; what was taken in as valid must be the bag.
        if report.is_ok_and(|report| report.is_valid()) {
            let taken = taken.into_inner().expect("no panic");
            let payload = |files: &std::collections::BTreeMap<String, Vec<u8>>| {
                files
                    .iter()
                    .filter(|(path, _)| path.starts_with("data/"))
                    .map(|(path, bytes)| (path.clone(), bytes.clone()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(payload(&taken), payload(&bag.0), "{shape:?}, byte {at}");
        }
    }
}

#[test]
fn a_compressed_tar_that_is_cut_off_is_never_valid() {
    let (_work, path) = Bag::sound("1.0").lay_out(Shape::TarGz);
    let bytes = std::fs::read(&path).expect("a tar");
    let valid = |bytes: &[u8]| {
        let (_work, path) = write("a.tgz", bytes);
        validate(&path, &Limits::default()).is_ok_and(|report| report.is_valid())
    };
    assert!(valid(&bytes));
    for length in 0..bytes.len() {
        assert!(!valid(&bytes[..length]), "cut off after {length}");
    }
}

#[test]
fn bombs() {
    let bag = Bag::sound("1.0");
    let count = bag.0.len() as u64;
    for shape in SHAPES {
        let (_work, path) = bag.lay_out(shape);
        let limits = Limits { entries: count - 1, ..Limits::default() };
        assert!(matches!(open(&path, &limits), Err(OpenError::TooMany { .. })), "{shape:?}");
        let limits = Limits { bytes: 100, ..Limits::default() };
        assert!(matches!(open(&path, &limits), Err(OpenError::TooLarge { limit: 100 })), "{shape:?}");
        let limits = Limits { tag_file_bytes: 60, ..Limits::default() };
        assert!(matches!(open(&path, &limits), Err(OpenError::TagFileTooLarge { .. })), "{shape:?}");
    }
    let zeros = |len: usize| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = zip::ZipWriter::new(&mut bytes);
        writer.start_file("bagit.txt", SimpleFileOptions::default()).expect("an entry");
        writer.start_file("data/zeros", SimpleFileOptions::default()).expect("an entry");
        writer.write_all(&vec![0; len]).expect("its content");
        writer.finish().expect("a zip");
        bytes.into_inner()
    };
    let (_work, path) = write("bomb.zip", &zeros(64 << 20));
    assert!(matches!(open(&path, &Limits::default()), Err(OpenError::TooLarge { .. })));
    let limits = Limits { expansion_ratio: 2000, ..Limits::default() };
    assert!(open(&path, &limits).is_ok());

    let entry = TarEntry::file("bag/data/zeros", &vec![0; 64 << 20]);
    let (_work, path) = write("bomb.tgz", &gzip(&tar_of(&[TarEntry::file("bag/bagit.txt", b""), entry])));
    assert!(matches!(open(&path, &Limits::default()), Err(OpenError::TooLarge { .. })));
    let limits = Limits { expansion_ratio: 2000, ..Limits::default() };
    assert!(open(&path, &limits).is_ok());

    // A zip whose directory says less than what it expands to.
    let mut bytes = zeros(1 << 20);
    let (real, said) = ((1_u32 << 20).to_le_bytes(), 100_u32.to_le_bytes());
    for at in 0..bytes.len() - 4 {
        if bytes[at..at + 4] == real {
            bytes[at..at + 4].copy_from_slice(&said);
        }
    }
    let (_work, path) = write("liar.zip", &bytes);
    if let Ok(submission) = open(&path, &Limits::default()) {
        let most = std::sync::atomic::AtomicU64::new(0);
        let report = submission.read(&[], &|file| {
            let copied = std::io::copy(file, &mut std::io::sink());
            most.fetch_max(copied.as_ref().copied().unwrap_or(0), std::sync::atomic::Ordering::Relaxed);
            copied.map(drop)
        });
        assert!(report.is_err() || report.is_ok_and(|report| !report.is_valid()));
        assert!(most.into_inner() <= 100);
    }
}
