//! The bucket client while the server, or the way there, misbehaves.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use dipper_archive::bucket::{Bucket, BucketSettings, Checksum, Fault, ObjectType, PutMode};

use crate::s3::{S3Server, Wrong, settings_at};

fn any() -> ObjectType {
    ObjectType::default()
}

fn upload(bucket: &Bucket, bytes: &[u8]) -> std::io::Result<()> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, bytes).unwrap();
    bucket.put_file("o", &file, &any())
}

#[test]
fn an_upload_outlives_what_passes() {
    let mut bytes = vec![7; 5 << 20];
    bytes.extend([8, 9]);
    let table = [
        ("POST", "uploads=", Wrong::Answer(503, "SlowDown")),
        ("PUT", "partNumber=2", Wrong::Cut),
        ("PUT", "partNumber=2", Wrong::LostAnswer),
        ("PUT", "partNumber=1&", Wrong::Answer(500, "InternalError")),
        ("PUT", "partNumber=2", Wrong::Answer(400, "RequestTimeout")),
        ("PUT", "partNumber=2", Wrong::Answer(400, "BadDigest")),
        ("PUT", "partNumber=2", Wrong::Silence),
        ("POST", "uploadId=", Wrong::Answer(500, "InternalError")),
        // Amazon's way of saying that completing failed after it had begun to answer.
        ("POST", "uploadId=", Wrong::Answer(200, "InternalError")),
        ("HEAD", "/o", Wrong::Cut),
    ];
    let outlives = &|(method, part, wrong): (&'static str, &'static str, Wrong)| {
        let server = S3Server::start();
        let patience = Duration::from_secs(2);
        let bucket = server.open(BucketSettings { request_timeout: patience, ..server.settings("f") });
        server.faults.plan(method, part, wrong, 2);
        upload(&bucket, &bytes).unwrap_or_else(|error| panic!("{method} {part} {wrong:?}: {error}"));
        assert_eq!(server.faults.happened(), 2, "{method} {part} {wrong:?}");
        assert!(std::fs::read(server.objects().join("f/o")).unwrap() == bytes, "{method} {part} {wrong:?}");
        assert_eq!(server.unfinished(), 0, "{method} {part} {wrong:?}");
    };
    std::thread::scope(|scope| {
        for row in table {
            scope.spawn(move || outlives(row));
        }
    });
}

#[test]
fn an_upload_that_cannot_come_about_leaves_nothing() {
    let bytes = vec![7; (5 << 20) + 1];
    let table = [
        ("POST", "uploads=", Wrong::Answer(403, "AccessDenied"), Fault::Refused),
        ("PUT", "partNumber=2", Wrong::Cut, Fault::Unavailable),
        ("PUT", "partNumber=2", Wrong::Answer(403, "AccessDenied"), Fault::Refused),
        ("PUT", "partNumber=2", Wrong::OtherEtag, Fault::Checksum),
        ("POST", "uploadId=", Wrong::Answer(200, "InternalError"), Fault::Unavailable),
        ("POST", "uploadId=", Wrong::Answer(400, "InvalidPart"), Fault::Other),
    ];
    for (method, part, wrong, fault) in table {
        let server = S3Server::start();
        let settings = BucketSettings { checksum: Checksum::Md5, retries: 2, ..server.settings("f") };
        let bucket = server.open(settings);
        server.faults.plan(method, part, wrong, usize::MAX);
        let error = upload(&bucket, &bytes).unwrap_err();
        assert_eq!(Fault::of(&error), Some(fault), "{method} {part} {wrong:?}: {error}");
        assert!(error.to_string().contains("s3://dips/f/o"), "{error}");
        assert!(server.keys().is_empty(), "{method} {part} {wrong:?}");
        assert_eq!(server.unfinished(), 0, "{method} {part} {wrong:?}");
    }
}

/// A conditional write whose answer was lost meets its own work when it is tried again.
#[test]
fn a_lost_answer_does_not_turn_a_write_into_a_conflict() {
    let server = S3Server::start();
    let bucket = server.bucket("c");
    let put = |text: &'static str| {
        bucket.wait(bucket.put("o", Bytes::from_static(text.as_bytes()), PutMode::IfAbsent, &any()))
    };
    server.faults.plan("PUT", "/o", Wrong::LostAnswer, 1);
    put("one").unwrap();
    assert_eq!(Fault::of(&put("two").unwrap_err()), Some(Fault::Precondition));
    assert_eq!(bucket.wait(bucket.get("o", 10)).unwrap(), "one");
}

#[test]
fn a_silent_server_is_given_up() {
    let server = S3Server::start();
    let settings = BucketSettings { request_timeout: Duration::from_millis(100), retries: 1, ..server.settings("f") };
    let bucket = server.open(settings);
    server.faults.plan("GET", "", Wrong::Silence, usize::MAX);
    let error = bucket.wait(bucket.list("", false, None)).unwrap_err();
    assert_eq!(Fault::of(&error), Some(Fault::Unavailable));
    assert!(error.to_string().contains("silent"), "{error}");
    assert_eq!(server.faults.happened(), 2);
}

/// A server that breaks the connection off in the middle of an object, and then answers the rest.
#[test]
fn a_reader_goes_on_where_the_connection_broke() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let answers = [
            "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 10\r\n\r\n0123",
            "HTTP/1.1 206 Partial Content\r\nETag: \"e\"\r\nContent-Length: 6\r\n\r\n456789",
        ];
        answers.map(|answer| {
            let (mut connection, _) = listener.accept().unwrap();
            let lines = BufReader::new(connection.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            connection.write_all(answer.as_bytes()).unwrap();
            head
        })
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bucket = Bucket::open(settings_at(&endpoint, "r"), runtime.handle().clone()).unwrap();
    let mut text = String::new();
    bucket.reader("o", 0..u64::MAX).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "0123456789");
    let [first, second] = server.join().unwrap();
    assert!(!first.iter().any(|line| line.starts_with("range")), "{first:?}");
    assert!(second.iter().any(|line| line == "range: bytes=4-9"), "{second:?}");
    // Another object under the same key must not be sewn to the first one's beginning.
    assert!(second.iter().any(|line| line == "if-match: \"e\""), "{second:?}");
}
