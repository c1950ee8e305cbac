//! An S3 server in the test process: s3s-fs over a temporary directory, on a port of its own, with credentials that it
//! checks, and with faults on demand. The other crates' tests share this file. Objects are plain files below
//! [`S3Server::objects`].
#![allow(dead_code, reason = "not every crate needs all of it")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dipper_archive::bucket::{Bucket, BucketSettings};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;

pub(crate) const ACCESS_KEY: &str = "dipper-tests";
pub(crate) const SECRET_KEY: &str = "a-secret-of-the-tests";
pub(crate) const BUCKET: &str = "dips";

/// A server, which ends with it.
pub(crate) struct S3Server {
    pub(crate) address: SocketAddr,
    pub(crate) faults: Faults,
    directory: TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

/// How a request goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is answered with this status and this word of S3, and has no effect.
    Answer(u16, &'static str),
    /// The connection breaks before it is answered; it has no effect.
    Cut,
    /// The connection breaks before it is answered, but it has its effect.
    LostAnswer,
    /// It has its effect, but the answer names another ETag.
    OtherEtag,
    /// Nothing happens at all.
    Silence,
}

struct Planned {
    method: &'static str,
    /// What the path and query must hold.
    part: &'static str,
    wrong: Wrong,
    times: usize,
}

/// A request as method, path and query, and how it went wrong.
type Seen = (String, Option<Wrong>);

/// What is to go wrong, and what did.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    planned: Arc<Mutex<Vec<Planned>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Faults {
    /// The next `times` requests with this method and this text in path or query go wrong.
    pub(crate) fn plan(&self, method: &'static str, part: &'static str, wrong: Wrong, times: usize) {
        self.planned.lock().unwrap().push(Planned { method, part, wrong, times });
    }

    /// Nothing goes wrong any more.
    pub(crate) fn clear(&self) {
        self.planned.lock().unwrap().clear();
    }

    /// How many requests went wrong.
    pub(crate) fn happened(&self) -> usize {
        self.seen.lock().unwrap().iter().filter(|(_, wrong)| wrong.is_some()).count()
    }

    /// The requests so far, as method, path and query.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(request, _)| request.clone()).collect()
    }

    fn of(&self, request: &Request<Incoming>) -> Option<Wrong> {
        let address = request.uri().path_and_query().map_or("", |address| address.as_str());
        let mut planned = self.planned.lock().unwrap();
        let found = planned
            .iter_mut()
            .find(|fault| fault.times > 0 && request.method() == fault.method && address.contains(fault.part));
        let wrong = found.map(|fault| {
            fault.times = fault.times.saturating_sub(1);
            fault.wrong
        });
        self.seen.lock().unwrap().push((format!("{} {address}", request.method()), wrong));
        wrong
    }
}

impl S3Server {
    /// s3s-fs with one empty bucket.
    pub(crate) fn start() -> S3Server {
        S3Server::start_with(|service| service)
    }

    /// s3s-fs with something of the test's own in front of it or in its place.
    pub(crate) fn start_with<S: s3s::S3>(wrap: impl FnOnce(s3s_fs::FileSystem) -> S) -> S3Server {
        let directory = tempfile::tempdir().unwrap();
        dipper_archive::publish::create_directories(&directory.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(wrap(s3s_fs::FileSystem::new(directory.path()).unwrap()));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Faults::default();
        runtime.spawn(serve(listener, service, faults.clone()));
        S3Server { address, faults, directory, runtime: Some(runtime) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that s3s-fs keeps: the objects and what it notes about them.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the objects of the bucket are files.
    pub(crate) fn objects(&self) -> PathBuf {
        self.directory.path().join(BUCKET)
    }

    /// The keys of all objects, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        let (mut keys, mut left) = (Vec::new(), vec![self.objects()]);
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path);
                } else {
                    keys.push(path.strip_prefix(self.objects()).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        keys.sort_unstable();
        keys
    }

    /// How many parts of unfinished uploads, and uploads themselves, the server holds.
    pub(crate) fn unfinished(&self) -> usize {
        let names = std::fs::read_dir(self.directory.path()).unwrap();
        names.filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().starts_with(".upload")).count()
    }

    /// Settings for the server, impatient as tests are.
    pub(crate) fn settings(&self, prefix: &str) -> BucketSettings {
        settings_at(&self.endpoint(), prefix)
    }

    /// The bucket below a prefix, on the runtime of the server.
    pub(crate) fn bucket(&self, prefix: &str) -> Bucket {
        self.open(self.settings(prefix))
    }

    /// The bucket with settings of the test's own, on the runtime of the server.
    pub(crate) fn open(&self, settings: BucketSettings) -> Bucket {
        Bucket::open(settings, self.runtime.as_ref().unwrap().handle().clone()).unwrap()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A test may end with a request under way, and within a runtime of its own.
            runtime.shutdown_background();
        }
    }
}

/// Settings for the server at an address, which may be a double in front of one.
pub(crate) fn settings_at(endpoint: &str, prefix: &str) -> BucketSettings {
    BucketSettings {
        url: format!("s3://{BUCKET}/{prefix}"),
        endpoint: Some(endpoint.to_owned()),
        region: Some("us-east-1".to_owned()),
        path_style: true,
        allow_http: true,
        access_key_id: Some(ACCESS_KEY.to_owned()),
        secret_access_key: Some(SECRET_KEY.to_owned()),
        part_bytes: 5 << 20,
        request_timeout: Duration::from_secs(20),
        retry_pause: Duration::from_millis(10),
        ..BucketSettings::default()
    }
}

async fn serve(listener: std::net::TcpListener, service: S3Service, faults: Faults) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        let (service, faults) = (service.clone(), faults.clone());
        let answer = service_fn(move |request| answer(service.clone(), faults.clone(), request));
        tokio::spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(connection), answer).await;
        });
    }
}

/// The frame for S3 servers answers every success with the same status; a header tells of another one.
pub(crate) const STATUS_HEADER: &str = "x-tests-status";

/// An error of a service has the connection closed without an answer.
async fn answer(
    service: S3Service,
    faults: Faults,
    request: Request<Incoming>,
) -> Result<Response<s3s::Body>, std::io::Error> {
    let wrong = faults.of(&request);
    let cut = || Err(std::io::ErrorKind::ConnectionReset.into());
    match wrong {
        Some(Wrong::Answer(status, code)) => {
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>A fault.</Message></Error>");
            return Ok(Response::builder().status(status).body(s3s::Body::from(body)).unwrap());
        }
        Some(Wrong::Cut) => return cut(),
        Some(Wrong::Silence) => {
            std::future::pending::<Infallible>().await;
        }
        _ => {}
    }
    let mut response = service.call(request.map(s3s::Body::from)).await.map_err(std::io::Error::other)?;
    if let Some(status) = response.headers_mut().remove(STATUS_HEADER) {
        *response.status_mut() = hyper::StatusCode::from_bytes(status.as_bytes()).unwrap();
    }
    match wrong {
        Some(Wrong::LostAnswer) => return cut(),
        Some(Wrong::OtherEtag) => {
            let other = "\"00000000000000000000000000000000\"".parse().unwrap();
            response.headers_mut().insert("etag", other);
        }
        _ => {}
    }
    Ok(response)
}
