//! What lies in a package, folder by folder: the files of a version or of the surface, with their sizes.
//!
//! A listing is made once from the inventory and what the storage says of sizes, and kept in a small cache: people who
//! look into folders ask for the same one again and again. It holds no paths of its own, so that a hundred thousand files
//! cost a few megabytes besides the inventory.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use dipper_archive::digest::{Algorithm, Digest};
use dipper_archive::ocfl::{self, Inventory, StorageRoot, VersionFile};
use dipper_archive::storage::at_once;

use crate::assembly::surface;
use crate::db::orders::View;
use crate::db::packages::Package;
use crate::excerpt::Excerpt;
use crate::selection;
use crate::time::Timestamp;

/// How many files the listings in the cache may have together.
const CACHED_FILES: usize = 300_000;
/// How many listings the cache holds at the most.
const CACHED_LISTINGS: usize = 64;
/// Files whose sizes one thread asks for at a time.
const SIZES_AT_A_TIME: usize = 1024;
/// Checksums that are told of a file, where they are on record.
const CHECKSUMS: [Algorithm; 4] = [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512];

/// Where a folder's page begins: behind this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderCursor {
    /// The folder of that name, so that more folders and all files follow.
    Folder(String),
    /// The file of that name.
    File(String),
}

/// One page of a folder. Folders come before files, both sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderPage {
    /// The folders in it.
    pub folders: Vec<FolderEntry>,
    /// The files in it.
    pub files: Vec<FileEntry>,
    /// How many files lie in the whole folder, at whatever depth.
    pub file_count: u64,
    /// Their sizes, added up.
    pub size_bytes: u64,
    /// Where the next page begins, if there is more.
    pub next: Option<FolderCursor>,
}

/// A folder in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderEntry {
    /// Its name.
    pub name: String,
    /// How many files lie in it, at whatever depth.
    pub file_count: u64,
    /// Their sizes, added up.
    pub size_bytes: u64,
}

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// Its path in the package.
    pub path: String,
    /// Its length in bytes; nothing is known of a file that the storage does not have.
    pub size_bytes: Option<u64>,
    /// The checksums that are on record.
    pub checksums: Vec<(Algorithm, Digest)>,
}

/// What lies in a version, or in the surface up to it.
#[derive(Debug)]
pub struct Listing {
    inventory: Arc<Inventory>,
    /// Sorted by path.
    places: Vec<Place>,
    /// How many bytes all files up to each of them have.
    ends: Vec<u64>,
}

/// A file of a listing: a part of the inventory.
#[derive(Clone, Copy, Debug)]
struct Place {
    version: u32,
    /// Among the files of the version.
    index: u32,
    /// How much of its path there is not part of its path here.
    skipped: u32,
    /// The storage does not have it.
    is_missing: bool,
}

/// The files that are chosen by a listing's excerpt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// How many.
    pub file_count: u64,
    /// Their sizes, added up.
    pub size_bytes: u64,
}

impl Listing {
    /// Reads the inventory, and asks the storage after the sizes. Blocks.
    fn read(root: &StorageRoot, location: &str, version: u32, view: View) -> ocfl::Result<Listing> {
        let object = root.object_at(location)?;
        let inventory = Arc::clone(object.inventory());
        let places = places(&inventory, version, view);
        let lengths = object.lengths()?;
        let length = |place: &Place| match place.file(&inventory).map(|file| lengths.of(file.content_path)) {
            Some(Ok(length)) => Ok(Some(length)),
            Some(Err(ocfl::Error::Io { source, .. })) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Some(Err(error)) => Err(error),
            None => Ok(None),
        };
        let found: Vec<_> = places.chunks(SIZES_AT_A_TIME).map(|some| (some, Mutex::new(Vec::new()))).collect();
        let threads = std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN);
        at_once(threads, &found, &|(some, lengths)| {
            let asked = some.iter().map(length).collect::<ocfl::Result<Vec<Option<u64>>>>()?;
            *lengths.lock().unwrap_or_else(PoisonError::into_inner) = asked;
            Ok::<(), ocfl::Error>(())
        })?;
        let lengths: Vec<Option<u64>> = found
            .into_iter()
            .flat_map(|(_, lengths)| lengths.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect();
        let add = |end: &mut u64, length: &Option<u64>| {
            *end = end.saturating_add(length.unwrap_or(0));
            Some(*end)
        };
        let ends = lengths.iter().scan(0, add).collect();
        let noted = places.iter().zip(&lengths).map(|(place, length)| Place { is_missing: length.is_none(), ..*place });
        Ok(Listing { places: noted.collect(), ends, inventory })
    }

    /// How many files it has.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How much an excerpt holds, or the first entry of it that is not there.
    pub fn chosen(&self, excerpt: &Excerpt) -> Result<Chosen, String> {
        let mut chosen = Chosen::default();
        for entry in excerpt.entries() {
            let begin = self.position(0, self.len(), |path| path < entry.as_str());
            let end = match entry.ends_with('/') {
                true => self.position(begin, self.len(), |path| path.starts_with(entry.as_str())),
                false => begin + usize::from(self.path(begin) == Some(entry.as_str())),
            };
            if begin == end {
                return Err(entry.clone());
            }
            chosen.file_count += (end - begin) as u64;
            chosen.size_bytes = chosen.size_bytes.saturating_add(self.bytes(begin, end));
        }
        Ok(chosen)
    }

    /// A file by its path, with its length; nothing where the storage does not have it.
    pub fn find(&self, path: &str) -> Option<(VersionFile<'_>, u64)> {
        let position = self.position(0, self.len(), |known| known < path);
        let place = self.places.get(position).filter(|place| !place.is_missing)?;
        let is_it = self.path(position) == Some(path);
        let file = place.file(&self.inventory).filter(|_| is_it)?;
        Some((file, self.bytes(position, position + 1)))
    }

    /// One page of a folder, `""` for the top; nothing when there is no such folder. An empty version has its top.
    pub fn folder(&self, folder: &str, after: Option<&FolderCursor>, limit: usize) -> Option<FolderPage> {
        let prefix = match folder.trim_end_matches('/') {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        let begin = self.position(0, self.len(), |path| path < prefix.as_str());
        let end = self.position(begin, self.len(), |path| path.starts_with(&prefix));
        if begin == end && !prefix.is_empty() {
            return None;
        }
        let mut page = FolderPage {
            file_count: (end - begin) as u64,
            size_bytes: self.bytes(begin, end),
            ..FolderPage::default()
        };
        let (mut position, mut files) = (begin, Vec::new());
        while position < end {
            let Some(rest) = self.path(position).and_then(|path| path.get(prefix.len()..)) else { break };
            let Some((name, _)) = rest.split_once('/') else {
                files.push((rest, position));
                position += 1;
                continue;
            };
            let inside = format!("{prefix}{name}/");
            let next = self.position(position, end, |path| path.starts_with(&inside));
            let wanted = match after {
                None => true,
                Some(FolderCursor::Folder(after)) => name > after.as_str(),
                Some(FolderCursor::File(_)) => false,
            };
            if wanted {
                let entry = FolderEntry {
                    name: name.to_owned(),
                    file_count: (next - position) as u64,
                    size_bytes: self.bytes(position, next),
                };
                page.folders.push(entry);
            }
            position = next;
        }
        self.cut(page, &files, after, limit)
    }

    fn cut(
        &self,
        mut page: FolderPage,
        files: &[(&str, usize)],
        after: Option<&FolderCursor>,
        limit: usize,
    ) -> Option<FolderPage> {
        // Paths are sorted with the `/` behind the name: `a-b/` comes before `a/`.
        page.folders.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        if page.folders.len() > limit {
            page.folders.truncate(limit);
            page.next = page.folders.last().map(|last| FolderCursor::Folder(last.name.clone()));
            return Some(page);
        }
        let from = match after {
            Some(FolderCursor::File(after)) => files.partition_point(|(name, _)| *name <= after.as_str()),
            _ => 0,
        };
        let room = limit.saturating_sub(page.folders.len());
        let left = files.get(from..).unwrap_or_default();
        for (name, position) in left.iter().take(room) {
            page.files.extend(self.file(name, *position));
        }
        if left.len() > room {
            let last_file = page.files.last().map(|last| FolderCursor::File(last.name.clone()));
            page.next = last_file.or_else(|| page.folders.last().map(|last| FolderCursor::Folder(last.name.clone())));
        }
        Some(page)
    }

    fn file(&self, name: &str, position: usize) -> Option<FileEntry> {
        let place = self.places.get(position)?;
        let file = place.file(&self.inventory)?;
        let on_record = |algorithm| Some((algorithm, selection::checksum_of(&self.inventory, &file, algorithm)?));
        Some(FileEntry {
            name: name.to_owned(),
            path: self.path(position)?.to_owned(),
            size_bytes: (!place.is_missing).then(|| self.bytes(position, position + 1)),
            checksums: CHECKSUMS.into_iter().filter_map(on_record).collect(),
        })
    }

    fn path(&self, position: usize) -> Option<&str> {
        let place = self.places.get(position)?;
        place.file(&self.inventory)?.logical_path.get(place.skipped as usize..)
    }

    /// The first position from `begin` on for whose path the condition does not hold, which holds for none behind it.
    fn position(&self, begin: usize, end: usize, condition: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (begin, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.path(middle).is_some_and(&condition) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The sizes of the files from `begin` to before `end`, added up.
    fn bytes(&self, begin: usize, end: usize) -> u64 {
        let up_to = |end: usize| end.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        up_to(end).saturating_sub(up_to(begin))
    }
}

impl Place {
    fn file<'i>(&self, inventory: &'i Inventory) -> Option<VersionFile<'i>> {
        inventory.file_at(self.version, self.index as usize)
    }
}

/// The files, sorted by path.
fn places(inventory: &Inventory, version: u32, view: View) -> Vec<Place> {
    let place = |version, index: usize, skipped: usize| Place {
        version,
        index: u32::try_from(index).unwrap_or(u32::MAX),
        skipped: u32::try_from(skipped).unwrap_or(u32::MAX),
        is_missing: false,
    };
    match view {
        View::Version => (0..inventory.files(version).len()).map(|index| place(version, index, 0)).collect(),
        View::Surface => {
            let laid = surface::laid_out(inventory, version, |number, index, file| (number, index, file.logical_path));
            let placed = laid.into_iter().map(|(path, (number, index, logical_path))| {
                place(number, index, logical_path.len().saturating_sub(path.len()))
            });
            placed.collect()
        }
    }
}

/// Listings that were asked for lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listings {
    cache: Arc<Mutex<Cache>>,
}

/// What was used last comes first.
type Cache = VecDeque<(Key, Arc<Listing>)>;

/// What a listing is of: nothing of that changes without the row of the package.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    package_id: String,
    updated: Timestamp,
    version: u32,
    view: View,
}

impl Listings {
    /// The listing of a version of a package, or of its surface. Blocks.
    pub(crate) fn of(
        &self,
        root: &StorageRoot,
        package: &Package,
        version: u32,
        view: View,
    ) -> ocfl::Result<Arc<Listing>> {
        let key = Key { package_id: package.id.clone(), updated: package.updated, version, view };
        if let Some(known) = self.cached(&key) {
            return Ok(known);
        }
        let listing = Arc::new(Listing::read(root, &package.location, version, view)?);
        self.remember(key, Arc::clone(&listing));
        Ok(listing)
    }

    fn cached(&self, key: &Key) -> Option<Arc<Listing>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let position = cache.iter().position(|(cached, _)| cached == key)?;
        let entry = cache.remove(position)?;
        let listing = Arc::clone(&entry.1);
        cache.push_front(entry);
        Some(listing)
    }

    /// Keeps what was used last; the newest entry stays even if it alone is more than the cache should hold.
    fn remember(&self, key: Key, listing: Arc<Listing>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.push_front((key, listing));
        let (mut files, mut kept) = (0, 0);
        for (_, listing) in cache.iter() {
            files += listing.len();
            if kept > 0 && (files > CACHED_FILES || kept == CACHED_LISTINGS) {
                break;
            }
            kept += 1;
        }
        cache.truncate(kept);
    }
}
