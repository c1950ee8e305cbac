//! What the tag files of a bag say, compared with each other and with the files that are there.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::path::{folded, is_system_file};
use super::report::{Problem, Report};
use super::source::Listing;
use super::sums::Sum;
use super::tag_file::{self, Fetch, Version};
use crate::digest::Digest;

/// What a bag promises.
#[derive(Default)]
pub(super) struct Structure {
    /// `bag-info.txt`.
    pub(super) info: Vec<(String, String)>,
    /// The checksums that each listed file must have.
    pub(super) expected: HashMap<String, Vec<(Sum, Digest)>>,
}

/// A manifest whose algorithm is known.
struct Manifest {
    name: String,
    sum: Sum,
    listed: BTreeMap<String, Digest>,
}

/// Reads and compares everything but the checksums.
pub(super) fn examine(listing: &Listing, report: &mut Report) -> Structure {
    let mut structure = Structure::default();
    let declaration = match listing.tag_files.get("bagit.txt") {
        Some(bytes) => tag_file::declaration(bytes, report),
        None => {
            report.error("bagit.txt", Problem::Required);
            tag_file::Declaration { version: None, encoding: encoding_rs::UTF_8 }
        }
    };
    let version = declaration.version;
    let mut texts = BTreeMap::new();
    for (name, bytes) in listing.tag_files.iter().filter(|(name, _)| *name != "bagit.txt") {
        if let Some(text) = tag_file::text(name, bytes, declaration.encoding, report) {
            texts.insert(name.as_str(), text);
        }
    }
    let payload = manifests("manifest-", &texts, version, report);
    let tags = manifests("tagmanifest-", &texts, version, report);
    let fetches = texts.get("fetch.txt").map(|text| tag_file::fetch("fetch.txt", text, version, report));
    let fetches = fetches.unwrap_or_default();
    if let Some(text) = texts.get("bag-info.txt") {
        structure.info = tag_file::bag_info("bag-info.txt", text, version, report);
    }
    if !listing.has_data {
        report.error("data/", Problem::Required);
    }
    if payload.is_empty() {
        report.error("manifest-sha512.txt", Problem::NoManifest);
    }
    check_scope(&tags, version, report);
    let system_files_gone = check_presence(listing, &payload, &tags, &fetches, report);
    if !payload.is_empty() {
        check_listed(listing, &payload, version, report);
    }
    check_names(listing, report);
    check_oxum(listing, &structure.info, system_files_gone, version, report);
    for manifest in payload.into_iter().chain(tags) {
        for (path, digest) in manifest.listed {
            structure.expected.entry(path).or_default().push((manifest.sum, digest));
        }
    }
    structure
}

/// The manifests of one kind.
fn manifests(
    kind: &str,
    texts: &BTreeMap<&str, String>,
    version: Option<Version>,
    report: &mut Report,
) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    for (name, text) in texts {
        let Some(algorithm) = name.strip_prefix(kind).and_then(|name| name.strip_suffix(".txt")) else { continue };
        let Some(sum) = Sum::from_name(&algorithm.to_ascii_lowercase()) else {
            report.warning(name, Problem::UnknownAlgorithm);
            continue;
        };
        let mut listed = BTreeMap::new();
        for tag_file::Listed { line, path, digest } in tag_file::manifest(name, text, sum, version, report) {
            if kind == "manifest-" && !path.starts_with("data/") {
                report.error(name, Problem::Scope { line, path });
                continue;
            }
            match listed.get(&path) {
                None => {
                    listed.insert(path, digest);
                }
                Some(before) if *before == digest => {
                    report.error_from_1_0(version, name, Problem::ListedTwice { line, path });
                }
                Some(_) => report.error(name, Problem::ListedDifferently { line, path }),
            }
        }
        manifests.push(Manifest { name: (*name).to_owned(), sum, listed });
    }
    manifests
}

/// Tag manifests list neither payload nor tag manifests (RFC 8493 section 2.2.1).
fn check_scope(tags: &[Manifest], version: Option<Version>, report: &mut Report) {
    for manifest in tags {
        for path in manifest.listed.keys() {
            if path.starts_with("data/") || path.starts_with("tagmanifest-") {
                let problem = Problem::TagManifestScope { path: path.clone() };
                report.error_from_1_0(version, &manifest.name, problem);
            }
        }
    }
}

/// Whether everything that is listed is there. Gives how many files of the payload are not, but were only made by an
/// operating system: their absence takes nothing away, so it makes no bag invalid.
fn check_presence(
    listing: &Listing,
    payload: &[Manifest],
    tags: &[Manifest],
    fetches: &[Fetch],
    report: &mut Report,
) -> u64 {
    let mut system_files_gone = 0;
    let present = listing.files.iter().map(|file| (file.path.as_str(), file.size)).collect::<HashMap<_, _>>();
    let to_fetch = fetches.iter().map(|fetch| (fetch.path.as_str(), fetch.url.as_str())).collect::<HashMap<_, _>>();
    let mut reported = HashSet::new();
    let mut spellings = None;
    for manifest in payload.iter().chain(tags) {
        for (path, digest) in &manifest.listed {
            if present.contains_key(path.as_str()) || !reported.insert(path.clone()) {
                continue;
            }
            let spellings = spellings.get_or_insert_with(|| by_folded_name(listing));
            let other = spellings.get(&folded(path)).filter(|other| manifest.listed.get(**other) == Some(digest));
            if let Some(url) = to_fetch.get(path.as_str()) {
                report.error(path, Problem::NotFetched { url: (*url).to_owned() });
            } else if let Some(other) = other {
                report.warning(path, Problem::OtherSpelling { other: (*other).to_owned() });
            } else if is_system_file(path) {
                system_files_gone += u64::from(path.starts_with("data/"));
                report.warning(path, Problem::SystemFileMissing);
            } else {
                report.error(path, Problem::Missing);
            }
        }
    }
    for fetch in fetches {
        if !payload.iter().any(|manifest| manifest.listed.contains_key(&fetch.path)) {
            report.error("fetch.txt", Problem::FetchUnlisted { path: fetch.path.clone() });
        }
        let sizes = fetch.len.zip(present.get(fetch.path.as_str()).copied());
        if let Some((expected, found)) = sizes.filter(|(expected, found)| expected != found) {
            report.warning(&fetch.path, Problem::Size { expected, found });
        }
    }
    system_files_gone
}

fn by_folded_name(listing: &Listing) -> HashMap<String, &str> {
    listing.files.iter().map(|file| (folded(&file.path), file.path.as_str())).collect()
}

/// Whether everything in the payload is listed: in every manifest from 1.0 on, in any before.
fn check_listed(listing: &Listing, payload: &[Manifest], version: Option<Version>, report: &mut Report) {
    let in_any = version.is_some_and(|version| version < (1, 0));
    for file in listing.files.iter().filter(|file| file.path.starts_with("data/")) {
        let mut missing_in = payload.iter().filter(|manifest| !manifest.listed.contains_key(&file.path));
        let not_listed =
            if in_any { missing_in.clone().count() == payload.len() } else { missing_in.clone().count() > 0 };
        if not_listed {
            let manifest = missing_in.next().map(|manifest| manifest.name.clone()).unwrap_or_default();
            report.error(&file.path, Problem::NotListed { manifest });
        }
    }
}

/// Names that do not survive every file system.
fn check_names(listing: &Listing, report: &mut Report) {
    let mut names: HashMap<String, &str> = HashMap::with_capacity(listing.files.len());
    for file in &listing.files {
        if let Some(other) = names.insert(folded(&file.path), &file.path) {
            report.warning(&file.path, Problem::Collision { other: other.to_owned() });
        }
        if is_system_file(&file.path) {
            report.warning(&file.path, Problem::SystemFile);
        }
    }
}

/// Payload-Oxum: the octets and the number of files of the payload (RFC 8493 section 2.2.2).
fn check_oxum(
    listing: &Listing,
    info: &[(String, String)],
    system_files_gone: u64,
    version: Option<Version>,
    report: &mut Report,
) {
    const FILE: &str = "bag-info.txt";
    let mut given = info.iter().filter(|(label, _)| label.eq_ignore_ascii_case("Payload-Oxum")).map(|(_, value)| value);
    let Some(value) = given.next() else { return };
    if given.next().is_some() {
        report.error_from_1_0(version, FILE, Problem::OxumTwice);
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let parts = value.split_once('.').and_then(|(octets, count)| Some((number(octets)?, number(count)?)));
    let Some(expected) = parts else {
        report.error_from_1_0(version, FILE, Problem::OxumForm { value: value.clone() });
        return;
    };
    let payload = listing.files.iter().filter(|file| file.path.starts_with("data/"));
    let found = payload.fold((0_u64, 0_u64), |(octets, count), file| (octets.saturating_add(file.size), count + 1));
    if expected != found {
        let explained = expected.1 == found.1 + system_files_gone && expected.0 >= found.0;
        let problem = Problem::Oxum { expected: value.clone(), found: format!("{}.{}", found.0, found.1) };
        if explained { report.warning(FILE, problem) } else { report.error(FILE, problem) }
    }
}
