//! Files in a storage, and packages of them.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use dipper_archive::digest::{Algorithm, Digest, Hasher};
use dipper_archive::package::{
    Checkpoints, Content, Control, Form, Layout, Options, PrepareError, Prepared, ReadError, VerifiedReader, prepare,
};
use dipper_archive::storage::LocalStorage;
use tempfile::TempDir;

pub(crate) const MIB: u64 = 1 << 20;

/// A storage in a temporary directory, with the list of what was put there.
pub(crate) struct Files {
    pub(crate) directory: TempDir,
    pub(crate) storage: Arc<LocalStorage>,
    pub(crate) contents: Vec<Content>,
}

impl Files {
    pub(crate) fn new() -> Files {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let storage = Arc::new(LocalStorage::open(directory.path()).expect("a storage"));
        Files { directory, storage, contents: Vec::new() }
    }

    pub(crate) fn of(files: &[(&str, &[u8])]) -> Files {
        let mut all = Files::new();
        for (path, bytes) in files {
            all.add(path, bytes);
        }
        all
    }

    pub(crate) fn add(&mut self, logical_path: &str, bytes: &[u8]) {
        let location = format!("f{}", self.contents.len());
        std::fs::write(self.directory.path().join(&location), bytes).expect("a file");
        self.contents.push(Content {
            logical_path: logical_path.to_owned(),
            size: bytes.len() as u64,
            digest: digest(Algorithm::Sha512, bytes),
            algorithm: Algorithm::Sha512,
            location,
        });
    }

    /// Where the file with that index lies.
    pub(crate) fn path(&self, index: usize) -> PathBuf {
        self.directory.path().join(format!("f{index}"))
    }

    pub(crate) fn layout(&self, form: Form) -> Arc<Layout> {
        Arc::new(Layout::new("package", form, self.contents.clone(), 1_700_000_000).expect("a layout"))
    }

    pub(crate) fn prepare(&self, layout: &Layout) -> Result<(Prepared, Vec<u8>), PrepareError> {
        let mut bytes = Vec::new();
        let mut sink = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        let options = Options::new(Algorithm::Md5);
        let prepared = prepare(layout, &*self.storage, &options, Control::default(), Some(&mut sink))?;
        Ok((prepared, bytes))
    }

    pub(crate) fn read(
        &self,
        layout: &Arc<Layout>,
        checkpoints: &Arc<Checkpoints>,
        range: Range<u64>,
    ) -> Result<Vec<u8>, ReadError> {
        let (layout, checkpoints) = (Arc::clone(layout), Arc::clone(checkpoints));
        let mut reader = VerifiedReader::new(layout, self.storage.clone(), checkpoints, range)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            assert!(!chunk.is_empty());
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

pub(crate) fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// Bytes that look like noise and are the same every time.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(len)
    .collect()
}

pub(crate) fn bag() -> Form {
    Form::Bag { info: vec![("External-Identifier".to_owned(), "urn:nbn:no-nb_42".to_owned())] }
}

/// The entries of a tar, as the `tar` crate reads them.
pub(crate) fn untar(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().expect("a tar");
    let read = entries.map(|entry| {
        let mut entry = entry.expect("an entry");
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).expect("the content");
        (path, content)
    });
    read.collect()
}
