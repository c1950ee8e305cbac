//! The bucket client against s3s-fs, which checks signatures.

use std::io::{ErrorKind, Read as _};

use bytes::Bytes;
use dipper_archive::bucket::{BucketSettings, Checksum, Fault, ObjectType, PutMode};

use crate::s3::{BUCKET, S3Server};

fn any() -> ObjectType {
    ObjectType::default()
}

/// Bytes that differ at every place a mistake could mix up.
fn sample(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[test]
fn objects_come_back_as_they_went_under_awkward_names_too() {
    let server = S3Server::start();
    let bucket = server.bucket("archive/one");
    let keys = [
        "plain",
        "a/b c/d+e",
        "ÆØÅ/æøå.txt",
        "100%/a%20b",
        "q?x=1&y",
        "h#ash",
        "a~b(c)!*'",
        "=eq/@at:colon",
        "<a>&amp;/ b ",
    ];
    for key in keys {
        let bytes = Bytes::from(key.to_owned());
        bucket.wait(bucket.put(key, bytes, PutMode::Overwrite, &any())).unwrap();
        let mut read = String::new();
        bucket.reader(key, 0..u64::MAX).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, key);
        assert_eq!(bucket.wait(bucket.head(key)).unwrap().unwrap().len, key.len() as u64);
        assert!(server.objects().join("archive/one").join(key).is_file(), "{key}");
    }
    let mut listed: Vec<String> =
        bucket.wait(bucket.list("", true, None)).unwrap().objects.into_iter().map(|object| object.key).collect();
    listed.sort_unstable();
    let mut expected = keys.map(str::to_owned).to_vec();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    bucket.wait(bucket.delete_many(&expected)).unwrap();
    assert!(bucket.wait(bucket.list("", true, None)).unwrap().objects.is_empty());
}

#[test]
fn keys_that_would_change_on_the_way_are_refused() {
    let server = S3Server::start();
    let bucket = server.bucket("");
    for key in ["", "/a", "a/", "a//b", "a/../b", "."] {
        let refused = bucket.wait(bucket.put(key, Bytes::new(), PutMode::Overwrite, &any())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{key:?}");
    }
}

#[test]
fn a_list_stops_at_directories_and_goes_on_over_pages() {
    let server = S3Server::start();
    let bucket = server.bucket("root");
    for index in 0..1_005 {
        let file = server.objects().join(format!("root/many/{index:04}"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }
    for key in ["root/top", "root/a/one", "root/a/two", "root/a/deeper/three", "rootless/four"] {
        let file = server.objects().join(key);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, key).unwrap();
    }
    let top = bucket.wait(bucket.list("", false, None)).unwrap();
    assert_eq!(top.directories, ["a", "many"]);
    assert_eq!(top.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["top"]);
    assert_eq!(top.objects.first().map(|object| object.len), Some(8));
    let below = bucket.wait(bucket.list("a", false, None)).unwrap();
    assert_eq!(below.directories, ["a/deeper"]);
    assert_eq!(below.objects.len(), 2);

    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = bucket.wait(bucket.list("many", true, after.as_deref())).unwrap();
        assert!(page.objects.len() <= 1_000);
        found.extend(page.objects.into_iter().map(|object| object.key));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 1_005);
    assert_eq!(found.last().map(String::as_str), Some("many/1004"));
}

#[test]
fn ranges_end_where_the_object_ends() {
    let server = S3Server::start();
    let bucket = server.bucket("r");
    let bytes = sample(300_000);
    bucket.wait(bucket.put("o", bytes.clone().into(), PutMode::Overwrite, &any())).unwrap();
    bucket.wait(bucket.put("empty", Bytes::new(), PutMode::Overwrite, &any())).unwrap();
    for (start, end) in [(0, 1), (0, 300_000), (1, 299_999), (299_999, 400_000), (150_000, u64::MAX), (7, 7)] {
        let mut read = Vec::new();
        bucket.reader("o", start..end).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == bytes[start as usize..(end as usize).min(bytes.len())], "{start}..{end}");
    }
    for (key, range) in [("o", 300_000..400_000), ("o", 400_000..u64::MAX), ("empty", 0..u64::MAX), ("empty", 0..10)] {
        let mut read = Vec::new();
        bucket.reader(key, range.clone()).unwrap().read_to_end(&mut read).unwrap();
        assert!(read.is_empty(), "{key} {range:?}");
    }
    let missing = bucket.reader("nothing", 0..1).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.to_string().contains("s3://dips/r/nothing"), "{missing}");
    assert!(bucket.wait(bucket.head("nothing")).unwrap().is_none());
    bucket.wait(bucket.delete("nothing")).unwrap();
}

#[test]
fn a_second_writer_is_refused_by_conditions() {
    let server = S3Server::start();
    let bucket = server.bucket("c");
    let put = |text: &'static str, mode: PutMode<'_>| {
        bucket.wait(bucket.put("inventory.json", Bytes::from_static(text.as_bytes()), mode, &any()))
    };
    let first = put("one", PutMode::IfAbsent).unwrap().unwrap();
    let refused = put("two", PutMode::IfAbsent).unwrap_err();
    assert_eq!((refused.kind(), Fault::of(&refused)), (ErrorKind::AlreadyExists, Some(Fault::Precondition)));
    let second = put("two", PutMode::IfMatch(&first)).unwrap().unwrap();
    assert_ne!(first, second);
    assert_eq!(Fault::of(&put("three", PutMode::IfMatch(&first)).unwrap_err()), Some(Fault::Precondition));
    assert_eq!(bucket.wait(bucket.get("inventory.json", 10)).unwrap(), "two");
    assert_eq!(bucket.wait(bucket.get("inventory.json", 2)).unwrap_err().kind(), ErrorKind::InvalidData);
    assert!(bucket.wait(bucket.probe_conditional_put(".dipper-probe")).unwrap());
    assert!(bucket.wait(bucket.head(".dipper-probe")).unwrap().is_none());
}

#[test]
fn files_go_up_in_parts_with_every_checksum() {
    let server = S3Server::start();
    let directory = tempfile::tempdir().unwrap();
    let part = 5 << 20;
    for checksum in [Checksum::None, Checksum::Md5, Checksum::Sha256, Checksum::Crc64Nvme] {
        let bucket = server.open(BucketSettings { checksum, ..server.settings("f") });
        for len in [0, 1, part, part + 1, 3 * part + 17] {
            let bytes = sample(len);
            let file = directory.path().join("file");
            std::fs::write(&file, &bytes).unwrap();
            let key = format!("{}/{len}", checksum.name());
            bucket.put_file(&key, &file, &any()).unwrap();
            assert!(std::fs::read(server.objects().join("f").join(&key)).unwrap() == bytes, "{key}");
        }
    }
    assert_eq!(server.unfinished(), 0);
}

#[test]
fn an_upload_shows_nothing_until_it_is_completed() {
    let server = S3Server::start();
    let bucket = server.bucket("u");
    let bytes = sample(12 << 20);
    let id = bucket.wait(bucket.begin_upload("o", &any())).unwrap();
    let mut upload = bucket.upload("o", &id, Some(bytes.len() as u64));
    for piece in bytes.chunks(100_001) {
        upload.write(piece).unwrap();
    }
    let uploaded = upload.finish().unwrap();
    assert_eq!((uploaded.parts.len(), uploaded.len), (3, bytes.len() as u64));
    assert!(bucket.wait(bucket.head("o")).unwrap().is_none());
    bucket.wait(bucket.complete_upload("o", &id, &uploaded.parts)).unwrap();
    bucket.wait(bucket.check_len("o", bytes.len() as u64)).unwrap();
    assert!(std::fs::read(server.objects().join("u/o")).unwrap() == bytes);

    let id = bucket.wait(bucket.begin_upload("p", &any())).unwrap();
    let mut upload = bucket.upload("p", &id, Some(0));
    upload.write(&bytes).unwrap();
    upload.finish().unwrap();
    assert!(server.unfinished() > 0);
    bucket.wait(bucket.abort_upload("p", &id)).unwrap();
    assert_eq!(server.unfinished(), 0);
    assert!(bucket.wait(bucket.head("p")).unwrap().is_none());

    let id = bucket.wait(bucket.begin_upload("q", &any())).unwrap();
    let stop = || true;
    let mut upload = bucket.upload("q", &id, None).cancelled_by(&stop);
    let cancelled = bytes.chunks(1 << 20).cycle().take(40).find_map(|piece| upload.write(piece).err()).unwrap();
    assert_eq!(cancelled.kind(), ErrorKind::Interrupted);
}

#[test]
fn links_are_good_as_signed_and_not_otherwise() {
    let server = S3Server::start();
    let bucket = server.bucket("l");
    bucket.wait(bucket.put("o/p.tar", Bytes::from_static(b"content"), PutMode::Overwrite, &any())).unwrap();
    let object_type = ObjectType {
        content_type: Some("application/x-tar".to_owned()),
        content_disposition: Some("attachment; filename=\"p.tar\"".to_owned()),
    };
    let lifetime = std::time::Duration::from_secs(60);
    let link = bucket.wait(bucket.signed_link("o/p.tar", lifetime, &object_type)).unwrap();
    let fetch = |url: &str| {
        let url = url.to_owned();
        bucket.wait(async move {
            let response = reqwest::get(url).await.unwrap();
            let disposition = response.headers().get("content-disposition").cloned();
            (response.status().as_u16(), disposition, response.bytes().await.unwrap())
        })
    };
    let (status, disposition, bytes) = fetch(&link);
    assert_eq!((status, bytes.as_ref()), (200, b"content".as_slice()));
    assert_eq!(disposition.unwrap(), "attachment; filename=\"p.tar\"");
    let (status, ..) = fetch(&link.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"));
    assert_eq!(status, 403);
}

#[test]
fn what_went_wrong_is_told_apart() {
    let server = S3Server::start();
    let get = |settings: BucketSettings| {
        let bucket = server.open(BucketSettings { retries: 0, ..settings });
        let error = bucket.wait(bucket.get("o", 10)).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        (Fault::of(&error), error.kind())
    };
    let settings = || server.settings("x");
    assert_eq!(get(settings()), (Some(Fault::Missing), ErrorKind::NotFound));
    let no_bucket = server.open(BucketSettings { url: format!("s3://{BUCKET}-not/x"), ..settings() });
    let error = no_bucket.wait(no_bucket.list("", false, None)).unwrap_err();
    assert_eq!((Fault::of(&error), error.kind()), (Some(Fault::NoBucket), ErrorKind::Other));
    let wrong = BucketSettings { secret_access_key: Some("another secret".to_owned()), ..settings() };
    assert_eq!(get(wrong), (Some(Fault::Refused), ErrorKind::PermissionDenied));
    // A port that nobody listens on any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = BucketSettings { endpoint: Some(format!("http://{port}")), ..settings() };
    assert_eq!(get(away), (Some(Fault::Unavailable), ErrorKind::TimedOut));
    let bucket = server.bucket("x");
    let unsupported = bucket.wait(bucket.unfinished_uploads("", None)).unwrap_err();
    assert_eq!(unsupported.kind(), ErrorKind::Unsupported);
}
