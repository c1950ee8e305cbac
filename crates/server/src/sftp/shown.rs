//! How files and directories are shown to clients. Owners and most permissions are ours to choose, so what is shown says
//! what may be done, and nothing about the machine.

use rustix::fs::{FileType, Stat};
use time::OffsetDateTime;

use super::places::Side;
use super::wire::{Attributes, Name};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// The attributes of something in an area.
pub(super) fn attributes(stat: &Stat, side: Side, writes: bool) -> Attributes {
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let permissions = match (is_directory, side == Side::Incoming && writes) {
        (true, true) => DIRECTORY | 0o750,
        (true, false) => DIRECTORY | 0o550,
        // That a file is unfinished is shown: whoever goes on with it may want to know.
        (false, true) => FILE | 0o600 | (stat.st_mode & 0o040),
        (false, false) => FILE | 0o440,
    };
    #[allow(clippy::useless_conversion, reason = "the types differ between platforms")]
    let seconds = |time: i64| u32::try_from(time.clamp(0, u32::MAX.into())).unwrap_or_default();
    Attributes {
        size: u64::try_from(stat.st_size).ok(),
        owner: Some((0, 0)),
        permissions: Some(permissions),
        times: Some((seconds(stat.st_atime), seconds(stat.st_mtime))),
    }
}

/// The attributes of a directory that is in no file system.
pub(super) fn drawn() -> Attributes {
    Attributes { size: Some(0), owner: Some((0, 0)), permissions: Some(DIRECTORY | 0o550), times: Some((0, 0)) }
}

/// An entry of a directory.
pub(super) fn entry(name: &str, attributes: Attributes) -> Name {
    let permissions = attributes.permissions.unwrap_or_default();
    let kind = if permissions & DIRECTORY != 0 { 'd' } else { '-' };
    let letters: String = (0..9)
        .rev()
        .zip("rwx".chars().cycle())
        .map(|(bit, letter)| if permissions >> bit & 1 == 1 { letter } else { '-' })
        .collect();
    let size = attributes.size.unwrap_or_default();
    let written = attributes.times.map_or(0, |(_, written)| written);
    let written = OffsetDateTime::from_unix_timestamp(written.into()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let month = written.month().to_string();
    let month = month.get(..3).unwrap_or(&month);
    let (day, year) = (written.day(), written.year());
    let long = format!("{kind}{letters}    1 dipper   dipper   {size:>12} {month} {day:>2}  {year} {name}");
    Name { name: name.to_owned(), long, attributes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_look_like_those_of_ls() {
        let attributes = Attributes {
            size: Some(1234),
            owner: None,
            permissions: Some(FILE | 0o640),
            times: Some((0, 1_460_000_000)),
        };
        assert_eq!(
            entry("a.tar", attributes).long,
            "-rw-r-----    1 dipper   dipper           1234 Apr  7  2016 a.tar"
        );
        assert!(entry("outgoing", drawn()).long.starts_with("dr-xr-x---    1 dipper "));
    }
}
