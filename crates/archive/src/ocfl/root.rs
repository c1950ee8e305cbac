//! A storage root: creating and opening one, and finding its objects.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{Error, Result};
use super::layout::{self, Layout, LayoutError};
use super::object::{Object, is_absent};
use super::sidecar::{self, SMALL_FILE_BYTES, join};
use super::version::{SpecVersion, declaration_text};
use super::walk::{Found, Walk};
use crate::storage::{Condition, EntryKind, Storage};

/// The longest `ocfl_layout.json` or `config.json` that is read.
const CONFIG_BYTES: u64 = 1 << 20;

/// An OCFL storage root. It may be shared between threads, and several processes may have it open.
pub struct StorageRoot {
    storage: Arc<dyn Storage>,
    staging: PathBuf,
    spec: SpecVersion,
    layout: Option<Layout>,
    /// Where objects lie, by id, in a root whose layout is not known; made when it is first needed.
    index: Mutex<Option<HashMap<String, String>>>,
}

impl StorageRoot {
    /// Makes a storage root in an empty place. `staging` is a local directory outside of it, in which versions are
    /// prepared; it is made when it is missing. Where directories move, it is on the same file system.
    pub fn create(storage: Arc<dyn Storage>, staging: &Path, layout: Layout) -> Result<StorageRoot> {
        let ours = |name: &str| matches!(name, "ocfl_layout.json" | "extensions" | "lost+found");
        let entries = storage.list("").map_err(Error::io(""))?;
        if let Some(found) = entries.into_iter().find(|entry| !ours(&entry.name)) {
            return Err(Error::NotEmpty { found: found.name });
        }
        for (path, bytes) in layout.documents()? {
            storage.write(&path, &bytes, Condition::None).map_err(Error::io(path))?;
        }
        // Last, so that there is a root only when all of it is there.
        let declaration = SpecVersion::V1_1.root_declaration();
        let text = declaration_text(declaration);
        storage.write(declaration, text.as_bytes(), Condition::None).map_err(Error::io(declaration))?;
        StorageRoot::open(storage, staging)
    }

    /// Opens a storage root of OCFL 1.0 or 1.1, made here or by other software. Without a layout that is known
    /// here its objects are found by walking; new versions can be added to them, but no new objects.
    pub fn open(storage: Arc<dyn Storage>, staging: &Path) -> Result<StorageRoot> {
        let entries = storage.list("").map_err(Error::io(""))?;
        let named = |name: &str| entries.iter().any(|entry| entry.name == name && entry.kind == EntryKind::File);
        let spec = SpecVersion::ALL.into_iter().rev().find(|spec| named(spec.root_declaration()));
        let Some(spec) = spec else {
            let other = entries.into_iter().find(|entry| entry.name.starts_with("0=ocfl_"));
            return Err(other.map_or(Error::NotARoot, |entry| Error::UnsupportedRoot { declaration: entry.name }));
        };
        let layout = if named("ocfl_layout.json") { read_layout(storage.as_ref())? } else { None };
        Ok(StorageRoot { storage, staging: staging.to_owned(), spec, layout, index: Mutex::new(None) })
    }

    /// Where the bytes lie.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The directory in which versions are prepared.
    pub fn staging(&self) -> &Path {
        &self.staging
    }

    /// The version of the specification that the root declares.
    pub fn spec(&self) -> SpecVersion {
        self.spec
    }

    /// The layout, if it is one that is known here.
    pub fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    /// Walks the root and gives the path of every object root, on a local file system in order. Nothing is read but
    /// directories.
    pub fn objects(&self) -> Objects {
        Objects { storage: Arc::clone(&self.storage), walk: Walk::new() }
    }

    /// The object with this id: where the layout puts it or, when the layout is not known, where a walk found it.
    pub fn object(&self, id: &str) -> Result<Object> {
        let missing = || Error::NoSuchObject { id: id.to_owned() };
        let path = self.object_path(id)?.ok_or_else(missing)?;
        match self.object_at(&path) {
            Ok(object) if object.id() == id => Ok(object),
            Ok(object) => {
                let found = object.id().to_owned();
                Err(Error::WrongObject { path, expected: id.to_owned(), found })
            }
            Err(Error::NoSuchObject { .. }) => Err(missing()),
            Err(error) => Err(error),
        }
    }

    /// The object at a path that [`StorageRoot::objects`] gave.
    pub fn object_at(&self, path: &str) -> Result<Object> {
        Object::open(&self.storage, path)
    }

    /// Where the object lies, or would lie; `None` when the layout is not known and no such object was found, or
    /// when the layout has no place for such an id.
    pub fn object_path(&self, id: &str) -> Result<Option<String>> {
        match &self.layout {
            Some(layout) => Ok(layout.object_path(id).ok()),
            None => self.indexed(id),
        }
    }

    fn indexed(&self, id: &str) -> Result<Option<String>> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.is_none() {
            *index = Some(self.walk_ids()?);
        }
        Ok(index.as_ref().and_then(|index| index.get(id).cloned()))
    }

    /// The paths of all objects by id. An object whose inventory cannot be read has no id, and is left out.
    fn walk_ids(&self) -> Result<HashMap<String, String>> {
        let mut ids = HashMap::new();
        for path in self.objects() {
            let path = path?;
            if let Ok(proven) = sidecar::read_unproven(self.storage.as_ref(), &path) {
                ids.entry(proven.inventory.id().to_owned()).or_insert(path);
            }
        }
        Ok(ids)
    }

    /// Notes where a new object lies.
    pub(crate) fn learn(&self, id: &str, path: &str) {
        if let Some(index) = self.index.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            index.insert(id.to_owned(), path.to_owned());
        }
    }

    /// Forgets what an object's removal made untrue.
    pub(crate) fn forget(&self, id: &str) {
        if let Some(index) = self.index.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            index.remove(id);
        }
    }
}

impl std::fmt::Debug for StorageRoot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (spec, layout) = (&self.spec, &self.layout);
        formatter.debug_struct("StorageRoot").field("spec", spec).field("layout", layout).finish_non_exhaustive()
    }
}

fn read_layout(storage: &dyn Storage) -> Result<Option<Layout>> {
    let document = storage.read("ocfl_layout.json", CONFIG_BYTES).map_err(Error::io("ocfl_layout.json"))?;
    let extension = layout::extension_of(&document)?;
    if extension.contains('/') || extension.is_empty() {
        let reason = format!("{extension:?} is not the name of an extension");
        return Err(LayoutError::Config { file: "ocfl_layout.json".to_owned(), reason }.into());
    }
    let path = layout::config_path(&extension);
    let config = match storage.read(&path, CONFIG_BYTES) {
        Ok(config) => Some(config),
        Err(error) if is_absent(&error) => None,
        Err(error) => return Err(Error::io(path)(error)),
    };
    Ok(Layout::from_config(&extension, config.as_deref())?)
}

/// Reads the declaration of the object at `path`.
pub(crate) fn object_spec(storage: &dyn Storage, path: &str) -> Result<Option<SpecVersion>> {
    for spec in SpecVersion::ALL.into_iter().rev() {
        let declaration = join(path, spec.object_declaration());
        match storage.read(&declaration, SMALL_FILE_BYTES) {
            Ok(_) => return Ok(Some(spec)),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(Error::io(declaration)(error)),
        }
    }
    Ok(None)
}

/// The object roots of a storage root: see [`StorageRoot::objects`].
pub struct Objects {
    storage: Arc<dyn Storage>,
    walk: Walk,
}

impl Iterator for Objects {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        loop {
            match self.walk.next(self.storage.as_ref())? {
                Ok(Found::Object(path)) => return Some(Ok(path)),
                Ok(Found::Way(..)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
