//! Delivered files through their links: ranges, conditions, limits, and what happens when bytes go bad.

use std::process::Command;

use dipper_archive::digest::Algorithm;
use dipper_core::Role;
use dipper_core::db::packages::PackageState;
use reqwest::{Response, StatusCode};

use super::packages::{Stored, hex};
use super::support::{PATIENCE, Server, code, header};

/// A delivered package.
struct Delivered {
    server: Server,
    package: Stored,
    id: String,
    link: String,
}

impl Delivered {
    async fn new(changes: &[(&str, &str)], files: &[(&str, &[u8])]) -> Delivered {
        let server = Server::start(changes).await;
        let package = server.package("2d17", "blåbær 1", files).await;
        let caller = server.caller("harvester", &[("2d17", Role::Read)]).await;
        let id = caller.order(&package.id).await;
        server.work().await;
        let link = caller.link(&id).await;
        drop(caller);
        Delivered { server, package, id, link }
    }

    async fn get(&self, headers: &[(&str, &str)]) -> Response {
        let request = self.server.http.get(&self.link);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.expect("sent")
    }
}

/// Bytes that do not repeat, so that every range is told apart.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..count.div_ceil(8)).flat_map(|_| next()).take(count).collect()
}

#[tokio::test]
async fn the_whole_file_and_its_description() {
    let content = noise(3_000_000);
    let delivered = Delivered::new(&[], &[("a/content.bin", &content)]).await;
    let whole = delivered.get(&[]).await;
    assert_eq!(whole.status(), 200);
    for (name, value) in [
        ("accept-ranges", "bytes"),
        ("content-type", "application/x-tar"),
        ("cache-control", "private, no-transform"),
        ("content-disposition", "attachment; filename=\"bl_b_r 1.tar\"; filename*=UTF-8''bl%C3%A5b%C3%A6r%201.tar"),
    ] {
        assert_eq!(header(&whole, name), value);
    }
    let (etag, length, digest) =
        (header(&whole, "etag"), header(&whole, "content-length"), header(&whole, "repr-digest"));
    let bytes = whole.bytes().await.expect("all of it");
    assert_eq!(length, bytes.len().to_string());
    let md5 = hex(Algorithm::Md5, &bytes);
    assert_eq!(etag, format!("\"{md5}\""));
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, hex::decode(&md5).expect("hexadecimal"));
    assert_eq!(digest, format!("md5=:{encoded}:"));
    let head = delivered.server.http.head(&delivered.link).header("range", "bytes=0-0").send().await.expect("sent");
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, length));
    assert_eq!((header(&head, "etag"), header(&head, "repr-digest")), (etag, digest));
    assert!(head.bytes().await.expect("none").is_empty());

    // A program that has nothing to do with this one reads it.
    let directory = tempfile::tempdir().expect("a directory");
    let tar = directory.path().join("delivered.tar");
    dipper_archive::publish::write_file(&tar, &bytes).expect("written");
    let status = Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(directory.path()).status();
    assert!(status.expect("tar is needed for this test").success());
    let unpacked = directory.path().join("blåbær 1/data/a/content.bin");
    assert!(std::fs::read(unpacked).expect("unpacked") == content);
}

#[tokio::test]
async fn ranges_and_conditions() {
    let content = noise(20_000);
    let delivered = Delivered::new(&[], &[("content.bin", &content)]).await;
    let whole = delivered.get(&[]).await;
    let etag = header(&whole, "etag");
    let whole = whole.bytes().await.expect("all of it");
    let length = whole.len();
    for (range, first, end) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=511-512".to_owned(), 511, 513),
        ("bytes=5000-".to_owned(), 5000, length),
        ("bytes=-700".to_owned(), length - 700, length),
        (format!("bytes={}-", length - 1), length - 1, length),
        ("bytes=1-99999999999999999999".to_owned(), 1, length),
    ] {
        let part = delivered.get(&[("range", &range)]).await;
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(header(&part, "content-range"), format!("bytes {first}-{}/{length}", end - 1));
        assert_eq!(header(&part, "content-length"), (end - first).to_string());
        assert!(part.bytes().await.expect("all of it") == whole[first..end], "{range}");
    }
    for range in [format!("bytes={length}-"), "bytes=-0".to_owned(), "bytes=0-0,5-6".to_owned()] {
        let refused = delivered.get(&[("range", &range)]).await;
        assert_eq!((refused.status().as_u16(), header(&refused, "content-range")), (416, format!("bytes */{length}")));
        assert_eq!(code(&refused.json().await.expect("JSON")), "RANGE_NOT_SATISFIABLE", "{range}");
    }
    for (headers, status) in [
        (vec![("if-none-match", etag.as_str())], 304),
        (vec![("if-none-match", "\"other\"")], 200),
        (vec![("if-match", "\"other\"")], 412),
        (vec![("range", "bytes=0-9"), ("if-range", &etag)], 206),
        (vec![("range", "bytes=0-9"), ("if-range", "\"other\"")], 200),
        (vec![("range", "lines=0-9")], 200),
    ] {
        assert_eq!(delivered.get(&headers).await.status(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn a_link_that_was_changed_is_not_genuine() {
    let delivered = Delivered::new(&[], &[("a", b"alpha")]).await;
    let link = &delivered.link;
    let (path, query) = link.split_once('?').expect("a query");
    let expires = query.split('&').next().expect("expires").to_owned();
    let second = path.replacen("/1/", "/2/", 1);
    let fetch = async |url: String| {
        let answer = delivered.server.http.get(url).send().await.expect("sent");
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.expect("JSON"))
    };
    for changed in [
        path.to_owned(),
        format!("{path}?{expires}"),
        format!("{path}?{expires}&signature="),
        format!("{path}?{expires}&signature=AAAA"),
        format!("{path}?expires=99999999999&{}", query.split_once('&').expect("two").1),
        format!("{path}?expires=soon&{}", query.split_once('&').expect("two").1),
        format!("{second}?{query}"),
        format!("{}?{query}", path.replacen("/1/", "/one/", 1)),
    ] {
        let (status, body) = fetch(changed.clone()).await;
        assert_eq!((status, code(&body)), (403, "LINK_NOT_GENUINE"), "{changed}");
    }
    let renamed = link.replace(".tar?", ".zip?");
    assert_eq!(fetch(renamed).await.0, 404);
    let head = delivered.server.http.head(path).send().await.expect("sent");
    assert_eq!(head.status(), 403);
}

#[tokio::test]
async fn curl_resumes_a_download() {
    crate::peers::install(&[]);
    let content = noise(5_000_000);
    let delivered = Delivered::new(&[], &[("content.bin", &content)]).await;
    let whole = delivered.get(&[]).await.bytes().await.expect("all of it");
    let directory = tempfile::tempdir().expect("a directory");
    let target = directory.path().join("delivered.tar");
    dipper_archive::publish::write_file(&target, &whole[..1_234_567]).expect("written");
    let link = delivered.link.clone();
    let resumed = target.clone();
    let status = tokio::task::spawn_blocking(move || {
        Command::new("curl").args(["--silent", "--fail", "-C", "-", "-o"]).arg(resumed).arg(link).status()
    });
    assert!(status.await.expect("run").expect("run").success());
    assert!(std::fs::read(&target).expect("read") == whole);
}

#[tokio::test]
async fn bytes_that_went_bad_since_are_never_sent_as_a_whole_file() {
    let content = noise(40_000_000);
    let delivered = Delivered::new(&[], &[("a/first.bin", &content), ("b/second.txt", b"beta")]).await;
    let whole = delivered.get(&[]).await.bytes().await.expect("all of it");
    delivered.package.flip("a/first.bin", 39_999_999);
    let broken = delivered.get(&[]).await;
    assert_eq!(broken.status(), 200, "the beginning is good");
    let length: usize = header(&broken, "content-length").parse().expect("a length");
    assert_eq!(length, whole.len());
    assert!(broken.bytes().await.is_err(), "the connection is broken off");
    // From then on the package is known to be damaged.
    let caller = delivered.server.token_of("harvester-2").await;
    let condition = async {
        loop {
            let (_, archive) = caller.get(&format!("/archives/{}", delivered.package.id)).await;
            if archive["status"] == "DAMAGED" {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, condition).await.expect("the package is marked");
    let gone = delivered.get(&[]).await;
    assert_eq!(gone.status(), 410);
    let (status, body) =
        caller.post(&format!("/disseminations/{}/download-links", delivered.id), &serde_json::json!({})).await;
    assert_eq!((status, code(&body)), (422, "ARCHIVE_NOT_PRESERVED"));
}

#[tokio::test]
async fn every_byte_that_is_sent_of_a_damaged_file_is_a_good_one() {
    let content = noise(3_000_000);
    let delivered = Delivered::new(&[], &[("content.bin", &content)]).await;
    let whole = delivered.get(&[]).await.bytes().await.expect("all of it");
    delivered.package.flip("content.bin", 1_500_000);
    let mut broken = delivered.get(&[]).await;
    let mut received = Vec::new();
    while let Ok(Some(chunk)) = broken.chunk().await {
        received.extend_from_slice(&chunk);
    }
    assert!(received.len() < whole.len());
    assert!(received == whole[..received.len()]);
}

#[tokio::test]
async fn a_deleted_package_takes_its_links_along() {
    let delivered = Delivered::new(&[], &[("a", b"alpha")]).await;
    delivered.server.package_state(&delivered.package.id, PackageState::Deleted, "on request").await;
    assert_eq!(delivered.get(&[]).await.status(), 410);
}

#[tokio::test]
async fn more_downloads_than_allowed_are_told_to_come_back() {
    let content = noise(30_000_000);
    let delivered = Delivered::new(&[("delivery.max_concurrent_downloads", "1")], &[("a", &content)]).await;
    // Far more than the buffers between the two: the server waits with the rest until it is read.
    let mut running = delivered.get(&[]).await;
    running.chunk().await.expect("a beginning");
    let refused = delivered.get(&[]).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (503, "10".to_owned()));
    assert_eq!(code(&refused.json().await.expect("JSON")), "UNAVAILABLE");
    let head = delivered.server.http.head(&delivered.link).send().await.expect("sent");
    assert_eq!(head.status(), 200, "asking costs nothing");
    drop(running);
    let free = async { while delivered.get(&[("range", "bytes=0-0")]).await.status() != 206 {} };
    tokio::time::timeout(PATIENCE, free).await.expect("the place is free again");
}

#[tokio::test]
async fn a_stop_lets_a_running_download_finish() {
    let content = noise(30_000_000);
    let delivered = Delivered::new(&[], &[("a", &content)]).await;
    let mut running = delivered.get(&[]).await;
    let length: usize = header(&running, "content-length").parse().expect("a length");
    let mut received = running.chunk().await.expect("a beginning").expect("a beginning").len();
    delivered.server.shutdown.cancel();
    while let Some(chunk) = running.chunk().await.expect("it goes on") {
        received += chunk.len();
    }
    assert_eq!(received, length);
    let finished = delivered.server.serving.finished();
    tokio::time::timeout(PATIENCE, finished).await.expect("it ends").expect("it ends well");
}
