//! An S3 server in the test process: s3s-fs over a temporary directory, on a port of its own, with credentials that it
//! checks. The other crates' tests share this file. Objects are plain files below [`S3Server::objects`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use dipper_archive::bucket::{Bucket, BucketSettings};
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
    directory: TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

impl S3Server {
    /// s3s-fs with one empty bucket.
    pub(crate) fn start() -> S3Server {
        S3Server::start_with(|service| service)
    }

    /// s3s-fs with something of the test's own in front of it or in its place.
    pub(crate) fn start_with<S: s3s::S3>(wrap: impl FnOnce(s3s_fs::FileSystem) -> S) -> S3Server {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(wrap(s3s_fs::FileSystem::new(directory.path()).unwrap()));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, service));
        S3Server { address, directory, runtime: Some(runtime) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the objects of the bucket are files.
    pub(crate) fn objects(&self) -> PathBuf {
        self.directory.path().join(BUCKET)
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

async fn serve(listener: std::net::TcpListener, service: S3Service) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        let service = service.clone();
        let service = hyper::service::service_fn(move |request| answer(service.clone(), request));
        tokio::spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(connection), service).await;
        });
    }
}

/// The frame for S3 servers answers every success with the same status; a header tells of another one.
pub(crate) const STATUS_HEADER: &str = "x-tests-status";

async fn answer(
    service: S3Service,
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<s3s::Body>, s3s::HttpError> {
    let mut response = hyper::service::Service::call(&service, request).await?;
    if let Some(status) = response.headers_mut().remove(STATUS_HEADER) {
        *response.status_mut() = hyper::StatusCode::from_bytes(status.as_bytes()).unwrap();
    }
    Ok(response)
}
