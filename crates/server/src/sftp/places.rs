//! Where a path of a client leads: the tree that a client sees, which is in no file system.
//!
//! A client of one contract sees `/outgoing` and `/incoming`; a client of several sees a directory of each contract, with
//! these two in it. `..` is taken as text, and leads no further up than to the root of this tree.

use std::fmt;

use dipper_core::{Caller, Role};

use super::files::Root;

/// More than any path of a package, and less than the file system would take.
const MAX_DEPTH: usize = 64;
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;

/// One of the two directories of a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Outgoing,
    Incoming,
}

impl Side {
    pub(super) const BOTH: [Side; 2] = [Side::Outgoing, Side::Incoming];

    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Outgoing => "outgoing",
            Side::Incoming => "incoming",
        }
    }
}

/// What a client has of one contract.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) contract_id: String,
    pub(super) outgoing: Root,
    pub(super) incoming: Root,
    /// Whether it may write to `incoming`.
    pub(super) writes: bool,
}

impl Share {
    pub(super) fn root(&self, side: Side) -> &Root {
        match side {
            Side::Outgoing => &self.outgoing,
            Side::Incoming => &self.incoming,
        }
    }
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The root of the tree.
    Top,
    /// The directory of a contract, by its number among those of the client.
    Contract(usize),
    /// A directory or file of a contract.
    Inside { contract: usize, side: Side, names: Vec<String> },
    /// Nothing is there, and nothing can be made there.
    Nowhere,
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadPath {
    TooLong,
    NotText,
    Control,
    Hidden,
}

impl fmt::Display for BadPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            BadPath::TooLong => "The path is too long.",
            BadPath::NotText => "File names must be in UTF-8.",
            BadPath::Control => "File names must not have control characters.",
            BadPath::Hidden => "There is nothing under names that begin with a dot.",
        })
    }
}

/// The contracts whose packages a client fetches, sorted, and whether it may also hand in packages for them.
pub(super) fn contracts_of(caller: &Caller) -> Vec<(String, bool)> {
    let contracts = caller.grants.contracts(Role::Read).into_iter();
    contracts.map(|id| (id.to_owned(), caller.grants.has(id, Role::Write))).collect()
}

/// The names of a path from the root of the tree.
pub(super) fn names_of(path: &[u8]) -> Result<Vec<String>, BadPath> {
    if path.len() > MAX_PATH {
        return Err(BadPath::TooLong);
    }
    let path = std::str::from_utf8(path).map_err(|_| BadPath::NotText)?;
    if path.chars().any(char::is_control) {
        return Err(BadPath::Control);
    }
    let mut names: Vec<String> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name if name.len() > MAX_NAME || names.len() >= MAX_DEPTH => return Err(BadPath::TooLong),
            name => names.push(name.to_owned()),
        }
    }
    Ok(names)
}

/// Whether an entry of a directory is shown: what could not be asked for is not.
pub(super) fn is_shown(side: Side, name: &[u8]) -> bool {
    let text = std::str::from_utf8(name).is_ok_and(|name| !name.chars().any(char::is_control));
    text && !(side == Side::Outgoing && name.starts_with(b"."))
}

/// Where names lead for a client with these contracts.
pub(super) fn find(contract_ids: &[&str], names: &[String]) -> Result<Place, BadPath> {
    let (contract, inside) = match (contract_ids, names) {
        ([_], inside) => (0, inside),
        (_, []) => return Ok(Place::Top),
        (ids, [first, inside @ ..]) => match ids.iter().position(|id| id == first) {
            Some(contract) => (contract, inside),
            None => return Ok(Place::Nowhere),
        },
    };
    let Some((first, names)) = inside.split_first() else {
        return Ok(if contract_ids.len() == 1 { Place::Top } else { Place::Contract(contract) });
    };
    let Some(side) = Side::BOTH.into_iter().find(|side| side.name() == first) else { return Ok(Place::Nowhere) };
    if side == Side::Outgoing && names.iter().any(|name| name.starts_with('.')) {
        return Err(BadPath::Hidden);
    }
    Ok(Place::Inside { contract, side, names: names.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(contract: usize, side: Side, names: &[&str]) -> Place {
        Place::Inside { contract, side, names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn look(ids: &[&str], path: &str) -> Result<Place, BadPath> {
        find(ids, &names_of(path.as_bytes())?)
    }

    #[test]
    fn paths_lead_where_a_client_of_one_contract_expects() {
        let one = ["2d17"];
        for (path, place) in [
            ("", Place::Top),
            ("/", Place::Top),
            (".", Place::Top),
            ("../..", Place::Top),
            ("/outgoing", inside(0, Side::Outgoing, &[])),
            ("outgoing/a.tar", inside(0, Side::Outgoing, &["a.tar"])),
            ("/incoming/../outgoing//./a.tar", inside(0, Side::Outgoing, &["a.tar"])),
            ("/incoming/../../../outgoing/a", inside(0, Side::Outgoing, &["a"])),
            ("incoming/.part/x", inside(0, Side::Incoming, &[".part", "x"])),
            ("/../etc/passwd", Place::Nowhere),
            ("/2d17/outgoing", Place::Nowhere),
            ("/Outgoing", Place::Nowhere),
        ] {
            assert_eq!(look(&one, path), Ok(place), "{path}");
        }
    }

    #[test]
    fn paths_lead_through_a_contract_where_there_are_several() {
        let two = ["2d17", "4711"];
        for (path, place) in [
            ("/", Place::Top),
            ("/4711/", Place::Contract(1)),
            ("/4711/incoming/a", inside(1, Side::Incoming, &["a"])),
            ("/4711/../2d17/outgoing", inside(0, Side::Outgoing, &[])),
            ("/outgoing", Place::Nowhere),
            ("/7bd2/outgoing", Place::Nowhere),
        ] {
            assert_eq!(look(&two, path), Ok(place), "{path}");
        }
    }

    #[test]
    fn odd_paths_are_refused_by_name() {
        let long = "a/".repeat(65);
        for (path, refused) in [
            ("/outgoing/.staging", BadPath::Hidden),
            ("/outgoing/.a/b", BadPath::Hidden),
            ("/incoming/a\nb", BadPath::Control),
            ("/incoming/a\0b", BadPath::Control),
            (long.as_str(), BadPath::TooLong),
        ] {
            assert_eq!(look(&["2d17"], path), Err(refused), "{path:?}");
        }
        assert_eq!(names_of(b"/incoming/\xff"), Err(BadPath::NotText));
        assert_eq!(names_of(&[b'a'; 256]), Err(BadPath::TooLong));
        assert!(is_shown(Side::Incoming, b".part") && !is_shown(Side::Outgoing, b".part"));
        assert!(!is_shown(Side::Incoming, b"\xff") && !is_shown(Side::Incoming, b"a\tb"));
    }
}
