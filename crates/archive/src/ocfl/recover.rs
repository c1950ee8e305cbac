//! Finishing what a crash interrupted.
//!
//! Whatever the moment of the crash, the object is as before or as after the change, never between: an intent says
//! what was about to be done, and all it needs is on disk. A change that a living process is making is left alone.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::content::drop_draft;
use super::error::{Error, Result};
use super::publication::Publication;
use super::root::StorageRoot;
use super::staging::{self, Change, Intent, Place, fault, forget_draft};
use super::version::VersionNumber;
use super::{purge, remove};
use crate::digest::Digest;
use crate::publish;

/// An object whose interrupted change was brought to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The object's id.
    pub id: String,
    /// The object root, relative to the storage root.
    pub path: String,
    /// What became of the change.
    pub outcome: Outcome,
}

/// What became of an interrupted change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The version is part of the object.
    Committed(VersionNumber),
    /// The object is as it was before: another version had come first, or nothing was left to finish with.
    RolledBack,
    /// The object is removed.
    Removed,
    /// The files that were to be removed from the object are.
    Purged,
}

impl StorageRoot {
    /// Finishes every change that a crash interrupted, and tells which. Run it when a process starts, and whenever
    /// [`Error::Unrecovered`] was met. Drafts that nobody has worked on for `drafts_older_than` are removed.
    pub fn recover(&self, drafts_older_than: Option<Duration>) -> Result<Vec<Recovered>> {
        let mut recovered = Vec::new();
        for name in names(&staging::intents(self.staging()))? {
            let Some(key) = name.strip_suffix(".json").filter(|key| !key.starts_with('.')) else { continue };
            recovered.extend(self.recover_one(&Place::with_key(self.staging(), key))?);
        }
        self.clear_removed()?;
        if let Some(age) = drafts_older_than {
            self.drop_old_drafts(age)?;
        }
        Ok(recovered)
    }

    fn recover_one(&self, place: &Place) -> Result<Option<Recovered>> {
        let Some(_lock) = place.try_lock()? else { return Ok(None) };
        // The process that held the lock until now may have finished by itself.
        let Some(intent) = Intent::read(place)? else { return Ok(None) };
        let outcome = match &intent.change {
            Change::Remove => {
                remove::withdraw(self, place, &intent)?;
                Outcome::Removed
            }
            Change::Purge { files } => match purge::carry_out(self, place, &intent, files)? {
                Some(_) => Outcome::Purged,
                None => Outcome::Removed,
            },
            Change::Version { version, inventory, base, draft } => {
                let draft = place.drafts().join(draft);
                let parsed = |text: &String| text.parse::<Digest>().ok();
                let finished = match (VersionNumber::parse(version), parsed(inventory)) {
                    (Ok(version), Some(inventory)) => {
                        let base = base.as_ref().and_then(parsed);
                        let object = &intent.object;
                        let publication = Publication { root: self, object, version, inventory, base, draft: &draft };
                        publication.finish()?.then_some(version)
                    }
                    _ => None,
                };
                fault::step()?;
                match finished {
                    Some(_) => forget_draft(&draft)?,
                    None => drop_draft(self, &draft)?,
                }
                fault::step()?;
                Intent::clear(place)?;
                finished.map_or(Outcome::RolledBack, Outcome::Committed)
            }
        };
        match outcome {
            Outcome::Removed => self.forget(&intent.id),
            _ => self.learn(&intent.id, &intent.object),
        }
        Ok(Some(Recovered { id: intent.id, path: intent.object, outcome }))
    }

    /// Objects that were taken out of the root and not removed from the disk yet.
    fn clear_removed(&self) -> Result<()> {
        let directory = staging::removed(self.staging());
        for key in names(&directory)? {
            let place = Place::with_key(self.staging(), &key);
            if let Some(_lock) = place.try_lock()? {
                let path = place.removed();
                publish::remove_tree(&path).map_err(Error::io(path.display().to_string()))?;
            }
        }
        Ok(())
    }

    fn drop_old_drafts(&self, age: Duration) -> Result<()> {
        for key in names(&staging::drafts(self.staging()))? {
            let place = Place::with_key(self.staging(), &key);
            let Some(_lock) = place.try_lock()? else { continue };
            if Intent::read(&place)?.is_some() {
                continue;
            }
            for session in names(&place.drafts())? {
                let draft = place.drafts().join(session);
                if last_change(&draft).is_some_and(|unchanged| unchanged < age) {
                    continue;
                }
                // It may have something in a bucket that is away, and can wait.
                if let Err(error) = drop_draft(self, &draft) {
                    tracing::warn!(draft = %draft.display(), %error, "an old draft could not be dropped yet");
                }
            }
        }
        Ok(())
    }
}

/// For how long nobody has added to a draft.
fn last_change(draft: &Path) -> Option<Duration> {
    let times = [draft.to_owned(), draft.join("draft.json"), draft.join("journal.jsonl")];
    let newest = times.iter().filter_map(|path| std::fs::metadata(path).ok()?.modified().ok()).max()?;
    Some(newest.elapsed().unwrap_or_default())
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io(directory.display().to_string())(error);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
