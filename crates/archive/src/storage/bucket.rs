//! A storage root in a bucket of S3-compatible object storage.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::SystemTime;

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::cold::{Availability, Recall, Tier};
use super::incoming::{self, BucketStream, LocalFile, Streamed};
use super::{Condition, Entry, EntryKind, Revision, Storage, at_once, changed, check, join};
use crate::bucket::{Bucket, Fault, Listed, ObjectHead, ObjectType, PutMode, RecallAnswer};

/// How many requests for small things are under way at a time: each waits for the network, and none needs a core.
pub(super) const REQUESTS_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);
/// The classes whose objects are not readable without a recall. One of the third kind may be.
const COLD_CLASSES: [&str; 3] = ["GLACIER", "DEEP_ARCHIVE", "INTELLIGENT_TIERING"];

/// A storage root in a bucket, or below a prefix of one. Its calls block, on threads outside of the runtime that the
/// bucket was opened with.
#[derive(Debug)]
pub struct BucketStorage {
    bucket: Bucket,
    /// Whether the server keeps the conditions of a write; found out before the first that has one.
    conditions_kept: OnceLock<bool>,
}

impl BucketStorage {
    /// The storage in this bucket. Nothing is sent yet.
    pub fn new(bucket: Bucket) -> BucketStorage {
        BucketStorage { bucket, conditions_kept: OnceLock::new() }
    }

    /// The bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Whether the server keeps the conditions of a write. Where it does not, they are looked at before the write, and
    /// two writers at the same moment must be kept apart by other means.
    pub fn keeps_conditions(&self) -> io::Result<bool> {
        if let Some(kept) = self.conditions_kept.get() {
            return Ok(*kept);
        }
        let key = format!(".dipper-probe-{}-{:?}", std::process::id(), thread::current().id());
        let key = key.replace(['(', ')'], "");
        let kept = self.bucket.wait(self.bucket.probe_conditional_put(&key))?;
        Ok(*self.conditions_kept.get_or_init(|| kept))
    }

    /// All pages of a list; markers of directories, whose keys end with a slash, are left out.
    fn pages(
        &self,
        directory: &str,
        deep: bool,
        take: &mut dyn FnMut(Vec<String>, Vec<Listed>) -> io::Result<()>,
    ) -> io::Result<()> {
        check(directory)?;
        let mut after = None;
        loop {
            let mut page = self.bucket.wait(self.bucket.list(directory, deep, after.as_deref()))?;
            page.objects.retain(|object| !object.key.ends_with('/'));
            take(page.directories, page.objects)?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn put(&self, path: &str, bytes: &[u8], mode: PutMode<'_>) -> io::Result<()> {
        let bytes = Bytes::copy_from_slice(bytes);
        self.bucket.wait(self.bucket.put(path, bytes, mode, &ObjectType::default())).map(|_| ())
    }

    /// Looks at a condition before a write, for servers that do not.
    fn look(&self, path: &str, condition: Condition<'_>) -> io::Result<()> {
        let head = self.bucket.wait(self.bucket.head(path))?;
        let holds = match condition {
            Condition::None => true,
            Condition::Absent => head.is_none(),
            Condition::Unchanged(revision) => head.is_some_and(|head| head.etag.as_deref() == Some(revision.as_str())),
        };
        if holds { Ok(()) } else { Err(changed(path)) }
    }
}

impl Storage for BucketStorage {
    fn moves_directories(&self) -> bool {
        false
    }

    fn has_archive_classes(&self) -> bool {
        true
    }

    fn reads_at_once(&self) -> Option<NonZeroUsize> {
        Some(REQUESTS_AT_ONCE)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<Entry>> {
        let name = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
        let mut found = BTreeMap::new();
        self.pages(directory, false, &mut |directories, objects| {
            for key in directories {
                let entry = Entry { name: name(&key), kind: EntryKind::Directory, len: 0 };
                found.insert(entry.name.clone(), entry);
            }
            for object in objects {
                let entry = Entry { name: name(&object.key), kind: EntryKind::File, len: object.len };
                found.insert(entry.name.clone(), entry);
            }
            Ok(())
        })?;
        if found.is_empty() && !directory.is_empty() {
            let message = format!("{}: there is nothing", self.bucket.place(directory));
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(found.into_values().collect())
    }

    fn list_below(&self, directory: &str, found: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        self.pages(directory, true, &mut |_, objects| {
            for object in &objects {
                if let Some(path) = below(directory, &object.key) {
                    found(path, object.len);
                }
            }
            Ok(())
        })
    }

    fn entry(&self, path: &str) -> io::Result<Option<Entry>> {
        check(path)?;
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let page = self.bucket.wait(self.bucket.list(path, false, None))?;
        if path.is_empty() || !page.directories.is_empty() || !page.objects.is_empty() {
            return Ok(Some(Entry { name, kind: EntryKind::Directory, len: 0 }));
        }
        let head = self.bucket.wait(self.bucket.head(path))?;
        Ok(head.map(|head| Entry { name, kind: EntryKind::File, len: head.len }))
    }

    fn open(&self, path: &str, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        check(path)?;
        Ok(Box::new(self.bucket.reader(path, range)?))
    }

    fn read_revision(&self, path: &str, limit: u64) -> io::Result<(Vec<u8>, Revision)> {
        check(path)?;
        let mut reader = self.bucket.reader(path, 0..limit.saturating_add(1))?;
        let etag = reader.etag().map(str::to_owned).ok_or_else(|| {
            let message = format!(
                "{}: the server gives no ETag, so nobody can tell one state from the next",
                self.bucket.place(path)
            );
            io::Error::other(message)
        })?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let message = format!("{path} is longer than the {limit} bytes that are allowed for it");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok((bytes, Revision::new(etag)))
    }

    fn write(&self, path: &str, bytes: &[u8], condition: Condition<'_>) -> io::Result<()> {
        check(path)?;
        let mode = match condition {
            Condition::None => PutMode::Overwrite,
            Condition::Absent => PutMode::IfAbsent,
            Condition::Unchanged(revision) => PutMode::IfMatch(revision.as_str()),
        };
        if mode != PutMode::Overwrite && !self.keeps_conditions()? {
            self.look(path, condition)?;
            return self.put(path, bytes, PutMode::Overwrite);
        }
        match self.put(path, bytes, mode) {
            // Amazon's answer when an object with a condition on its ETag is gone.
            Err(error) if mode != PutMode::Overwrite && error.kind() == io::ErrorKind::NotFound => Err(changed(path)),
            written => written,
        }
    }

    fn publish(&self, _staged: &Path, path: &str) -> io::Result<()> {
        let message = format!("{}: no directory can be moved into a bucket", self.bucket.place(path));
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    fn streams_above(&self) -> u64 {
        self.bucket.settings().part_bytes
    }

    fn upload(&self, files: &[LocalFile]) -> io::Result<()> {
        files.iter().try_for_each(|file| check(&file.path))?;
        incoming::upload(&self.bucket, files)
    }

    fn stream(&self, path: &str, len: Option<u64>) -> io::Result<Box<dyn Streamed>> {
        check(path)?;
        Ok(Box::new(BucketStream::begin(&self.bucket, path, len)?))
    }

    fn end_streams(&self, directory: &str) -> io::Result<()> {
        check(directory)?;
        incoming::end_streams(&self.bucket, directory)
    }

    fn withdraw(&self, path: &str, _to: &Path) -> io::Result<()> {
        let message = format!("{}: nothing can be moved out of a bucket", self.bucket.place(path));
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        check(path)?;
        if path.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a storage root is not removed as a whole"));
        }
        let mut is_directory = false;
        self.pages(path, true, &mut |_, objects| {
            let keys: Vec<String> = objects.into_iter().map(|object| object.key).collect();
            is_directory |= !keys.is_empty();
            if keys.is_empty() { Ok(()) } else { self.bucket.wait(self.bucket.delete_many(&keys)) }
        })?;
        if is_directory { Ok(()) } else { self.bucket.wait(self.bucket.delete(path)) }
    }

    fn remove_files(&self, directory: &str, names: &[String]) -> io::Result<()> {
        let keys: Vec<String> = names.iter().map(|name| join(directory, name)).collect();
        keys.iter().try_for_each(|key| check(key))?;
        self.bucket.wait(self.bucket.delete_many(&keys))
    }

    fn availability(&self, directory: &str, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<(String, Availability)>> {
        let mut cold = Vec::new();
        self.pages(directory, true, &mut |_, objects| {
            for object in objects {
                let is_cold = object.storage_class.as_deref().is_some_and(|class| COLD_CLASSES.contains(&class));
                if is_cold && below(directory, &object.key).is_some_and(wanted) {
                    cold.push(object.key);
                }
            }
            Ok(())
        })?;
        let found = Mutex::new(Vec::new());
        at_once(REQUESTS_AT_ONCE, &cold, &|key: &String| -> io::Result<()> {
            // One that is gone is missing, whatever its class was.
            let head = self.bucket.wait(self.bucket.head(key))?;
            if let (Some(availability), Some(path)) = (head.as_ref().and_then(availability), below(directory, key)) {
                let found = &mut *found.lock().unwrap_or_else(PoisonError::into_inner);
                found.push((path.to_owned(), availability));
            }
            Ok(())
        })?;
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    fn recall(&self, path: &str, tier: Tier, days: u32) -> io::Result<Recall> {
        check(path)?;
        let standing = || -> io::Result<Option<Availability>> {
            let head = self.bucket.wait(self.bucket.head(path))?.ok_or_else(|| {
                let message = format!("{}: there is nothing to recall", self.bucket.place(path));
                io::Error::new(io::ErrorKind::NotFound, message)
            })?;
            Ok(availability(&head))
        };
        let tier = match tier {
            Tier::Expedited if standing()?.is_some_and(|found| found.class() == "DEEP_ARCHIVE") => Tier::Standard,
            tier => tier,
        };
        match self.bucket.wait(self.bucket.recall(path, days.max(1), tier.name())) {
            Ok(RecallAnswer::Begun) => Ok(Recall::Begun),
            Ok(RecallAnswer::Running) => Ok(Recall::UnderWay),
            Ok(RecallAnswer::Readable) => Ok(Recall::Readable),
            // Not in an archive class, or not any more.
            Err(error) if Fault::is_archived(&error) => match standing()? {
                None => Ok(Recall::Readable),
                Some(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }
}

/// A key as a path below a directory.
fn below<'k>(directory: &str, key: &'k str) -> Option<&'k str> {
    if directory.is_empty() { Some(key) } else { key.strip_prefix(directory)?.strip_prefix('/') }
}

/// What the server says of an object in an archive class; `None` for one that is in none.
fn availability(head: &ObjectHead) -> Option<Availability> {
    let class = head.header("x-amz-storage-class").unwrap_or("STANDARD");
    let is_cold = match class {
        "INTELLIGENT_TIERING" => head.header("x-amz-archive-status").is_some(),
        class => COLD_CLASSES.contains(&class),
    };
    let class = class.to_owned();
    if !is_cold {
        return None;
    }
    Some(match head.header("x-amz-restore") {
        None => Availability::Archived { class },
        Some(restore) if restore.contains("ongoing-request=\"true\"") => Availability::Recalling { class },
        Some(restore) => Availability::Recalled { class, until: expiry(restore) },
    })
}

/// The date of `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`.
fn expiry(restore: &str) -> Option<SystemTime> {
    let (_, rest) = restore.split_once("expiry-date=\"")?;
    let (date, _) = rest.split_once('"')?;
    OffsetDateTime::parse(date, &Rfc2822).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_end_of_a_recall_is_read() {
        let restore = "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\"";
        assert_eq!(expiry(restore), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_356_048_000)));
        assert_eq!(expiry("ongoing-request=\"false\""), None);
        assert_eq!(expiry("ongoing-request=\"false\", expiry-date=\"soon\""), None);
    }
}
