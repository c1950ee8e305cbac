//! What rests on promises of the storage, on a server made for production that gives them: conditional writes, lists of
//! unfinished uploads, links that expire. All tests share one server, each below a prefix of its own.

use std::io::{self, Read as _, Write as _};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dipper_archive::bucket::{Bucket, BucketSettings, Fault, ObjectType, PutMode};
use dipper_archive::digest::Algorithm;
use dipper_archive::ocfl::{
    DraftOptions, Error, Expected, Layout, Start, StorageRoot, ValidateOptions, VersionRecord, validate_root,
};
use dipper_archive::storage::{BucketStorage, Storage};
use dipper_core::Role;
use dipper_core::installation::{Installation, Places};
use dipper_core::settings::Settings;
use dipper_core::store::sweep::{Sweeper, Swept};
use reqwest::StatusCode;
use tokio::runtime::Runtime;

use crate::seaweed::{ACCESS_KEY, SECRET_KEY, Seaweed};
use crate::support::{PATIENCE, Server};

const BUCKET: &str = "shared";

/// The server of this process. The shell that holds it ends it with the process.
fn seaweed() -> &'static Seaweed {
    static SHARED: OnceLock<Seaweed> = OnceLock::new();
    SHARED.get_or_init(|| Seaweed::start(BUCKET))
}

fn settings(prefix: &str) -> BucketSettings {
    BucketSettings {
        url: format!("s3://{BUCKET}/{prefix}"),
        endpoint: Some(seaweed().endpoint()),
        region: Some("us-east-1".to_owned()),
        path_style: true,
        allow_http: true,
        access_key_id: Some(ACCESS_KEY.to_owned()),
        secret_access_key: Some(SECRET_KEY.to_owned()),
        part_bytes: 5 << 20,
        ..BucketSettings::default()
    }
}

fn bucket(prefix: &str) -> Bucket {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"));
    Bucket::open(settings(prefix), runtime.handle().clone()).expect("good settings")
}

fn storage(prefix: &str) -> BucketStorage {
    BucketStorage::new(bucket(prefix))
}

fn plain() -> ObjectType {
    ObjectType::default()
}

#[test]
fn the_conditions_of_a_write_are_kept_and_that_is_found_out() {
    let bucket = bucket("conditions");
    let put = |text: &str, mode: PutMode<'_>| {
        bucket.wait(bucket.put("key", Bytes::copy_from_slice(text.as_bytes()), mode, &plain()))
    };
    let refused = |text: &str, mode: PutMode<'_>| {
        let error = put(text, mode).expect_err("the condition does not hold");
        assert_eq!(Fault::of(&error), Some(Fault::Precondition), "{error}");
    };
    let first = put("one", PutMode::IfAbsent).expect("there was none").expect("an ETag");
    refused("two", PutMode::IfAbsent);
    let second = put("two", PutMode::IfMatch(&first)).expect("nobody was faster").expect("an ETag");
    refused("three", PutMode::IfMatch(&first));
    put("four", PutMode::IfMatch(&second)).expect("nobody was faster");
    assert_eq!(bucket.wait(bucket.get("key", 10)).expect("there"), "four");

    let storage = storage("probe");
    assert!(storage.keeps_conditions().expect("tried"));
    let left = storage.bucket().wait(storage.bucket().list("", true, None)).expect("listed");
    assert!(left.objects.is_empty(), "{left:?}");
}

#[test]
fn of_two_who_write_one_object_at_once_one_wins_and_the_root_is_valid() {
    const ROUNDS: u32 = 8;
    let beside = tempfile::tempdir().expect("a directory");
    let shared = || -> Arc<dyn Storage> { Arc::new(storage("root")) };
    StorageRoot::create(shared(), &beside.path().join("maker"), Layout::default()).expect("made");
    let machines = ["one", "other"].map(|name| StorageRoot::open(shared(), &beside.path().join(name)).expect("opened"));
    for round in 1..=ROUNDS {
        let ready = Barrier::new(machines.len());
        let commits: Vec<_> = std::thread::scope(|scope| {
            let writers = machines.iter().enumerate().map(|(number, root)| {
                let ready = &ready;
                scope.spawn(move || {
                    let start = if round == 1 { Start::Empty } else { Start::Head };
                    let options = DraftOptions { session: "s", start, fixity: &[] };
                    let draft = root.draft("urn:contested", &options).expect("a draft");
                    let text = format!("round {round}, writer {number}");
                    draft.add(&text, &mut text.as_bytes(), &Expected::default(), "").expect("added");
                    ready.wait();
                    let created = "2026-01-31T08:00:00Z".to_owned();
                    draft.commit(VersionRecord { created, message: None, user: None })
                })
            });
            let writers: Vec<_> = writers.collect();
            writers.into_iter().map(|writer| writer.join().expect("it does not panic")).collect()
        });
        let won = commits.iter().filter(|commit| commit.is_ok()).count();
        let late = commits.iter().filter(|commit| matches!(commit, Err(Error::HeadMoved { .. }))).count();
        assert_eq!((won, late), (1, 1), "{commits:?}");
        let object = machines[0].object("urn:contested").expect("an object");
        assert_eq!(object.inventory().head().number(), round);
    }
    let report = validate_root(machines[0].storage(), &ValidateOptions::default()).expect("read");
    assert!(report.is_valid(), "{:#?}", report.problems);
}

#[test]
fn a_version_is_streamed_and_what_a_dead_writer_left_is_swept() {
    const LONG: u64 = 64 << 20;
    let beside = tempfile::tempdir().expect("a directory");
    let storage: Arc<dyn Storage> = Arc::new(storage("stream"));
    let root = StorageRoot::create(Arc::clone(&storage), &beside.path().join("staging"), Layout::default());
    let root = root.expect("made");
    let bucket = bucket("stream");
    let unfinished = || bucket.wait(bucket.unfinished_uploads("", None)).expect("listed").uploads.len();
    let options = DraftOptions { session: "s", start: Start::Empty, fixity: &[] };
    let (told, any) = (Expected { len: Some(LONG), ..Expected::default() }, Expected::default());
    let draft = root.draft("urn:a", &options).expect("a draft");
    draft.add("told", &mut io::repeat(1).take(LONG), &told, "").expect("added");
    draft.add("untold", &mut io::repeat(2).take(LONG), &any, "").expect("added");
    draft.add("small", &mut &b"small"[..], &any, "").expect("added");
    draft.checkpoint().expect("kept");
    // The writer dies in the middle of another file.
    let mut own = String::new();
    let take = &mut |path: &str, _| {
        if let Some(directory) = path.strip_suffix("/told") {
            directory.clone_into(&mut own);
        }
    };
    storage.list_below("", take).expect("listed");
    let mut dead = storage.stream(&format!("{own}/dead"), None).expect("begun");
    dead.write_all(&vec![3; 12 << 20]).expect("sent");
    std::mem::forget(dead);
    drop(draft);
    assert_eq!(unfinished(), 1);

    let draft = root.draft("urn:a", &options).expect("a draft");
    assert_eq!(unfinished(), 0);
    for path in ["told", "untold", "small"] {
        assert!(draft.take_staged(path, "").expect("looked").is_some(), "{path}");
    }
    let wrong = [(Algorithm::Md5, "00".repeat(16).parse().expect("a digest"))];
    let wrong = Expected { len: None, digests: &wrong };
    let altered = draft.add("wrong", &mut io::repeat(4).take(12 << 20), &wrong, "");
    assert!(matches!(altered, Err(Error::Altered { .. })), "{altered:?}");
    assert_eq!(unfinished(), 0);
    let created = "2026-01-31T08:00:00Z".to_owned();
    let committed = draft.commit(VersionRecord { created, message: None, user: None }).expect("committed");
    assert_eq!((committed.files, committed.new_bytes), (3, 2 * LONG + 5));
    let mut keys = 0;
    storage.list_below(&format!("{}/v1/content", committed.path), &mut |_, _| keys += 1).expect("listed");
    assert_eq!(keys, 3);
    let report = validate_root(&storage, &ValidateOptions::default()).expect("read");
    assert!(report.is_valid(), "{:#?}", report.problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_and_uploads_that_nobody_remembers_are_found_and_cleared_away() {
    let deliveries = settings("sweep");
    let changes = [
        ("delivery.store", format!("s3://{BUCKET}/sweep")),
        ("delivery_s3.endpoint", seaweed().endpoint()),
        ("delivery_s3.path_style", "true".to_owned()),
        ("delivery_s3.allow_http", "true".to_owned()),
        ("delivery_s3.access_key_id", ACCESS_KEY.to_owned()),
        ("delivery_s3.secret_access_key", SECRET_KEY.to_owned()),
    ];
    let changes: Vec<(&str, &str)> = changes.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let server = Server::start(&changes).await;
    let package = server.small_package("2d17", "one").await;
    let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
    let id = caller.order(&package.id).await;
    server.work().await;
    assert_eq!(caller.dissemination(&id).await["status"], "DISSEMINATED");
    let bucket = server.installation.store.as_ref().expect("a store").bucket().clone();

    let (orphan, stranger) = (format!("{id}/7-1/one.tar"), "another-order/1-1/one.tar".to_owned());
    for key in [&orphan, &stranger] {
        bucket.put(key, Bytes::from_static(b"x"), PutMode::Overwrite, &plain()).await.expect("written");
        let upload = format!("{}/8-1/one.tar", key.split('/').next().expect("an order"));
        let upload_id = bucket.begin_upload(&upload, &plain()).await.expect("begun");
        bucket.put_part(&upload, &upload_id, 1, Bytes::from_static(b"part")).await.expect("sent");
    }
    let uploads = async || {
        let mut uploads = bucket.unfinished_uploads("", None).await.expect("listed").uploads;
        uploads.sort_by(|one, other| one.key.cmp(&other.key));
        assert!(uploads.iter().all(|upload| upload.begun.is_some()), "{uploads:?}");
        uploads.into_iter().map(|upload| upload.key).collect::<Vec<_>>()
    };
    assert_eq!(uploads().await, [format!("{id}/8-1/one.tar"), "another-order/8-1/one.tar".to_owned()]);
    let below = bucket.unfinished_uploads(&format!("{id}/8-1"), None).await.expect("listed").uploads;
    assert_eq!(below.len(), 1, "{below:?}");

    // They are young: their worker may be about to remember them.
    assert_eq!(Sweeper::new(server.installation.clone()).sweep().await.expect("swept"), Swept::default());
    let impatient = Settings { orphan_age: Duration::ZERO, sweep_all: Duration::ZERO, ..Settings::default() };
    let places = Places { deliveries: Some(deliveries), ..Places::new(server.installation.data.root()) };
    let installation = Installation::open(places, impatient, server.clock.clone()).await.expect("opened");
    let swept = Sweeper::new(Arc::new(installation)).sweep().await.expect("swept");
    assert_eq!(swept, Swept { orphans: 2, ..Swept::default() });
    assert_eq!(uploads().await, ["another-order/8-1/one.tar"]);
    let mut objects: Vec<String> =
        bucket.list("", true, None).await.expect("listed").objects.into_iter().map(|object| object.key).collect();
    objects.sort_unstable();
    let mut expected = [format!("{id}/1-1/one.tar"), stranger];
    expected.sort_unstable();
    assert_eq!(objects, expected);
    let link = caller.link(&id).await;
    assert_eq!(server.http.get(link).send().await.expect("sent").status(), StatusCode::OK);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_good_until_it_expires_and_only_as_it_was_made() {
    let bucket = tokio::task::spawn_blocking(|| bucket("links")).await.expect("opened");
    let content = Bytes::from_static(b"0123456789");
    bucket.put("a file", content.clone(), PutMode::Overwrite, &plain()).await.expect("written");
    let http = reqwest::Client::new();
    let status = async |link: String| http.get(link).send().await.expect("sent").status();

    let link = bucket.signed_link("a file", Duration::from_secs(600), &plain()).await.expect("signed");
    assert_eq!(http.get(&link).send().await.expect("sent").bytes().await.expect("whole"), content);
    let part = http.get(&link).header("range", "bytes=3-6").send().await.expect("sent");
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 3-6/10");
    assert_eq!(part.bytes().await.expect("whole"), content.slice(3..7));

    bucket.put("another", content, PutMode::Overwrite, &plain()).await.expect("written");
    let (kept, signature) = link.split_at(link.find("X-Amz-Signature=").expect("signed") + "X-Amz-Signature=".len());
    let flipped = if signature.starts_with('0') { "1" } else { "0" };
    for altered in [
        link.replace("a%20file", "another"),
        link.replace("X-Amz-Expires=600", "X-Amz-Expires=6000"),
        format!("{kept}{flipped}{}", &signature[1..]),
        link.split('?').next().expect("an address").to_owned(),
    ] {
        assert_ne!(altered, link);
        assert_eq!(status(altered.clone()).await, StatusCode::FORBIDDEN, "{altered}");
    }

    let brief = bucket.signed_link("a file", Duration::from_secs(2), &plain()).await.expect("signed");
    let began = Instant::now();
    let mut last = status(brief.clone()).await;
    assert_eq!(last, StatusCode::OK);
    while last == StatusCode::OK {
        assert!(began.elapsed() < PATIENCE, "the link does not expire");
        last = status(brief.clone()).await;
    }
    assert_eq!(last, StatusCode::FORBIDDEN);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}
