//! Headers of tar entries: POSIX.1-2001 ustar where path and size fit, pax extended headers where they do not.

/// The unit in which a tar is written.
pub(super) const BLOCK_BYTES: u64 = 512;

/// Sizes from here on do not fit the eleven octal digits of a ustar header.
const SIZE_LIMIT: u64 = 1 << 33;

const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A directory; its path ends in `/`.
    Directory,
}

/// Whether a modification time fits the header.
pub(super) fn holds_time(modified: u64) -> bool {
    modified < SIZE_LIMIT
}

/// The zero bytes that fill the last block of a content of `size` bytes.
pub(super) fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_BYTES) - size
}

/// The length of what [`append`] writes.
pub(super) fn len(path: &str, size: u64) -> u64 {
    match extended_len(path, size) {
        0 => BLOCK_BYTES,
        records => BLOCK_BYTES * 2 + records + padding(records),
    }
}

/// Appends the header block of an entry, after a pax extended header if it needs one.
pub(super) fn append(out: &mut Vec<u8>, path: &str, size: u64, kind: Kind, modified: u64) {
    let records = extended(path, size);
    if !records.is_empty() {
        let name = fallback_name("PaxHeaders/", path);
        append_block(out, ("", &name), records.len() as u64, b'x', modified);
        out.extend_from_slice(records.as_bytes());
        out.resize(out.len() + padding(records.len() as u64) as usize, 0);
    }
    let flag = match kind {
        Kind::File => b'0',
        Kind::Directory => b'5',
    };
    // A reader takes path and size from the extended header when it has them, so these are for old readers only.
    let size_field = if size < SIZE_LIMIT { size } else { 0 };
    match split(path) {
        Some(parts) => append_block(out, parts, size_field, flag, modified),
        None => append_block(out, ("", &fallback_name("", path)), size_field, flag, modified),
    }
}

fn append_block(out: &mut Vec<u8>, (prefix, name): (&str, &str), size: u64, flag: u8, modified: u64) {
    let start = out.len();
    let mode = if flag == b'5' { 0o755 } else { 0o644 };
    text(out, name, NAME_BYTES);
    octal(out, mode, 8);
    octal(out, 0, 8);
    octal(out, 0, 8);
    octal(out, size, 12);
    octal(out, modified, 12);
    // The checksum counts its own field as eight spaces.
    let checksum_at = out.len();
    out.extend_from_slice(b"        ");
    out.push(flag);
    text(out, "", 100);
    out.extend_from_slice(b"ustar\x0000");
    text(out, "", 64);
    octal(out, 0, 8);
    octal(out, 0, 8);
    text(out, prefix, PREFIX_BYTES);
    text(out, "", 12);
    let sum: u32 = out.iter().skip(start).map(|byte| u32::from(*byte)).sum();
    let digits = format!("{sum:06o}\0 ");
    for (to, from) in out.iter_mut().skip(checksum_at).zip(digits.bytes()) {
        *to = from;
    }
}

fn text(out: &mut Vec<u8>, value: &str, width: usize) {
    let end = out.len() + width;
    out.extend(value.bytes().take(width));
    out.resize(end, 0);
}

/// A number in octal digits that fill the field but for the NUL at its end.
fn octal(out: &mut Vec<u8>, value: u64, width: usize) {
    let digits = width - 1;
    out.extend_from_slice(format!("{value:0digits$o}\0").as_bytes());
}

/// The prefix and name fields that hold `path` unchanged, if any do.
fn split(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME_BYTES {
        return Some(("", path));
    }
    path.match_indices('/')
        .map(|(at, _)| (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()))
        .find(|(prefix, name)| (1..=PREFIX_BYTES).contains(&prefix.len()) && (1..=NAME_BYTES).contains(&name.len()))
}

/// A short ASCII name for readers that do not know pax headers.
fn fallback_name(prefix: &str, path: &str) -> String {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let safe = name.chars().map(|character| if character.is_ascii_graphic() { character } else { '_' });
    prefix.chars().chain(safe).take(NAME_BYTES).collect()
}

/// The records of the pax extended header; empty when a ustar header holds everything.
fn extended(path: &str, size: u64) -> String {
    let mut records = String::new();
    if split(path).is_none() {
        records.push_str(&record("path", path));
    }
    if size >= SIZE_LIMIT {
        records.push_str(&record("size", &size.to_string()));
    }
    records
}

fn extended_len(path: &str, size: u64) -> u64 {
    let mut len = 0;
    if split(path).is_none() {
        len += record_len("path", path.len());
    }
    if size >= SIZE_LIMIT {
        len += record_len("size", size.to_string().len());
    }
    len as u64
}

/// `length keyword=value\n`, where the length counts its own digits.
fn record(keyword: &str, value: &str) -> String {
    format!("{} {keyword}={value}\n", record_len(keyword, value.len()))
}

fn record_len(keyword: &str, value_len: usize) -> usize {
    let rest = keyword.len() + value_len + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for value_len in 0..1200 {
            let record = record("path", &"x".repeat(value_len));
            let (len, _) = record.split_once(' ').expect("a space");
            assert_eq!(len.parse(), Ok(record.len()), "{value_len}");
        }
    }

    #[test]
    fn the_length_is_known_without_writing() {
        let directory = "d".repeat(60);
        let paths = [
            "a".to_owned(),
            "a".repeat(100),
            "a".repeat(101),
            format!("{directory}/{}", "a".repeat(100)),
            format!("{directory}/{}", "a".repeat(101)),
            format!("{directory}/{directory}/{directory}/{}", "a".repeat(80)),
            "blå/bær".to_owned(),
            "ø".repeat(3000),
        ];
        for path in paths {
            for size in [0, 1, SIZE_LIMIT - 1, SIZE_LIMIT, u64::MAX / 2] {
                let mut header = Vec::new();
                append(&mut header, &path, size, Kind::File, 0);
                assert_eq!(header.len() as u64, len(&path, size), "{path} {size}");
                assert_eq!(header.len() % 512, 0);
            }
        }
    }

    #[test]
    fn sizes_beyond_eight_gibibytes_are_read_back() {
        for size in [SIZE_LIMIT - 1, SIZE_LIMIT, 1 << 45] {
            let mut bytes = Vec::new();
            append(&mut bytes, "package/data/film.mxf", size, Kind::File, 1_700_000_000);
            let mut archive = tar::Archive::new(bytes.as_slice());
            let entry = archive.entries().expect("a tar").next().expect("an entry").expect("a header");
            assert_eq!(entry.size(), size);
            assert_eq!(entry.path_bytes().as_ref(), b"package/data/film.mxf");
            assert_eq!(entry.header().mtime().ok(), Some(1_700_000_000));
        }
    }
}
