//! Packages as they should be: what is in them, that they are the same every time, and every range of them.

use std::process::Command;
use std::sync::Arc;

use dipper_archive::digest::{Algorithm, Hasher};
use dipper_archive::package::{
    Checkpoints, Content, Control, Form, Layout, LayoutError, Options, Progress, ReadError, VerifiedReader,
    WriteFileError, prepare, write_file,
};
use proptest::prelude::*;

use crate::package_support::{Files, MIB, bag, digest, noise, untar};

/// Paths that are hard on a tar or a manifest.
fn hard_paths() -> Vec<String> {
    let long = "d".repeat(90);
    vec![
        "plain.txt".to_owned(),
        "with space/and % sign 100%25.txt".to_owned(),
        "Ærlig talt/blåbær.tif".to_owned(),
        "e\u{301}/decomposed.txt".to_owned(),
        "line\nend\r.txt".to_owned(),
        "tab\tand \"quotes\" 'and' \\backslash.txt".to_owned(),
        "-rf".to_owned(),
        "~root/file".to_owned(),
        format!("{long}/{}", "x".repeat(85)),
        format!("{long}/{}", "x".repeat(101)),
        format!("{long}/{long}/{long}/{}", "x".repeat(200)),
        format!("{}/{}", "ø".repeat(120), "å".repeat(120)),
    ]
}

fn hard_files() -> Files {
    let mut files = Files::new();
    for (index, path) in hard_paths().iter().enumerate() {
        files.add(path, &noise(index as u64, index * 131));
    }
    for size in [0, 1, 511, 512, 513, 1023, 1024, 1025, 262_143, 262_144, 262_145] {
        files.add(&format!("sizes/{size}"), &noise(size as u64, size));
    }
    files
}

#[test]
fn a_bag_holds_its_tag_files_and_then_the_payload() {
    let files = Files::of(&[("b/two.txt", b"two"), ("a/100%\n.txt", b""), ("b-three", b"three")]);
    let layout = files.layout(bag());
    let (prepared, bytes) = files.prepare(&layout).expect("a package");
    assert_eq!((prepared.len, layout.len()), (bytes.len() as u64, bytes.len() as u64));
    assert_eq!(prepared.checksum, digest(Algorithm::Md5, &bytes));

    let entries = untar(&bytes);
    let paths = entries.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>();
    let expected = [
        "package/bagit.txt",
        "package/bag-info.txt",
        "package/manifest-sha512.txt",
        "package/tagmanifest-sha512.txt",
        "package/data/a/100%\n.txt",
        "package/data/b-three",
        "package/data/b/two.txt",
    ];
    assert_eq!(paths, expected);
    let text = |index: usize| String::from_utf8(entries[index].1.clone()).expect("UTF-8");
    assert_eq!(text(0), "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n");
    assert_eq!(text(1), "External-Identifier: urn:nbn:no-nb_42\nPayload-Oxum: 8.3\n");
    let line = |bytes: &[u8], path: &str| format!("{}  {path}\n", digest(Algorithm::Sha512, bytes));
    assert_eq!(
        text(2),
        [line(b"", "data/a/100%25%0A.txt"), line(b"three", "data/b-three"), line(b"two", "data/b/two.txt")].concat()
    );
    assert_eq!(
        text(3),
        [
            line(text(1).as_bytes(), "bag-info.txt"),
            line(text(0).as_bytes(), "bagit.txt"),
            line(text(2).as_bytes(), "manifest-sha512.txt")
        ]
        .concat()
    );
    assert_eq!(&entries[6].1, b"two");

    let found = layout.entries().map(|entry| {
        let start = entry.offset as usize;
        (entry.path, bytes[start..start + entry.size as usize].to_vec())
    });
    assert_eq!(found.collect::<Vec<_>>(), entries[4..]);
}

#[test]
fn headers_name_no_owner_and_no_clock() {
    let files = Files::of(&[("a", b"a")]);
    let (_, bytes) = files.prepare(&files.layout(Form::Plain)).expect("a package");
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entry = archive.entries().expect("a tar").next().expect("an entry").expect("a header");
    let header = entry.header();
    assert!(header.as_ustar().is_some());
    assert_eq!(header.mode().ok(), Some(0o644));
    assert_eq!((header.uid().ok(), header.gid().ok(), header.mtime().ok()), (Some(0), Some(0), Some(1_700_000_000)));
    assert_eq!((header.username(), header.groupname()), (Ok(Some("")), Ok(Some(""))));
    assert_eq!(bytes.len(), 512 + 512 + 1024);
    assert!(bytes[1024..].iter().all(|byte| *byte == 0));
}

#[test]
fn every_name_and_size_is_read_back() {
    let files = hard_files();
    for (form, prefix) in [(Form::Plain, "package/"), (bag(), "package/data/")] {
        let (_, bytes) = files.prepare(&files.layout(form)).expect("a package");
        let entries = untar(&bytes);
        for (index, content) in files.contents.iter().enumerate() {
            let path = format!("{prefix}{}", content.logical_path);
            let entry = entries.iter().find(|(found, _)| *found == path);
            let stored = std::fs::read(files.path(index)).expect("a file");
            assert!(entry.is_some_and(|(_, found)| *found == stored), "{path:?}");
        }
    }
}

#[test]
fn the_tar_command_and_python_extract_what_was_put_in() {
    let files = hard_files();
    let layout = files.layout(Form::Plain);
    let work = tempfile::tempdir().expect("a directory");
    let path = work.path().join("package.tar");
    let options = Options::new(Algorithm::Sha256);
    write_file(&layout, &*files.storage, &options, Control::default(), &path).expect("a package");
    for peer in ["tar", "python3"] {
        let target = work.path().join(peer);
        std::fs::create_dir(&target).expect("a directory");
        let mut command = Command::new(peer);
        match peer {
            "tar" => command.arg("-xf").arg(&path).arg("-C").arg(&target),
            _ => {
                let script = "import sys, tarfile; tarfile.open(sys.argv[1], 'r:').extractall(sys.argv[2])";
                command.arg("-c").arg(script).arg(&path).arg(&target)
            }
        };
        let output = command.output().expect("the peer runs");
        assert!(output.status.success(), "{peer}: {}", String::from_utf8_lossy(&output.stderr));
        for (index, content) in files.contents.iter().enumerate() {
            let extracted = std::fs::read(target.join("package").join(&content.logical_path));
            let stored = std::fs::read(files.path(index)).expect("a file");
            assert!(extracted.is_ok_and(|found| found == stored), "{peer} {:?}", content.logical_path);
        }
    }
}

#[test]
fn without_files_the_directory_is_still_there() {
    let files = Files::new();
    for (form, directory) in [(Form::Plain, "package/"), (bag(), "package/data/")] {
        let (_, bytes) = files.prepare(&files.layout(form)).expect("a package");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let last = archive.entries().expect("a tar").map(|entry| entry.expect("an entry")).last().expect("an entry");
        assert_eq!(last.path_bytes().as_ref(), directory.as_bytes());
        assert_eq!(last.header().entry_type(), tar::EntryType::Directory);
        assert_eq!(last.header().mode().ok(), Some(0o755));
    }
}

#[test]
fn a_single_file_is_its_bytes() {
    for content in [&b""[..], b"x", &noise(1, 5_000_000)] {
        let files = Files::of(&[("film.mxf", content)]);
        let layout = files.layout(Form::Single);
        let (prepared, bytes) = files.prepare(&layout).expect("a package");
        assert!(bytes == content);
        assert_eq!(prepared.checksum, digest(Algorithm::Md5, content));
        let checkpoints = Arc::new(prepared.checkpoints);
        let read = files.read(&layout, &checkpoints, 0..layout.len()).expect("a range");
        assert!(read == content);
    }
    let two = Files::of(&[("a", b""), ("b", b"")]);
    let refused = Layout::new("", Form::Single, two.contents, 0).err();
    assert_eq!(refused, Some(LayoutError::NotSingle { count: 2 }));
}

#[test]
fn sizes_are_added_up_without_reading() {
    let huge = |name: &str, size| Content {
        logical_path: name.to_owned(),
        size,
        digest: digest(Algorithm::Sha512, b""),
        algorithm: Algorithm::Sha512,
        location: name.to_owned(),
    };
    let limit = 1 << 33;
    // Below 8 GiB a ustar header is enough; from there on the size needs a pax header of two more blocks.
    for (size, header) in [(limit - 512, 512), (limit - 1, 512), (limit, 1536), (limit + 1, 1536)] {
        let layout = Layout::new("p", Form::Plain, vec![huge("a", size), huge("b", 0)], 0).expect("a layout");
        let padded = size.next_multiple_of(512);
        assert_eq!(layout.len(), header + padded + 512 + 1024, "{size}");
        let offsets = layout.entries().map(|entry| entry.offset).collect::<Vec<_>>();
        assert_eq!(offsets, [header, header + padded + 512]);
    }
    let refused = Layout::new("p", Form::Plain, vec![huge("a", 1 << 62), huge("b", 1 << 62)], 0).err();
    assert_eq!(refused, Some(LayoutError::TooLarge));
    let refused = Layout::new("p", bag(), vec![huge("a", u64::MAX), huge("b", u64::MAX)], 0).err();
    assert_eq!(refused, Some(LayoutError::TooLarge));
}

#[test]
fn what_cannot_be_laid_out_is_refused() {
    let files = |paths: &[&str]| {
        let mut files = Files::new();
        paths.iter().for_each(|path| files.add(path, b""));
        files.contents
    };
    for path in ["", "/a", "a/", "a//b", ".", "a/..", "../a", "a/./b", "nul\0"] {
        let refused = Layout::new("p", Form::Plain, files(&[path]), 0).err();
        assert_eq!(refused, Some(LayoutError::Path { logical_path: path.to_owned() }));
    }
    for name in ["", ".", "..", "a/b", "a\nb", "\0"] {
        assert!(matches!(Layout::new(name, Form::Plain, files(&["a"]), 0), Err(LayoutError::Name { .. })), "{name:?}");
    }
    let logical_path = "a/b".to_owned();
    let twice = Layout::new("p", Form::Plain, files(&["c", "a/b", "a/b"]), 0).err();
    assert_eq!(twice, Some(LayoutError::Duplicate { logical_path: logical_path.clone() }));
    for paths in [&["a/b", "a/b-c", "a/b/c"][..], &["a/b/c/d", "a/b", "a/c"]] {
        let both = Layout::new("p", Form::Plain, files(paths), 0).err();
        assert_eq!(both, Some(LayoutError::FileAndDirectory { logical_path: logical_path.clone() }));
    }
    assert!(matches!(Layout::new("p", Form::Plain, Vec::new(), 1 << 33), Err(LayoutError::Modified { .. })));

    let mut mixed = files(&["a", "b"]);
    mixed[1].algorithm = Algorithm::Sha256;
    assert!(matches!(Layout::new("p", bag(), mixed.clone(), 0), Err(LayoutError::DigestLength { .. })));
    mixed[1].digest = digest(Algorithm::Sha256, b"");
    assert!(matches!(Layout::new("p", bag(), mixed.clone(), 0), Err(LayoutError::Algorithm { .. })));
    assert!(Layout::new("p", Form::Plain, mixed, 0).is_ok());
    let mut blake = files(&["a"]);
    blake[0].algorithm = Algorithm::Blake2b512;
    assert!(matches!(Layout::new("p", bag(), blake, 0), Err(LayoutError::Algorithm { .. })));

    for (label, value) in [("", "x"), ("a:b", "x"), (" a", "x"), ("a", "x\ny"), ("a", " x"), ("payload-oxum", "1.1")] {
        let form = Form::Bag { info: vec![(label.to_owned(), value.to_owned())] };
        assert!(matches!(Layout::new("p", form, files(&["a"]), 0), Err(LayoutError::BagInfo { .. })), "{label:?}");
    }
}

#[test]
fn the_order_of_the_list_and_the_number_of_threads_change_nothing() {
    let mut files = hard_files();
    files.add("large", &noise(9, 9_000_000));
    let (_, bytes) = files.prepare(&files.layout(bag())).expect("a package");
    files.contents.reverse();
    let layout = files.layout(bag());
    for threads in [1, 2, 7] {
        let mut again = Vec::new();
        let mut sink = |piece: &[u8]| {
            again.extend_from_slice(piece);
            Ok(())
        };
        let options = Options { threads: std::num::NonZero::new(threads), ..Options::new(Algorithm::Sha512) };
        let prepared = prepare(&layout, &*files.storage, &options, Control::default(), Some(&mut sink));
        assert_eq!(prepared.map(|prepared| prepared.checksum).ok(), Some(digest(Algorithm::Sha512, &again)));
        assert!(again == bytes, "{threads}");
    }
}

#[test]
fn progress_ends_at_the_whole() {
    let files = hard_files();
    let layout = files.layout(bag());
    let mut seen = Vec::new();
    let mut progress = |now: Progress| seen.push(now);
    let control = Control { progress: Some(&mut progress), cancelled: None };
    prepare(&layout, &*files.storage, &Options::new(Algorithm::Md5), control, None).expect("a package");
    assert!(seen.is_sorted_by_key(|progress| (progress.bytes, progress.files)));
    let (len, count) = (layout.len(), files.contents.len() as u64);
    let whole = Progress { bytes: len, bytes_total: len, files: count, files_total: count };
    assert_eq!(seen.last(), Some(&whole));
}

#[test]
fn a_file_appears_whole_and_replaces_nothing() {
    let files = hard_files();
    let layout = files.layout(bag());
    let work = tempfile::tempdir().expect("a directory");
    let path = work.path().join("package.tar");
    // What a killed run left behind is in nobody's way.
    std::fs::write(work.path().join(".package.tar.part"), b"half").expect("a file");
    let write = || write_file(&layout, &*files.storage, &Options::new(Algorithm::Md5), Control::default(), &path);
    let prepared = write().expect("a package");
    let bytes = std::fs::read(&path).expect("a file");
    assert_eq!((digest(Algorithm::Md5, &bytes), bytes.len() as u64), (prepared.checksum, prepared.len));
    assert!(matches!(write(), Err(WriteFileError::Exists { .. })));
    assert!(std::fs::read(&path).is_ok_and(|again| again == bytes));

    std::fs::remove_file(&path).expect("removed");
    std::fs::write(files.path(3), b"damaged").expect("a file");
    assert!(matches!(write(), Err(WriteFileError::Prepare(_))));
    assert_eq!(std::fs::read_dir(work.path()).expect("a directory").count(), 0);
}

#[test]
fn a_hundred_thousand_files_are_laid_out_and_found() {
    let empty = Hasher::new(Algorithm::Sha256).finish();
    let contents = (0..100_000).map(|number| Content {
        logical_path: format!("page-{number:06}.tif"),
        size: 0,
        digest: empty,
        algorithm: Algorithm::Sha256,
        location: "empty".to_owned(),
    });
    let mut files = Files::new();
    std::fs::write(files.directory.path().join("empty"), b"").expect("a file");
    files.contents = contents.collect();
    let layout = files.layout(bag());
    let (prepared, bytes) = files.prepare(&layout).expect("a package");
    assert_eq!(prepared.len, bytes.len() as u64);
    let checkpoints = Arc::new(prepared.checkpoints);
    for start in (0..layout.len() - 1000).step_by(7_654_321) {
        let read = files.read(&layout, &checkpoints, start..start + 1000).expect("a range");
        assert!(read == bytes[start as usize..start as usize + 1000], "{start}");
    }
}

#[test]
fn a_reader_refuses_what_was_not_prepared() {
    let files = Files::of(&[("a", b"a")]);
    let layout = files.layout(Form::Plain);
    let (prepared, _) = files.prepare(&layout).expect("a package");
    let checkpoints = Arc::new(prepared.checkpoints);
    let len = layout.len();
    #[allow(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    for range in [1..0, 0..len + 1, len + 1..len + 1] {
        let refused = files.read(&layout, &checkpoints, range.clone());
        assert!(matches!(refused, Err(ReadError::Range { .. })), "{range:?}");
    }
    for start in [0, 1, len] {
        assert_eq!(files.read(&layout, &checkpoints, start..start).expect("no bytes"), Vec::<u8>::new());
    }
    let bagged = files.layout(bag());
    let refused = VerifiedReader::new(bagged, files.storage.clone(), checkpoints, 0..1);
    assert!(matches!(refused, Err(ReadError::Changed { .. })));
}

fn generated() -> impl Strategy<Value = Vec<(String, usize)>> {
    let name = "[a-zæ %~\n.-]{1,12}(/[a-zø]{1,40}){0,5}";
    let size = prop_oneof![8 => 0_usize..3000, 2 => 0_usize..700_000, 1 => 3_900_000_usize..4_600_000];
    proptest::collection::btree_map(name, size, 0..12).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_range_is_the_range_of_the_whole(
        generated in generated(),
        as_bag in any::<bool>(),
        algorithm in proptest::sample::select(&[Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512][..]),
        ranges in proptest::collection::vec((any::<proptest::sample::Index>(), any::<proptest::sample::Index>()), 8),
    ) {
        let mut files = Files::new();
        for (path, size) in &generated {
            files.add(path, &noise(*size as u64, *size));
        }
        let form = if as_bag { bag() } else { Form::Plain };
        let layout = Layout::new("package", form, files.contents.clone(), 0);
        // A generated name may be `.`, or a file and a directory; that such are refused has its own test.
        prop_assume!(layout.is_ok());
        let layout = Arc::new(layout.expect("a layout"));
        let mut bytes = Vec::new();
        let mut sink = |piece: &[u8]| { bytes.extend_from_slice(piece); Ok(()) };
        let options = Options { checkpoint_interval: Some(MIB), ..Options::new(algorithm) };
        let prepared = prepare(&layout, &*files.storage, &options, Control::default(), Some(&mut sink));
        let prepared = prepared.expect("a package");
        prop_assert_eq!(prepared.len, bytes.len() as u64);
        prop_assert_eq!(prepared.checksum, digest(algorithm, &bytes));
        prop_assert_eq!(untar(&bytes).len(), layout.entries().count() + if as_bag { 4 } else { 0 }
            + usize::from(generated.is_empty()));
        let stored = Checkpoints::from_bytes(&prepared.checkpoints.to_bytes());
        prop_assert_eq!(stored.as_ref(), Ok(&prepared.checkpoints));
        let checkpoints = Arc::new(prepared.checkpoints);
        for (one, other) in ranges {
            let (one, other) = (one.index(bytes.len() + 1), other.index(bytes.len() + 1));
            let (start, end) = (one.min(other), one.max(other));
            let read = files.read(&layout, &checkpoints, start as u64..end as u64).expect("a range");
            prop_assert!(read == bytes[start..end], "{}..{}", start, end);
        }
    }
}
