//! An S3 server with archive classes, as no server here has them: s3s-fs behind a front that knows which objects are in
//! `GLACIER` or `DEEP_ARCHIVE`, refuses to read them, and recalls them when it is told to. It also keeps conditional
//! writes apart, counts requests, and can die. The other crates' tests share this file, together with `s3.rs`.
#![allow(dead_code, reason = "each crate's tests use a part of it")]

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use dipper_archive::bucket::{Bucket, BucketSettings};
use dipper_archive::storage::{BucketStorage, Storage};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use crate::s3::{S3Server, STATUS_HEADER};

/// The server, and the hands that the tests have in it.
pub(crate) struct Glacier {
    pub(crate) server: S3Server,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    cold: Mutex<HashMap<String, Cold>>,
    recalls: Mutex<Vec<(String, String, i32)>>,
    requests: Mutex<BTreeMap<&'static str, u64>>,
    /// How many more writes are carried out before the server is gone; negative for all.
    writes_left: AtomicI64,
    objects: OnceLock<PathBuf>,
    delay_micros: AtomicU64,
    /// Requests that wait now, and the most that did at a time.
    waiting: AtomicU64,
    most_waiting: AtomicU64,
    /// What is in the keys that are not read now: whoever asks for them waits.
    held: tokio::sync::watch::Sender<Option<&'static str>>,
    /// Writes go one after the other, so that a condition holds until its write is done.
    write: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Cold {
    class: &'static str,
    recall: Recall,
}

#[derive(Clone, PartialEq)]
enum Recall {
    None,
    Running { tier: String, days: i32 },
    Done { until: SystemTime },
}

impl Glacier {
    pub(crate) fn start() -> Glacier {
        let state = Arc::new(State { writes_left: AtomicI64::new(-1), ..State::default() });
        let front = Arc::clone(&state);
        let server = S3Server::start_with(|files| Front { files, state: front });
        state.objects.set(server.objects()).unwrap();
        Glacier { server, state }
    }

    /// Settings that do not try again, so that a request that fails is seen.
    pub(crate) fn settings(&self, prefix: &str) -> BucketSettings {
        BucketSettings { retries: 0, ..self.server.settings(prefix) }
    }

    pub(crate) fn bucket(&self, prefix: &str) -> Bucket {
        self.server.open(self.settings(prefix))
    }

    pub(crate) fn storage(&self, prefix: &str) -> Arc<dyn Storage> {
        Arc::new(BucketStorage::new(self.bucket(prefix)))
    }

    /// Where the objects below a prefix are files.
    pub(crate) fn objects(&self, prefix: &str) -> PathBuf {
        self.server.objects().join(prefix)
    }

    /// Moves every object whose key begins so into an archive class; how many there are.
    pub(crate) fn freeze(&self, prefix: &str, class: &'static str) -> usize {
        let mut keys = Vec::new();
        let mut open = vec![self.server.objects()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    keys.push(path.strip_prefix(self.server.objects()).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        keys.retain(|key| key.starts_with(prefix));
        let mut cold = self.state.cold.lock().unwrap();
        for key in &keys {
            cold.insert(key.clone(), Cold { class, recall: Recall::None });
        }
        keys.len()
    }

    /// Ends all recalls that are under way: the objects can be read until then.
    pub(crate) fn finish_recalls(&self) -> usize {
        let mut finished = 0;
        for cold in self.state.cold.lock().unwrap().values_mut() {
            if let Recall::Running { days, .. } = &cold.recall {
                let until = SystemTime::now() + Duration::from_secs(86_400 * u64::from(days.unsigned_abs()));
                cold.recall = Recall::Done { until };
                finished += 1;
            }
        }
        finished
    }

    /// Lets the time of all recalled objects be over.
    pub(crate) fn expire_recalls(&self) {
        for cold in self.state.cold.lock().unwrap().values_mut() {
            if matches!(cold.recall, Recall::Done { .. }) {
                cold.recall = Recall::None;
            }
        }
    }

    /// Every recall that was begun or made faster: key, tier, days.
    pub(crate) fn recalls(&self) -> Vec<(String, String, i32)> {
        self.state.recalls.lock().unwrap().clone()
    }

    /// How many requests of a kind there were, such as `GET` or `LIST`.
    pub(crate) fn requests(&self, kind: &str) -> u64 {
        self.state.requests.lock().unwrap().get(kind).copied().unwrap_or(0)
    }

    pub(crate) fn forget_requests(&self) {
        self.state.requests.lock().unwrap().clear();
    }

    /// Carries out so many more writes and deletions; from then on every request of any kind fails.
    pub(crate) fn die_after(&self, writes: Option<u32>) {
        self.state.writes_left.store(writes.map_or(-1, i64::from), Ordering::SeqCst);
    }

    /// The most requests that waited at a time since this was asked last.
    pub(crate) fn most_waiting(&self) -> u64 {
        self.state.most_waiting.swap(0, Ordering::SeqCst)
    }

    /// Lets whoever reads a key with this in it wait, until it is released or the server ends.
    pub(crate) fn hold(&self, part: &'static str) {
        self.state.held.send_replace(Some(part));
    }

    /// Lets everything be read again.
    pub(crate) fn release(&self) {
        self.state.held.send_replace(None);
    }

    /// Lets each request wait, as a network does.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state.delay_micros.store(delay.as_micros() as u64, Ordering::SeqCst);
    }
}

struct Front {
    files: s3s_fs::FileSystem,
    state: Arc<State>,
}

impl Front {
    async fn arrive(&self, kind: &'static str, is_write: bool) -> S3Result<()> {
        *self.state.requests.lock().unwrap().entry(kind).or_default() += 1;
        let delay = self.state.delay_micros.load(Ordering::SeqCst);
        if delay > 0 {
            let waiting = self.state.waiting.fetch_add(1, Ordering::SeqCst) + 1;
            self.state.most_waiting.fetch_max(waiting, Ordering::SeqCst);
            let _ = tokio::time::timeout(Duration::from_micros(delay), std::future::pending::<()>()).await;
            self.state.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        let left = &self.state.writes_left;
        let dead = if is_write {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| (left > 0).then(|| left - 1)) == Err(0)
        } else {
            left.load(Ordering::SeqCst) == 0
        };
        if dead { Err(s3_error!(ServiceUnavailable, "the server is gone")) } else { Ok(()) }
    }

    /// A bucket has no directories: what s3s-fs makes of them must not be seen.
    fn is_directory(&self, key: &str) -> bool {
        self.state.objects.get().is_some_and(|objects| objects.join(key).is_dir())
    }

    fn cold(&self, key: &str) -> Option<Cold> {
        self.state.cold.lock().unwrap().get(key).cloned()
    }

    async fn head(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.arrive("HEAD", false).await?;
        if self.is_directory(&req.input.key) {
            return Err(s3_error!(NoSuchKey));
        }
        let cold = self.cold(&req.input.key);
        let mut answer = self.files.head_object(req).await?;
        if let Some(cold) = cold {
            answer.output.storage_class = Some(StorageClass::from_static(cold.class));
            answer.output.restore = match cold.recall {
                Recall::None => None,
                Recall::Running { .. } => Some("ongoing-request=\"true\"".to_owned()),
                Recall::Done { until } => {
                    let date = http_date(until);
                    Some(format!("ongoing-request=\"false\", expiry-date=\"{date}\""))
                }
            };
        }
        Ok(answer)
    }

    async fn get(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.arrive("GET", false).await?;
        let mut held = self.state.held.subscribe();
        // The sender lives as long as this does.
        drop(held.wait_for(|held| held.is_none_or(|part| !req.input.key.contains(part))).await);
        if self.cold(&req.input.key).is_some_and(|cold| !matches!(cold.recall, Recall::Done { .. })) {
            return Err(s3_error!(InvalidObjectState, "The operation is not valid for the object's storage class"));
        }
        // A file and what s3s-fs notes about it change one after the other.
        let _guard = self.state.write.lock().await;
        self.files.get_object(req).await
    }

    async fn list(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.arrive("LIST", false).await?;
        // What is written under another name and renamed must not be seen, nor miss its end.
        let _guard = self.state.write.lock().await;
        let mut answer = self.files.list_objects_v2(req).await?;
        for object in answer.output.contents.iter_mut().flatten() {
            let cold = object.key.as_deref().and_then(|key| self.cold(key));
            let class = cold.map_or("STANDARD", |cold| cold.class);
            object.storage_class = Some(ObjectStorageClass::from_static(class));
        }
        Ok(answer)
    }

    async fn put(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let _guard = self.state.write.lock().await;
        self.arrive("PUT", true).await?;
        let key = req.input.key.clone();
        let class = req.input.storage_class.take();
        let answer = self.files.put_object(req).await?;
        let class =
            class.and_then(|class| ["GLACIER", "DEEP_ARCHIVE"].into_iter().find(|known| class.as_str() == *known));
        let mut cold = self.state.cold.lock().unwrap();
        match class {
            Some(class) => cold.insert(key, Cold { class, recall: Recall::None }),
            None => cold.remove(&key),
        };
        Ok(answer)
    }

    async fn delete(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.arrive("DELETE", true).await?;
        if self.is_directory(&req.input.key) {
            return Ok(S3Response::new(DeleteObjectOutput::default()));
        }
        self.state.cold.lock().unwrap().remove(&req.input.key);
        self.files.delete_object(req).await
    }

    async fn delete_many(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.arrive("DELETE", true).await?;
        for object in &req.input.delete.objects {
            self.state.cold.lock().unwrap().remove(&object.key);
        }
        self.files.delete_objects(req).await
    }

    async fn restore(&self, req: S3Request<RestoreObjectInput>) -> S3Result<S3Response<RestoreObjectOutput>> {
        self.arrive("RESTORE", false).await?;
        let wanted = req.input.restore_request.unwrap_or_default();
        let tier = wanted.glacier_job_parameters.map_or("Standard".to_owned(), |job| job.tier.as_str().to_owned());
        let days = wanted.days.ok_or_else(|| s3_error!(MalformedXML))?;
        let key = req.input.key;
        let mut all = self.state.cold.lock().unwrap();
        let Some(cold) = all.get_mut(&key) else {
            return Err(s3_error!(InvalidObjectState, "Restore is not allowed for the object's storage class"));
        };
        if cold.class == "DEEP_ARCHIVE" && tier == "Expedited" {
            return Err(s3_error!(InvalidArgument, "Retrieval option is not supported by this storage class"));
        }
        let speed = |tier: &str| ["Bulk", "Standard", "Expedited"].iter().position(|known| *known == tier);
        let output = RestoreObjectOutput::default();
        match &mut cold.recall {
            Recall::Running { tier: before, .. } if speed(&tier) <= speed(before) => {
                return Err(s3_error!(RestoreAlreadyInProgress, "Object restore is already in progress"));
            }
            Recall::Done { until } => {
                *until = SystemTime::now() + Duration::from_secs(86_400 * u64::from(days.unsigned_abs()));
                return Ok(S3Response::new(output));
            }
            recall => *recall = Recall::Running { tier: tier.clone(), days },
        }
        self.state.recalls.lock().unwrap().push((key, tier, days));
        let mut answer = S3Response::new(output);
        answer.headers.insert(STATUS_HEADER, "202".parse().unwrap());
        Ok(answer)
    }
}

fn http_date(at: SystemTime) -> String {
    let at = time::OffsetDateTime::from(at);
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    at.format(format).unwrap()
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = S3Result<S3Response<T>>> + Send + 'a>>;

/// The methods of [`S3`], each handed to one of [`Front`] or straight to the files.
macro_rules! hand_over {
    ($($name:ident($input:ty) -> $output:ty = $this:ident, $req:ident => $call:expr;)*) => {
        impl S3 for Front {
            $(fn $name<'life0, 'async_trait>(&'life0 self, $req: S3Request<$input>) -> Answer<'async_trait, $output>
            where
                'life0: 'async_trait,
            {
                let $this = self;
                Box::pin(async move { $call.await })
            })*
        }
    };
}

hand_over! {
    head_object(HeadObjectInput) -> HeadObjectOutput = front, req => front.head(req);
    get_object(GetObjectInput) -> GetObjectOutput = front, req => front.get(req);
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = front, req => front.list(req);
    put_object(PutObjectInput) -> PutObjectOutput = front, req => front.put(req);
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = front, req => front.delete(req);
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = front, req => front.delete_many(req);
    restore_object(RestoreObjectInput) -> RestoreObjectOutput = front, req => front.restore(req);
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = front, req => front.files.create_multipart_upload(req);
    upload_part(UploadPartInput) -> UploadPartOutput = front, req => front.files.upload_part(req);
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = front, req => front.files.complete_multipart_upload(req);
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = front, req => front.files.abort_multipart_upload(req);
}
