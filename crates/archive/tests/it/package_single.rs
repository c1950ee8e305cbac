//! Files that are read, proven and handed out one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dipper_archive::digest::Algorithm;
use dipper_archive::package::{Checkpoints, Form, Layout, PrepareError, SourceError, prove};

use crate::package_support::{Files, MIB, digest, noise};

#[test]
fn a_file_is_proven_in_one_read_and_any_range_of_it_later() {
    let mib = MIB as usize;
    for len in [0, 1, 1000, mib, mib + 1, 3 * mib + 77] {
        let bytes = noise(len as u64, len);
        let files = Files::of(&[("a/b.bin", &bytes)]);
        let content = &files.contents[0];
        let further = [Algorithm::Md5, Algorithm::Sha256];
        let proven = prove(content, files.storage.as_ref(), &further, &|| false, &|_| {}).expect("proven");
        assert_eq!(proven.digests, further.map(|algorithm| digest(algorithm, &bytes)), "{len}");
        assert_eq!((proven.checkpoints.len(), proven.checkpoints.checksum()), (len as u64, content.digest));
        let small = Checkpoints::of_small(content.algorithm, content.digest, content.size);
        assert_eq!(small.is_some(), len <= mib, "{len}");
        assert!(small.is_none_or(|small| small == proven.checkpoints));

        let layout = Arc::new(Layout::new("", Form::Single, files.contents.clone(), 0).expect("a layout"));
        let checkpoints = Arc::new(proven.checkpoints);
        for (start, end) in [(0, len), (len / 2, len), (len / 3, len / 2), (len.saturating_sub(1), len)] {
            let read = files.read(&layout, &checkpoints, start as u64..end as u64).expect("read");
            assert!(read == bytes[start..end], "{len} {start}..{end}");
        }
        if len > 0 {
            let mut altered = bytes.clone();
            altered[len - 1] ^= 1;
            std::fs::write(files.path(0), altered).expect("written");
            assert!(files.read(&layout, &checkpoints, len as u64 - 1..len as u64).is_err(), "{len}");
        }
    }
}

#[test]
fn what_is_not_as_recorded_is_told_apart() {
    let bytes = noise(1, 2_500_000);
    let prove_it = |alter: &dyn Fn(&Files)| {
        let files = Files::of(&[("a.bin", &bytes)]);
        alter(&files);
        prove(&files.contents[0], files.storage.as_ref(), &[], &|| false, &|_| {})
    };
    let write = |bytes: Vec<u8>| move |files: &Files| std::fs::write(files.path(0), &bytes).expect("written");
    let mut flipped = bytes.clone();
    flipped[2_000_000] ^= 4;
    assert!(matches!(prove_it(&write(flipped)), Err(PrepareError::Fixity { .. })));
    for len in [0, 2_499_999] {
        let cut = prove_it(&write(bytes[..len].to_vec()));
        assert!(matches!(cut, Err(PrepareError::Source(SourceError::WrongSize { .. }))), "{cut:?}");
    }
    let longer = prove_it(&write([bytes.as_slice(), b"x"].concat()));
    assert!(matches!(longer, Err(PrepareError::Source(SourceError::WrongSize { .. }))), "{longer:?}");
    let gone = prove_it(&|files| std::fs::remove_file(files.path(0)).expect("removed"));
    assert!(matches!(gone, Err(PrepareError::Source(SourceError::Missing { .. }))), "{gone:?}");
    let files = Files::of(&[("a.bin", &bytes)]);
    let asked = AtomicUsize::new(0);
    let told = AtomicU64::new(0);
    let add = |bytes: u64| {
        told.fetch_add(bytes, Ordering::Relaxed);
    };
    let second = || asked.fetch_add(1, Ordering::Relaxed) > 0;
    let stopped = prove(&files.contents[0], files.storage.as_ref(), &[], &second, &add);
    assert!(matches!(stopped, Err(PrepareError::Cancelled)), "{stopped:?}");
    assert_eq!(told.into_inner(), MIB, "one piece was read");
}
