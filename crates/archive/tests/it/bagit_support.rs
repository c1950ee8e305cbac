//! Bags in memory, and the three ways in which they are handed in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dipper_archive::bagit::{Limits, ReadError, Report, validate};
use dipper_archive::digest::Algorithm;
use tempfile::TempDir;

use crate::package_support::digest;
use crate::peers::tool;

/// The files of a bag.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bag(pub(crate) BTreeMap<String, Vec<u8>>);

/// The ways in which a bag can be handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Directory,
    /// A tar with one top directory.
    Tar,
    /// A tar made with `tar -C bag -cf bag.tar .`, with the bag at its top.
    FlatTar,
    /// A tar with one top directory, compressed with gzip.
    TarGz,
    Zip,
}

pub(crate) const SHAPES: [Shape; 5] = [Shape::Directory, Shape::Tar, Shape::FlatTar, Shape::TarGz, Shape::Zip];

impl Bag {
    /// A bag with a payload of two files, `md5` and `sha256` manifests and tag manifests.
    pub(crate) fn sound(version: &str) -> Bag {
        let mut bag = Bag::default();
        bag.put("bagit.txt", &format!("BagIt-Version: {version}\nTag-File-Character-Encoding: UTF-8\n"));
        bag.put("bag-info.txt", "Contact-Name: Kari Nordmann\nPayload-Oxum: 8.2\n");
        bag.put("data/one.txt", "one");
        bag.put("data/sub/three.txt", "three");
        bag.seal();
        bag
    }

    pub(crate) fn put(&mut self, path: &str, text: &str) {
        self.0.insert(path.to_owned(), text.as_bytes().to_vec());
    }

    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.0[path].clone()).expect("UTF-8")
    }

    /// Replaces a text in a file, which must hold it.
    pub(crate) fn replace(&mut self, path: &str, from: &str, to: &str) {
        let text = self.text(path);
        assert!(text.contains(from), "{path} has no {from:?}");
        self.put(path, &text.replace(from, to));
    }

    /// Writes the manifests anew for what is there.
    pub(crate) fn seal(&mut self) {
        for (algorithm, name) in [(Algorithm::Md5, "md5"), (Algorithm::Sha256, "sha256")] {
            self.put_manifest(algorithm, &format!("manifest-{name}.txt"), |path| path.starts_with("data/"));
        }
        self.seal_tags();
    }

    /// Writes the tag manifests anew for the tag files that are there.
    pub(crate) fn seal_tags(&mut self) {
        let is_tag = |path: &str| !path.starts_with("data/") && !path.starts_with("tagmanifest-");
        self.put_manifest(Algorithm::Md5, "tagmanifest-md5.txt", is_tag);
        self.put_manifest(Algorithm::Sha256, "tagmanifest-sha256.txt", is_tag);
    }

    fn put_manifest(&mut self, algorithm: Algorithm, name: &str, listed: impl Fn(&str) -> bool) {
        let mut text = String::new();
        for (path, bytes) in self.0.iter().filter(|(path, _)| listed(path)) {
            writeln!(text, "{}  {path}", digest(algorithm, bytes)).expect("a line");
        }
        self.put(name, &text);
    }

    /// Lays the bag out in a new directory, in that shape; gives its path.
    pub(crate) fn lay_out(&self, shape: Shape) -> (TempDir, PathBuf) {
        let work = tempfile::tempdir().expect("a directory");
        let path = match shape {
            Shape::Directory => {
                for (path, bytes) in &self.0 {
                    let path = work.path().join("bag").join(path);
                    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
                    std::fs::write(path, bytes).expect("a file");
                }
                work.path().join("bag")
            }
            Shape::Tar | Shape::FlatTar | Shape::TarGz => {
                let prefix = if shape == Shape::FlatTar { "./" } else { "bag/" };
                let mut entries = vec![TarEntry::directory(prefix)];
                entries.extend(self.0.iter().map(|(path, bytes)| TarEntry::file(&format!("{prefix}{path}"), bytes)));
                let path = work.path().join("bag.tar");
                let bytes = tar_of(&entries);
                std::fs::write(&path, if shape == Shape::TarGz { gzip(&bytes) } else { bytes }).expect("a tar");
                path
            }
            Shape::Zip => {
                let path = work.path().join("bag.zip");
                let mut writer = zip::ZipWriter::new(std::fs::File::create(&path).expect("a zip"));
                for (path, bytes) in &self.0 {
                    let options = zip::write::SimpleFileOptions::default();
                    writer.start_file(format!("bag/{path}"), options).expect("an entry");
                    writer.write_all(bytes).expect("its content");
                }
                writer.finish().expect("a zip");
                path
            }
        };
        (work, path)
    }

    pub(crate) fn validate(&self, shape: Shape) -> Result<Report, ReadError> {
        let (_work, path) = self.lay_out(shape);
        validate(&path, &Limits::default())
    }
}

/// An entry of a tar that is made by hand, since no tar program writes what must be refused.
pub(crate) struct TarEntry {
    pub(crate) path: String,
    pub(crate) kind: u8,
    pub(crate) link: String,
    pub(crate) bytes: Vec<u8>,
}

impl TarEntry {
    pub(crate) fn file(path: &str, bytes: &[u8]) -> TarEntry {
        TarEntry { path: path.to_owned(), kind: b'0', link: String::new(), bytes: bytes.to_vec() }
    }

    pub(crate) fn directory(path: &str) -> TarEntry {
        TarEntry { kind: b'5', ..TarEntry::file(path, b"") }
    }

    pub(crate) fn link(path: &str, kind: u8, target: &str) -> TarEntry {
        TarEntry { kind, link: target.to_owned(), ..TarEntry::file(path, b"") }
    }
}

pub(crate) fn tar_of(entries: &[TarEntry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        let name = &mut header.as_old_mut().name;
        name[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
        header.as_old_mut().linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header.set_entry_type(tar::EntryType::new(entry.kind));
        header.set_size(entry.bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&entry.bytes);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

/// The names of the findings, as `file: Problem`.
pub(crate) fn names(findings: &[dipper_archive::bagit::Finding]) -> Vec<String> {
    let name = |problem: String| problem.split([' ', '{']).next().unwrap_or_default().to_owned();
    findings.iter().map(|finding| format!("{}: {}", finding.file, name(format!("{:?}", finding.problem)))).collect()
}

/// What `bagit.py --validate` says of a directory.
pub(crate) fn peer_accepts(directory: &Path) -> (bool, String) {
    let output = Command::new(tool("bagit.py")).arg("--validate").arg(directory).output().expect("it runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}
