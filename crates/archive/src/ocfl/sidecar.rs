//! Inventories with their sidecars (OCFL 1.1 section 3.6): reading one that is proven, and writing both.

use crate::digest::{Algorithm, Digest, Hasher};
use crate::ocfl::error::{Error, Result};
use crate::ocfl::inventory::Inventory;
use crate::storage::Storage;
pub(crate) use crate::storage::join;

pub(crate) const INVENTORY: &str = "inventory.json";

/// The longest inventory that is read, a protection against a file that is none.
pub(crate) const INVENTORY_BYTES: u64 = 4 << 30;

/// The longest sidecar or declaration that is read.
pub(crate) const SMALL_FILE_BYTES: u64 = 64 << 10;

/// An inventory that has been verified, and the digest that proved it.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    pub(crate) inventory: Inventory,
    pub(crate) digest: Digest,
}

/// The name of the sidecar for a digest algorithm.
pub(crate) fn sidecar_name(algorithm: &str) -> String {
    format!("{INVENTORY}.{algorithm}")
}

/// What a sidecar holds.
pub(crate) fn sidecar_text(digest: &Digest) -> String {
    format!("{digest} {INVENTORY}\n")
}

/// The digest in a sidecar: `DIGEST inventory.json`, with white space between them.
pub(crate) fn sidecar_digest(text: &[u8]) -> Option<Digest> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    let (digest, name) = text.split_once([' ', '\t'])?;
    if name.trim_start_matches([' ', '\t']) != INVENTORY {
        return None;
    }
    digest.parse().ok()
}

pub(crate) fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

fn read_sidecar(storage: &dyn Storage, directory: &str, algorithm: Algorithm) -> Result<Digest> {
    let path = join(directory, &sidecar_name(algorithm.name()));
    let text = match storage.read(&path, SMALL_FILE_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Error::Sidecar { path }),
        Err(error) => return Err(Error::io(path)(error)),
    };
    sidecar_digest(&text).ok_or(Error::Sidecar { path })
}

/// Reads the inventory of `directory` without comparing it with its sidecar yet.
pub(crate) fn read_unproven(storage: &dyn Storage, directory: &str) -> Result<Proven> {
    let path = join(directory, INVENTORY);
    let bytes = storage.read(&path, INVENTORY_BYTES).map_err(Error::io(&path))?;
    let inventory = Inventory::read(&bytes).map_err(|findings| Error::Inventory { path, findings })?;
    let digest = digest_of(inventory.algorithm(), &bytes);
    Ok(Proven { inventory, digest })
}

/// Reads the inventory of a version directory, which never changes, with its own sidecar.
pub(crate) fn read_version(storage: &dyn Storage, directory: &str) -> Result<Proven> {
    let proven = read_unproven(storage, directory)?;
    if read_sidecar(storage, directory, proven.inventory.algorithm())? != proven.digest {
        return Err(Error::InventoryDigest { path: join(directory, INVENTORY) });
    }
    Ok(proven)
}

/// Reads the inventory of an object root.
///
/// A new version replaces inventory and sidecar one after the other, so a reader may find one old and one new. The
/// inventory is proven then by the sidecar of its own version directory, which holds the same bytes and never
/// changes; an object without those is read again.
pub(crate) fn read_root(storage: &dyn Storage, object: &str) -> Result<Proven> {
    const ATTEMPTS: usize = 4;
    let mut last = Error::InventoryDigest { path: join(object, INVENTORY) };
    for _ in 0..ATTEMPTS {
        let proven = read_unproven(storage, object)?;
        let algorithm = proven.inventory.algorithm();
        match read_sidecar(storage, object, algorithm) {
            Ok(digest) if digest == proven.digest => return Ok(proven),
            Ok(_) | Err(Error::Sidecar { .. }) => {}
            Err(error) => return Err(error),
        }
        let version = join(object, &proven.inventory.head().to_string());
        match read_sidecar(storage, &version, algorithm) {
            Ok(digest) if digest == proven.digest => return Ok(proven),
            Ok(_) => {}
            Err(error) => last = error,
        }
    }
    match last {
        Error::Sidecar { .. } => Err(Error::InventoryDigest { path: join(object, INVENTORY) }),
        other => Err(other),
    }
}
