//! The layout of a package: which bytes lie where, decided from a list of files before any of them is read.

use std::collections::HashSet;

use super::manifest::{Manifest, bag_name};
use super::tar_header::{self, BLOCK_BYTES, Kind};
use crate::digest::{Algorithm, Digest, Hasher};

/// A file that a package holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its path in the package, parts joined by `/`.
    pub logical_path: String,
    /// Its length in bytes.
    pub size: u64,
    /// The digest that it must have.
    pub digest: Digest,
    /// The algorithm of that digest.
    pub algorithm: Algorithm,
    /// Where [`Storage`](crate::storage::Storage) keeps it.
    pub location: String,
}

/// What a package looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A tar that holds a BagIt 1.0 bag with the files as its payload.
    Bag {
        /// The labels and values of `bag-info.txt`, in this order; `Payload-Oxum` is added.
        info: Vec<(String, String)>,
    },
    /// A tar that holds the files as they are.
    Plain,
    /// The bytes of one file and nothing around them.
    Single,
}

/// One entry of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path in the tar; the logical path of a single file.
    pub path: String,
    /// Where its first content byte lies in the package.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u64,
}

/// Why no package can be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The name of the top directory is not one path part.
    #[error("{name:?} cannot be the top directory of a package: it must be one name without `/` or control characters")]
    Name {
        /// The name.
        name: String,
    },
    /// A logical path is absolute, or has an empty part, `.`, `..` or a NUL character.
    #[error("{logical_path:?} is not a relative path without empty parts, `.` and `..`")]
    Path {
        /// The path.
        logical_path: String,
    },
    /// Two files have the same logical path.
    #[error("two files have the logical path {logical_path:?}")]
    Duplicate {
        /// The path.
        logical_path: String,
    },
    /// A logical path is a file, and another one needs a directory there.
    #[error("{logical_path:?} is a file, and another file lies below it")]
    FileAndDirectory {
        /// The path.
        logical_path: String,
    },
    /// A digest has not the length of its algorithm.
    #[error("the digest of {logical_path:?} is not a {algorithm} value")]
    DigestLength {
        /// The path.
        logical_path: String,
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// The files of a bag have digests that a manifest cannot hold.
    #[error("a bag needs md5, sha1, sha256 or sha512 digests, all of one algorithm: {logical_path:?} has {algorithm}")]
    Algorithm {
        /// The first path that does not fit.
        logical_path: String,
        /// Its algorithm.
        algorithm: Algorithm,
    },
    /// A label or value cannot be written to `bag-info.txt`.
    #[error("bag-info cannot hold {label:?}: {problem}")]
    BagInfo {
        /// The label.
        label: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A package of one file was asked for, with another number of files.
    #[error("a package of this form holds one file, not {count}")]
    NotSingle {
        /// The number of files.
        count: usize,
    },
    /// The modification time is beyond what a tar header holds.
    #[error("the modification time {modified} does not fit a tar header")]
    Modified {
        /// The time in seconds since 1970.
        modified: u64,
    },
    /// The sizes add up to more than any file can hold.
    #[error("the sizes of the files add up to more than a package can hold")]
    TooLarge,
}

/// A package, laid out: a pure function of what [`Layout::new`] was given.
#[derive(Debug)]
pub struct Layout {
    /// What comes before a logical path in the tar; `None` for a single file, which has no headers at all.
    prefix: Option<String>,
    modified: u64,
    contents: Vec<Content>,
    /// What comes before the contents.
    front: Vec<Part>,
    manifest: Option<Manifest>,
    /// Where the header of each content begins, and where the last content ends.
    starts: Vec<u64>,
    len: u64,
}

/// A piece of a package that comes before the contents.
#[derive(Debug)]
struct Part {
    start: u64,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Bytes(Vec<u8>),
    Manifest,
}

/// A piece of a package, as it is read.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes that the layout makes itself.
    Made(Vec<u8>),
    /// The content with that index.
    Content(usize),
}

/// A piece with its place in the package.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) piece: Piece,
}

impl Layout {
    /// Lays out a package whose top directory is `name` (not used for a single file).
    ///
    /// `modified` is the time of every entry in seconds since 1970. The tag files of a bag come first, so that a
    /// reader of the stream knows every digest before the payload; the contents follow, sorted by logical path.
    pub fn new(name: &str, form: Form, mut contents: Vec<Content>, modified: u64) -> Result<Layout, LayoutError> {
        contents.sort_unstable_by(|one, other| one.logical_path.cmp(&other.logical_path));
        check_contents(&contents)?;
        if !tar_header::holds_time(modified) {
            return Err(LayoutError::Modified { modified });
        }
        let bad_name = matches!(name, "" | "." | "..") || name.contains('/') || name.contains(char::is_control);
        if bad_name && form != Form::Single {
            return Err(LayoutError::Name { name: name.to_owned() });
        }
        let mut layout =
            Layout { prefix: None, modified, contents, front: Vec::new(), manifest: None, starts: Vec::new(), len: 0 };
        match form {
            Form::Bag { info } => layout.place_bag(name, &info)?,
            Form::Plain => {
                let directory = format!("{name}/");
                if layout.contents.is_empty() {
                    layout.place_directory(&directory);
                }
                layout.prefix = Some(directory);
            }
            Form::Single if layout.contents.len() == 1 => {}
            Form::Single => return Err(LayoutError::NotSingle { count: layout.contents.len() }),
        }
        layout.place_contents()?;
        Ok(layout)
    }

    /// The length of the package in bytes.
    #[allow(clippy::len_without_is_empty, reason = "only the package of one empty file has no bytes")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The files in it, sorted by logical path; without the tag files of a bag.
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// The files in it in the order of the package, with their offsets; without the tag files of a bag.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.contents.iter().enumerate().map(|(index, content)| Entry {
            path: self.path(content),
            offset: self.content_start(index),
            size: content.size,
        })
    }

    fn path(&self, content: &Content) -> String {
        format!("{}{}", self.prefix.as_deref().unwrap_or_default(), content.logical_path)
    }

    fn place_bag(&mut self, name: &str, info: &[(String, String)]) -> Result<(), LayoutError> {
        let algorithm = self.contents.first().map_or(Algorithm::Sha512, |content| content.algorithm);
        let unfit = self.contents.iter().find(|content| content.algorithm != algorithm);
        if let Some(content) = unfit.or_else(|| self.contents.first().filter(|_| bag_name(algorithm).is_none())) {
            let logical_path = content.logical_path.clone();
            return Err(LayoutError::Algorithm { logical_path, algorithm: content.algorithm });
        }
        let algorithm_name = bag_name(algorithm).unwrap_or_default();
        let declaration = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n".to_vec();
        let bag_info = bag_info(info, &self.contents)?;
        let manifest = Manifest::new(algorithm, &self.contents);
        let manifest_name = format!("manifest-{algorithm_name}.txt");

        let mut lines = String::new();
        for (bytes, tag_file) in [(&bag_info, "bag-info.txt"), (&declaration, "bagit.txt")] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(bytes);
            lines.push_str(&format!("{}  {tag_file}\n", hasher.finish()));
        }
        lines.push_str(&format!("{}  {manifest_name}\n", manifest.digest()));

        self.place_file(&format!("{name}/bagit.txt"), declaration);
        self.place_file(&format!("{name}/bag-info.txt"), bag_info);
        let manifest_len = manifest.len();
        self.place_header(&format!("{name}/{manifest_name}"), manifest_len, Kind::File);
        self.place(Body::Manifest, manifest_len);
        self.place_bytes(vec![0; tar_header::padding(manifest_len) as usize]);
        self.manifest = Some(manifest);
        self.place_file(&format!("{name}/tagmanifest-{algorithm_name}.txt"), lines.into_bytes());
        let directory = format!("{name}/data/");
        if self.contents.is_empty() {
            self.place_directory(&directory);
        }
        self.prefix = Some(directory);
        Ok(())
    }

    fn place_file(&mut self, path: &str, bytes: Vec<u8>) {
        let padding = tar_header::padding(bytes.len() as u64);
        self.place_header(path, bytes.len() as u64, Kind::File);
        self.place_bytes(bytes);
        self.place_bytes(vec![0; padding as usize]);
    }

    fn place_directory(&mut self, path: &str) {
        self.place_header(path, 0, Kind::Directory);
    }

    fn place_header(&mut self, path: &str, size: u64, kind: Kind) {
        let mut header = Vec::new();
        tar_header::append(&mut header, path, size, kind, self.modified);
        self.place_bytes(header);
    }

    /// Adds bytes to the front, to the last part if that is bytes too.
    fn place_bytes(&mut self, bytes: Vec<u8>) {
        if let Some(Part { body: Body::Bytes(last), .. }) = self.front.last_mut() {
            self.len += bytes.len() as u64;
            last.extend_from_slice(&bytes);
        } else {
            let len = bytes.len() as u64;
            self.place(Body::Bytes(bytes), len);
        }
    }

    fn place(&mut self, body: Body, len: u64) {
        if len > 0 {
            self.front.push(Part { start: self.len, body });
            self.len += len;
        }
    }

    /// Decides where each content lies, and how long the package is.
    fn place_contents(&mut self) -> Result<(), LayoutError> {
        let mut starts = Vec::with_capacity(self.contents.len() + 1);
        let mut len = self.len;
        for content in &self.contents {
            starts.push(len);
            let around = self.header_len(content) + BLOCK_BYTES;
            if content.size.checked_add(around).and_then(|more| more.checked_add(len)).is_none_or(|end| end >= 1 << 63)
            {
                return Err(LayoutError::TooLarge);
            }
            len += self.header_len(content) + content.size + self.padding(content);
        }
        starts.push(len);
        self.starts = starts;
        // Two blocks of zeros end a tar.
        self.len = if self.prefix.is_some() { len + 2 * BLOCK_BYTES } else { len };
        Ok(())
    }

    fn header_len(&self, content: &Content) -> u64 {
        match &self.prefix {
            Some(_) => tar_header::len(&self.path(content), content.size),
            None => 0,
        }
    }

    fn padding(&self, content: &Content) -> u64 {
        if self.prefix.is_some() { tar_header::padding(content.size) } else { 0 }
    }

    /// Where the contents begin, which is where what the layout makes by itself ends.
    pub(super) fn front_len(&self) -> u64 {
        self.start(0)
    }

    /// Where the header of a content begins; for the number of contents, where the last one ends.
    pub(super) fn start(&self, index: usize) -> u64 {
        self.starts.get(index).copied().unwrap_or(self.len)
    }

    fn content_start(&self, index: usize) -> u64 {
        self.contents.get(index).map_or(self.len, |content| self.start(index) + self.header_len(content))
    }

    /// Appends the header of a content.
    pub(super) fn append_header(&self, content: &Content, out: &mut Vec<u8>) {
        if self.prefix.is_some() {
            tar_header::append(out, &self.path(content), content.size, Kind::File, self.modified);
        }
    }

    /// Appends the zeros that come after a content.
    pub(super) fn append_padding(&self, content: &Content, out: &mut Vec<u8>) {
        out.resize(out.len() + self.padding(content) as usize, 0);
    }

    /// The piece that holds the byte at `offset`, which must be inside the package.
    pub(super) fn locate(&self, offset: u64) -> Option<Located> {
        if offset >= self.len {
            return None;
        }
        if offset < self.front_len() {
            return self.locate_front(offset);
        }
        let end = self.start(self.contents.len());
        if offset >= end {
            return Some(made(end, vec![0; (self.len - end) as usize]));
        }
        let index = self.starts.partition_point(|start| *start <= offset).checked_sub(1)?;
        let content = self.contents.get(index)?;
        let (start, content_start) = (self.start(index), self.content_start(index));
        let content_end = content_start + content.size;
        if offset < content_start {
            let mut header = Vec::new();
            self.append_header(content, &mut header);
            Some(made(start, header))
        } else if offset < content_end {
            Some(Located { start: content_start, end: content_end, piece: Piece::Content(index) })
        } else {
            let mut padding = Vec::new();
            self.append_padding(content, &mut padding);
            Some(made(content_end, padding))
        }
    }

    fn locate_front(&self, offset: u64) -> Option<Located> {
        let part = self.front.partition_point(|part| part.start <= offset).checked_sub(1)?;
        let part = self.front.get(part)?;
        match &part.body {
            Body::Bytes(bytes) => Some(made(part.start, bytes.clone())),
            Body::Manifest => {
                let (start, bytes) = self.manifest.as_ref()?.block_at(&self.contents, offset - part.start)?;
                Some(made(part.start + start, bytes))
            }
        }
    }
}

fn made(start: u64, bytes: Vec<u8>) -> Located {
    Located { start, end: start + bytes.len() as u64, piece: Piece::Made(bytes) }
}

/// Checks the contents, which are sorted by logical path.
fn check_contents(contents: &[Content]) -> Result<(), LayoutError> {
    for content in contents {
        let logical_path = &content.logical_path;
        if logical_path.contains('\0') || logical_path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(LayoutError::Path { logical_path: logical_path.clone() });
        }
        if content.digest.as_bytes().len() != content.algorithm.len_bytes() {
            let (logical_path, algorithm) = (logical_path.clone(), content.algorithm);
            return Err(LayoutError::DigestLength { logical_path, algorithm });
        }
    }
    let twice = contents.windows(2).find_map(|pair| match pair {
        [one, other] if one.logical_path == other.logical_path => Some(one),
        _ => None,
    });
    if let Some(content) = twice {
        return Err(LayoutError::Duplicate { logical_path: content.logical_path.clone() });
    }
    let mut directories = HashSet::new();
    for content in contents {
        let mut path = content.logical_path.as_str();
        while let Some((directory, _)) = path.rsplit_once('/') {
            if !directories.insert(directory) {
                break;
            }
            path = directory;
        }
    }
    match contents.iter().find(|content| directories.contains(content.logical_path.as_str())) {
        Some(content) => Err(LayoutError::FileAndDirectory { logical_path: content.logical_path.clone() }),
        None => Ok(()),
    }
}

/// The text of `bag-info.txt` (RFC 8493 section 2.2.2).
fn bag_info(info: &[(String, String)], contents: &[Content]) -> Result<Vec<u8>, LayoutError> {
    let mut text = String::new();
    for (label, value) in info {
        let refuse = |problem| Err(LayoutError::BagInfo { label: label.clone(), problem });
        if label.is_empty() || label.contains(':') || label.trim() != label || label.contains(char::is_control) {
            return refuse("a label is a text without colons, control characters or white space around it");
        }
        if value.contains(char::is_control) || value.trim() != value {
            return refuse("a value is one line without control characters or white space around it");
        }
        if label.eq_ignore_ascii_case("Payload-Oxum") {
            return refuse("it is added by itself");
        }
        text.push_str(&format!("{label}: {value}\n"));
    }
    let octets = contents.iter().try_fold(0_u64, |sum, content| sum.checked_add(content.size));
    let octets = octets.ok_or(LayoutError::TooLarge)?;
    text.push_str(&format!("Payload-Oxum: {octets}.{}\n", contents.len()));
    Ok(text.into_bytes())
}
