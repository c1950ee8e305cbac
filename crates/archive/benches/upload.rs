//! Uploads a package of one large file to a running S3 server while verifying and hashing it, next to other people's
//! clients that upload the finished tar to the same server, in turns.
//!
//! `DIPPER_BENCH_S3` names the server (`http://127.0.0.1:8333`), `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` its key,
//! and `DIPPER_BENCH_PEERS` the directory of `aws`, `rclone` and `s5cmd`, below what `tests/peers/install seaweedfs clients` prints.
//! `DIPPER_BENCH_MIB` is the size of the file (1024). Without a server there is nothing to measure, and that is said.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used, clippy::disallowed_methods, missing_docs)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use dipper_archive::bucket::{Bucket, BucketSettings, Checksum, ObjectType};
use dipper_archive::digest::{Algorithm, Hasher};
use dipper_archive::package::{Content, Control, Form, Layout, Options, prepare};
use dipper_archive::storage::LocalStorage;

const BUCKET: &str = "dipper-bench";
const ROUNDS: usize = 3;

fn main() {
    let Ok(endpoint) = std::env::var("DIPPER_BENCH_S3") else {
        println!("no server is named in DIPPER_BENCH_S3, so there is nothing to measure");
        return;
    };
    let peers = std::env::var("DIPPER_BENCH_PEERS").unwrap_or_default();
    let mib = std::env::var("DIPPER_BENCH_MIB").ok().and_then(|size| size.parse().ok()).unwrap_or(1024);
    let directory = tempfile::tempdir().unwrap();
    let layout = package(directory.path(), mib);
    let storage = LocalStorage::open(directory.path()).unwrap();
    let tar = directory.path().join("p.tar");
    let mut file = std::fs::File::create(&tar).unwrap();
    let mut write = |piece: &[u8]| std::io::Write::write_all(&mut file, piece);
    let options = Options::new(Algorithm::Md5);
    prepare(&layout, &storage, &options, Control::default(), Some(&mut write)).unwrap();

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bucket = |checksum| {
        let settings = BucketSettings {
            url: format!("s3://{BUCKET}/out"),
            endpoint: Some(endpoint.clone()),
            path_style: true,
            allow_http: true,
            checksum,
            ..BucketSettings::default()
        };
        Bucket::open(settings, runtime.handle().clone()).unwrap()
    };
    let peers = Path::new(&peers);
    let source = tar.to_str().unwrap();
    let target = |name: &str| format!("s3://{BUCKET}/peers/{name}");
    let rclone = format!(":s3,provider=Other,env_auth=true,endpoint='{endpoint}':{BUCKET}/peers/rclone");
    let run = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(peers.join(name));
        command.args(arguments).env("AWS_REGION", "us-east-1").stdout(Stdio::null());
        move || command.status().is_ok_and(|status| status.success()).then_some(()).ok_or(())
    };
    type Upload<'a> = (&'a str, Box<dyn FnMut() -> Result<(), ()> + 'a>);
    let ours = |checksum| {
        let (bucket, layout, storage, options) = (bucket(checksum), &layout, &storage, &options);
        Box::new(move || {
            send(&bucket, layout, storage, options);
            Ok(())
        })
    };
    let mut uploads: Vec<Upload<'_>> = vec![
        ("dipper, sha256", ours(Checksum::Sha256)),
        ("dipper, crc64nvme", ours(Checksum::Crc64Nvme)),
        ("dipper, none", ours(Checksum::None)),
        ("aws", Box::new(run("aws", &["--endpoint-url", &endpoint, "s3", "cp", source, &target("aws")]))),
        ("s5cmd", Box::new(run("s5cmd", &["--endpoint-url", &endpoint, "cp", source, &target("s5cmd")]))),
        ("rclone", Box::new(run("rclone", &["copyto", "--ignore-times", source, &rclone]))),
    ];
    let mut best = vec![f64::INFINITY; uploads.len()];
    for _ in 0..ROUNDS {
        for ((name, upload), best) in uploads.iter_mut().zip(&mut best) {
            let began = Instant::now();
            match upload() {
                Ok(()) => *best = best.min(began.elapsed().as_secs_f64()),
                Err(()) => println!("{name} is not there, or failed"),
            }
        }
    }
    let peer = best.iter().skip(3).copied().fold(f64::INFINITY, f64::min);
    println!("one file of {mib} MiB, the best of {ROUNDS}; bound: 0.80 of the best peer's throughput");
    for ((name, _), seconds) in uploads.iter().zip(best) {
        let speed = mib as f64 * 1.048_576 / seconds;
        println!("{name:>20} {seconds:7.2} s {speed:7.0} MB/s, {:.2} of the best peer", peer / seconds);
    }
}

/// A package of one file whose bytes do not compress.
fn package(directory: &Path, mib: u64) -> Layout {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take((mib << 20) as usize / 8)
    .flatten()
    .collect();
    std::fs::write(directory.join("large.bin"), &bytes).unwrap();
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(&bytes);
    let content = Content {
        logical_path: "large.bin".to_owned(),
        size: bytes.len() as u64,
        digest: hasher.finish(),
        algorithm: Algorithm::Sha512,
        location: "large.bin".to_owned(),
    };
    Layout::new("p", Form::Plain, vec![content], 0).unwrap()
}

/// As the step does it: nothing becomes an object before all of it has matched.
fn send(bucket: &Bucket, layout: &Layout, storage: &LocalStorage, options: &Options) {
    let id = bucket.wait(bucket.begin_upload("p.tar", &ObjectType::default())).unwrap();
    let mut upload = bucket.upload("p.tar", &id, Some(layout.len()));
    let mut write = |piece: &[u8]| upload.write(piece);
    prepare(layout, storage, options, Control::default(), Some(&mut write)).unwrap();
    let uploaded = upload.finish().unwrap();
    bucket.wait(bucket.complete_upload("p.tar", &id, &uploaded.parts)).unwrap();
    bucket.wait(bucket.check_len("p.tar", uploaded.len)).unwrap();
}
