//! Publishing a version where directories do not move: in a bucket, with other writers that share nothing but it.
//!
//! 1. A new object's declaration, so that nobody takes the directory for one that leads to objects.
//! 2. The content files, in a directory of the draft's own (`v2/content/d-1f3a5b7c/...`): no two writers write the same
//!    name. They come there while the draft is made (`content.rs`), and are no part of the object yet.
//! 3. The **claim**: the version's inventory, written only if there is none. Of all writers of this version one gets
//!    through. Its content is there, so from now on anybody may bring the version to its end, and whoever meets a
//!    claim does so: a writer that died cannot hold up the others.
//! 4. The version's sidecar; then the root inventory, written only if it is still the one that the version follows:
//!    **this makes the version visible**; then the root's sidecar.
//! 5. What other writers left in the version directory, or are about to write there, is removed: none of them can win it
//!    any more.
//!
//! A loser removes its own directory, and so does a draft that is given up. Where the server knows no conditional requests, the two conditions are looked at
//! before the write, and the catalogue's lease keeps a second writer away.

use std::collections::HashSet;

use super::error::{Error, Result};
use super::inventory::Inventory;
use super::object::is_absent;
use super::publication::Publication;
use super::root::StorageRoot;
use super::sidecar::{INVENTORY, INVENTORY_BYTES, digest_of, join, sidecar_name, sidecar_text};
use super::staging::fault;
use super::version::{SpecVersion, VersionNumber, declaration_text};
use crate::digest::Digest;
use crate::storage::{Condition, Revision, Storage};

/// How often a change by others is followed before it is called an error.
const ATTEMPTS: usize = 16;

/// A name for a directory that nobody else writes to.
pub(super) fn upload_name() -> String {
    format!("d-{:08x}", uuid_bits())
}

/// Whether a name below a content directory is that of a writer's own directory.
pub(super) fn is_upload_name(name: &str) -> bool {
    name.strip_prefix("d-").is_some_and(|rest| rest.len() == 8 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// 32 bits that two writers have in common only by accident: the hash of what makes this moment of this process its
/// own, with the random seed of the standard library's hash maps.
fn uuid_bits() -> u32 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    if let Ok(now) = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        hasher.write_u128(now.as_nanos());
    }
    (hasher.finish() >> 32) as u32
}

/// Publishes a version, or goes on with it after a crash: see [`Publication::finish`].
pub(super) fn copy_in(publication: &Publication<'_>) -> Result<bool> {
    let is_claimed = publication.is_in_place()?;
    if !is_claimed && (!publication.follows_base()? || !contents_are_there(publication)? || !claim(publication)?) {
        withdraw(publication)?;
        return Ok(false);
    }
    if complete(publication.root, publication.object, publication.version)? {
        return Ok(true);
    }
    // The object was removed, or made anew, since it was looked at: this version follows nothing any more.
    let claimed = join(&publication.version_directory(), INVENTORY);
    publication.storage().remove(&claimed).map_err(Error::io(claimed))?;
    withdraw(publication)?;
    Ok(false)
}

/// The directory of the staged version, if it is still there.
fn staged_version(publication: &Publication<'_>) -> Option<std::path::PathBuf> {
    let staged = publication.draft.join("object").join(publication.version.to_string());
    staged.is_dir().then_some(staged)
}

/// Whether all content is there that is the version's own; `false` also when what was staged is gone.
fn contents_are_there(publication: &Publication<'_>) -> Result<bool> {
    let storage = publication.storage();
    let Some(inventory) = staged_inventory(publication)? else { return Ok(false) };
    if publication.base.is_none() {
        declare(storage, publication.object, inventory.spec()).map_err(Error::io(publication.object))?;
        fault::step()?;
    }
    let prefix = format!("{}/", publication.version);
    let mut missing: HashSet<&str> = inventory.manifest().filter_map(|(_, path)| path.strip_prefix(&prefix)).collect();
    if !missing.is_empty() {
        let directory = publication.version_directory();
        let take = &mut |path: &str, _| {
            missing.remove(path);
        };
        storage.list_below(&directory, take).map_err(Error::io(directory))?;
    }
    Ok(missing.is_empty())
}

/// Writes the version's inventory where none is; `false` when another writer's is there, which is then brought to
/// its end.
fn claim(publication: &Publication<'_>) -> Result<bool> {
    let Some(staged) = staged_version(publication) else { return Ok(false) };
    let staged = staged.join(INVENTORY);
    let bytes = std::fs::read(&staged).map_err(Error::io(staged.display().to_string()))?;
    let path = join(&publication.version_directory(), INVENTORY);
    match publication.storage().write(&path, &bytes, Condition::Absent) {
        Ok(()) => {}
        // It may be ours all the same, if the answer to an earlier request was lost.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if !publication.is_in_place()? {
                complete(publication.root, publication.object, publication.version)?;
                return Ok(false);
            }
        }
        Err(error) => return Err(Error::io(path)(error)),
    }
    fault::step()?;
    Ok(true)
}

/// Removes what a version that came to nothing has in the bucket.
fn withdraw(publication: &Publication<'_>) -> Result<()> {
    let storage = publication.storage();
    let Some(inventory) = staged_inventory(publication)? else { return Ok(()) };
    let prefix = format!("{}/", publication.version);
    let own: HashSet<&str> = inventory
        .manifest()
        .filter_map(|(_, path)| upload_of(path.strip_prefix(&prefix)?, inventory.content_directory()))
        .collect();
    for name in own {
        let path = format!("{}/{}/{name}", publication.version_directory(), inventory.content_directory());
        storage.remove(&path).map_err(Error::io(path))?;
    }
    Ok(())
}

/// The writer's directory that a path inside a version directory leads through.
pub(super) fn upload_of<'a>(path: &'a str, content_directory: &str) -> Option<&'a str> {
    let (name, _) = path.strip_prefix(content_directory)?.strip_prefix('/')?.split_once('/')?;
    is_upload_name(name).then_some(name)
}

fn staged_inventory(publication: &Publication<'_>) -> Result<Option<Inventory>> {
    let Some(staged) = staged_version(publication) else { return Ok(None) };
    let path = staged.join(INVENTORY);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(Error::io(path.display().to_string())(error)),
    };
    Ok(Inventory::read(&bytes).ok())
}

/// Has a directory known for an object.
pub(super) fn declare(storage: &dyn Storage, object: &str, spec: SpecVersion) -> std::io::Result<()> {
    let declaration = spec.object_declaration();
    storage.write(&join(object, declaration), declaration_text(declaration).as_bytes(), Condition::None)
}

impl StorageRoot {
    /// Brings a version to its end that a writer claimed and did not finish, if there is one. Safe at any time, also
    /// while that writer lives. There is nothing to do where directories move.
    pub fn settle(&self, id: &str) -> Result<()> {
        match self.object_path(id)? {
            Some(object) => settle(self, &object),
            None => Ok(()),
        }
    }
}

/// See [`StorageRoot::settle`].
pub(super) fn settle(root: &StorageRoot, object: &str) -> Result<()> {
    let storage = root.storage().as_ref();
    if storage.moves_directories() {
        return Ok(());
    }
    let next = match read_root(storage, object)? {
        Some(RootState { inventory, .. }) => {
            settle_sidecar(storage, object)?;
            inventory.head().next()
        }
        None => Some(VersionNumber::FIRST),
    };
    match next {
        Some(next) => complete(root, object, next).map(|_| ()),
        None => Ok(()),
    }
}

/// The root inventory as it is now.
pub(super) struct RootState {
    pub(super) inventory: Inventory,
    pub(super) bytes: Vec<u8>,
    pub(super) revision: Revision,
}

/// `None` when there is none.
pub(super) fn read_root(storage: &dyn Storage, object: &str) -> Result<Option<RootState>> {
    let path = join(object, INVENTORY);
    let (bytes, revision) = match storage.read_revision(&path, INVENTORY_BYTES) {
        Ok(found) => found,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let inventory = Inventory::read(&bytes).map_err(|findings| Error::Inventory { path, findings })?;
    Ok(Some(RootState { inventory, bytes, revision }))
}

/// Brings a claimed version to its end; `false` when it is not claimed, or does not continue the object.
///
/// The root is read before the claim: a removal takes a first version's inventory away before the root's, so a claim
/// that is found after the root was found missing is not that of an object on its way out.
fn complete(root: &StorageRoot, object: &str, version: VersionNumber) -> Result<bool> {
    let storage = root.storage().as_ref();
    let directory = join(object, &version.to_string());
    for _ in 0..ATTEMPTS {
        let state = read_root(storage, object)?;
        if state.as_ref().is_some_and(|state| state.inventory.head() >= version) {
            // Its number was given to one writer only: this one.
            settle_sidecar(storage, object)?;
            return Ok(true);
        }
        let Some((claimed, bytes)) = read_claim(storage, &directory)? else { return Ok(false) };
        if !continues(&claimed, version, state.as_ref().map(|state| &state.inventory)) {
            return Ok(false);
        }
        let Some(others) = others_in(storage, &directory, &claimed, version)? else { return Ok(false) };
        if state.is_none() {
            declare(storage, object, claimed.spec()).map_err(Error::io(object))?;
        }
        let digest = digest_of(claimed.algorithm(), &bytes);
        let sidecar = join(&directory, &sidecar_name(claimed.algorithm().name()));
        storage.write(&sidecar, sidecar_text(&digest).as_bytes(), Condition::None).map_err(Error::io(sidecar))?;
        fault::step()?;
        let path = join(object, INVENTORY);
        let condition = state.as_ref().map_or(Condition::Absent, |state| Condition::Unchanged(&state.revision));
        match storage.write(&path, &bytes, condition) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(Error::io(path)(error)),
        }
        fault::step()?;
        root.learn(claimed.id(), object);
        settle_sidecar(storage, object)?;
        fault::step()?;
        for name in others {
            let path = format!("{directory}/{}/{name}", claimed.content_directory());
            storage.remove(&path).map_err(Error::io(path))?;
        }
        storage.end_streams(&directory).map_err(Error::io(directory))?;
        return Ok(true);
    }
    let message = format!("{version} was changed again and again while it was published");
    Err(Error::io(object)(std::io::Error::other(message)))
}

fn read_claim(storage: &dyn Storage, directory: &str) -> Result<Option<(Inventory, Vec<u8>)>> {
    let path = join(directory, INVENTORY);
    let bytes = match storage.read(&path, INVENTORY_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(Error::io(path)(error)),
    };
    let inventory = Inventory::read(&bytes).map_err(|findings| Error::Inventory { path, findings })?;
    Ok(Some((inventory, bytes)))
}

/// Whether a claimed version is the next one of the object as its root inventory has it.
fn continues(claimed: &Inventory, version: VersionNumber, root: Option<&Inventory>) -> bool {
    if claimed.head() != version {
        return false;
    }
    let Some(root) = root else { return version.number() == 1 };
    if claimed.id() != root.id() || root.head().next() != Some(version) {
        return false;
    }
    root.versions().iter().all(|before| {
        let number = before.number().number();
        let same = |after: &super::inventory::Version| after.created() == before.created();
        claimed.version(number).is_some_and(same)
            && claimed.files(number).len() == root.files(number).len()
            && claimed
                .files(number)
                .zip(root.files(number))
                .all(|(one, two)| one.logical_path == two.logical_path && one.content_path == two.content_path)
    })
}

/// The directories that other writers have in a version directory, by name; `None` when a file of the version's own
/// is missing.
fn others_in(
    storage: &dyn Storage,
    directory: &str,
    inventory: &Inventory,
    version: VersionNumber,
) -> Result<Option<HashSet<String>>> {
    let prefix = format!("{version}/");
    let mut missing: HashSet<&str> = inventory.manifest().filter_map(|(_, path)| path.strip_prefix(&prefix)).collect();
    let mut own = HashSet::new();
    let mut others = HashSet::new();
    storage
        .list_below(directory, &mut |path, _| {
            let upload = upload_of(path, inventory.content_directory());
            if missing.remove(path) {
                own.extend(upload.map(str::to_owned));
            } else if let Some(upload) = upload
                && !others.contains(upload)
            {
                others.insert(upload.to_owned());
            }
        })
        .map_err(Error::io(directory))?;
    Ok(missing.is_empty().then(|| &others - &own))
}

/// Writes the root's sidecar until it fits the root inventory that is there after it was written: a writer that was
/// overtaken may otherwise leave an old one beside a new inventory.
fn settle_sidecar(storage: &dyn Storage, object: &str) -> Result<()> {
    let digest_now = || -> Result<Option<(String, Digest)>> {
        let state = read_root(storage, object)?;
        Ok(state.map(|state| {
            let algorithm = state.inventory.algorithm();
            (join(object, &sidecar_name(algorithm.name())), digest_of(algorithm, &state.bytes))
        }))
    };
    let mut now = digest_now()?;
    for _ in 0..ATTEMPTS {
        let Some((path, digest)) = now else { return Ok(()) };
        let text = sidecar_text(&digest);
        match storage.read(&path, super::sidecar::SMALL_FILE_BYTES) {
            Ok(found) if found == text.as_bytes() => return Ok(()),
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(Error::io(path)(error)),
        }
        storage.write(&path, text.as_bytes(), Condition::None).map_err(Error::io(path))?;
        now = digest_now()?;
    }
    Ok(())
}
