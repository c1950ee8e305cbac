//! The payload manifest of a bag that is computed (RFC 8493 section 2.1.3), made a block of lines at a time.

use std::fmt::Write as _;

use super::layout::Content;
use crate::digest::{Algorithm, Digest, Hasher};

/// Lines that are made together; their text is some 200 KiB.
const BLOCK_LINES: usize = 1024;

/// Where the blocks of the manifest lie; the text itself is made anew each time it is read.
#[derive(Debug)]
pub(super) struct Manifest {
    /// The offset of each block in the file, and the length of the file at the end.
    starts: Vec<u64>,
    digest: Digest,
}

impl Manifest {
    /// Measures and digests the manifest of `contents` in one pass.
    pub(super) fn new(algorithm: Algorithm, contents: &[Content]) -> Manifest {
        let mut hasher = Hasher::new(algorithm);
        let mut starts = vec![0];
        let mut len = 0;
        let mut text = String::new();
        for block in contents.chunks(BLOCK_LINES) {
            text.clear();
            write_lines(&mut text, block);
            hasher.update(text.as_bytes());
            len += text.len() as u64;
            starts.push(len);
        }
        Manifest { starts, digest: hasher.finish() }
    }

    pub(super) fn len(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default()
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// The block that holds the byte at `offset`, with its offset in the file.
    pub(super) fn block_at(&self, contents: &[Content], offset: u64) -> Option<(u64, Vec<u8>)> {
        let block = self.starts.partition_point(|start| *start <= offset).checked_sub(1)?;
        let lines = contents.chunks(BLOCK_LINES).nth(block)?;
        let mut text = String::new();
        write_lines(&mut text, lines);
        Some((*self.starts.get(block)?, text.into_bytes()))
    }
}

fn write_lines(text: &mut String, contents: &[Content]) {
    for content in contents {
        // Writing to a string does not fail.
        let _ = write!(text, "{}  data/", content.digest);
        write_path(text, &content.logical_path);
        text.push('\n');
    }
}

/// Writes a path as a manifest has it: CR, LF and % percent-encoded (RFC 8493 section 2.1.3), nothing else.
fn write_path(text: &mut String, path: &str) {
    let mut rest = path;
    while let Some(at) = rest.find(['\r', '\n', '%']) {
        let (plain, special) = rest.split_at(at);
        text.push_str(plain);
        let mut characters = special.chars();
        text.push_str(match characters.next() {
            Some('\r') => "%0D",
            Some('\n') => "%0A",
            _ => "%25",
        });
        rest = characters.as_str();
    }
    text.push_str(rest);
}

/// The name of an algorithm in the name of a manifest (RFC 8493 section 2.4), for those that bags use.
pub(super) fn bag_name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Md5 => Some("md5"),
        Algorithm::Sha1 => Some("sha1"),
        Algorithm::Sha256 => Some("sha256"),
        Algorithm::Sha512 => Some("sha512"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_ends_and_percent_signs_are_encoded() {
        let mut text = String::new();
        write_path(&mut text, "100% \r\n ærlig\tmed % på.txt");
        assert_eq!(text, "100%25 %0D%0A ærlig\tmed %25 på.txt");
    }

    #[test]
    fn the_blocks_are_the_file() {
        let contents = (0..3000)
            .map(|number| Content {
                logical_path: format!("file-{number:05}"),
                size: number,
                digest: Hasher::new(Algorithm::Sha256).finish(),
                algorithm: Algorithm::Sha256,
                location: String::new(),
            })
            .collect::<Vec<_>>();
        let manifest = Manifest::new(Algorithm::Sha256, &contents);
        let mut whole = String::new();
        write_lines(&mut whole, &contents);
        assert_eq!(manifest.len(), whole.len() as u64);
        let mut joined = Vec::new();
        while let Some((start, bytes)) = manifest.block_at(&contents, joined.len() as u64) {
            assert_eq!(start, joined.len() as u64);
            let (again, _) = manifest.block_at(&contents, start + bytes.len() as u64 - 1).expect("the same block");
            assert_eq!(again, start);
            joined.extend_from_slice(&bytes);
        }
        assert_eq!(joined, whole.into_bytes());
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&joined);
        assert_eq!(manifest.digest(), hasher.finish());
        assert!(Manifest::new(Algorithm::Sha256, &[]).block_at(&[], 0).is_none());
    }
}
