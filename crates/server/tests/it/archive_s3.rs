//! The program with its archive in a bucket: every command on it, damage below the server, two machines at once, and
//! `kill -9` while it uploads.

use std::path::PathBuf;
use std::time::Duration;

use dipper_archive::publish;
use rustix::process::Signal;

use crate::cli_support::{Dipper, Ran, Running, noise, run, wait_until};
use crate::glacier::Glacier;
use crate::peers;
use crate::s3::{ACCESS_KEY, BUCKET, SECRET_KEY};

const PREFIX: &str = "r";

/// A data directory whose configuration names the bucket, with a contract and a client.
fn machine(server: &Glacier) -> Dipper {
    let mut dipper = Dipper::new();
    dipper.no_proxy = Some("127.0.0.1");
    dipper.write("key", SECRET_KEY.as_bytes());
    let configuration = format!(
        "[archive]\nroot = \"s3://{BUCKET}/{PREFIX}\"\n\
         [archive_s3]\nendpoint = \"{}\"\npath_style = true\nallow_http = true\nretries = 2\n\
         access_key_id = \"{ACCESS_KEY}\"\nsecret_access_key_file = \"{}\"\n\
         [worker]\nlease_seconds = 2\nheartbeat_seconds = 1\n",
        server.server.endpoint(),
        dipper.path("key").display()
    );
    dipper.write("data/dipper.toml", configuration.as_bytes());
    dipper.json(&["contract", "add", "2d17"]);
    let added = dipper.json(&["client", "add", "c1", "--contract", "2d17", "--role", "read"]);
    dipper.write("secret", added["clientSecret"].as_str().expect("a secret").as_bytes());
    dipper
}

/// The objects of the bucket whose key ends so.
fn objects(server: &Glacier, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![server.objects(PREFIX)];
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
    }
    found
}

fn ingest(dipper: &Dipper, source: &str, object_id: &str) -> Ran {
    dipper.run(&["--json", "ingest", source, "--contract", "2d17", "--object-id", object_id])
}

#[test]
fn every_command_works_on_a_bucket() {
    let server = Glacier::start();
    let dipper = machine(&server);
    let content = noise(7_000_000);
    let archive_id = dipper.ingest("foto", &content);
    assert_eq!(dipper.json(&["package", "show", &archive_id])["version"], 1);
    let verified = dipper.json(&["verify"]);
    assert_eq!((&verified["objects"], &verified["invalidObjects"]), (&1.into(), &0.into()), "{verified}");

    let (running, url) = dipper.serve(&[]);
    let ordered = run(dipper.client(&url, &["order", &archive_id, "--wait", "--json"])).json(0);
    let id = ordered["disseminationId"].as_str().expect("an id").to_owned();
    run(dipper.client(&url, &["fetch", &id, "--json", "--output", "out/"])).json(0);
    let tar = std::fs::read(dipper.path("out/foto.tar")).expect("a file");
    assert!(tar.windows(content.len().min(4096)).any(|bytes| bytes == &content[..4096]));
    assert_eq!(running.stop(Signal::TERM).code, 0);

    // A machine that has nothing but the bucket.
    let other = machine(&server);
    assert_eq!(other.json(&["index"])["added"], 1);
    assert_eq!(other.json(&["package", "show", &archive_id])["objectId"], "foto");

    let stored = objects(&server, "/file.bin");
    let mut bytes = std::fs::read(&stored[0]).expect("content");
    bytes[5_000_000] ^= 1;
    publish::write_file(&stored[0], &bytes).expect("written");
    let ran = dipper.run(&["verify"]);
    assert!(ran.code == 3 && ran.stdout.contains("E092"), "{ran:?}");
}

#[test]
fn of_two_machines_that_ingest_the_same_object_neither_loses_a_version() {
    const EACH: usize = 3;
    let server = Glacier::start();
    let machines = [machine(&server), machine(&server)];
    std::thread::scope(|scope| {
        for (number, dipper) in machines.iter().enumerate() {
            scope.spawn(move || {
                for version in 0..EACH {
                    let source = format!("source {version}");
                    dipper.write(&format!("{source}/file"), format!("machine {number}, {version}").as_bytes());
                    loop {
                        let ran = ingest(dipper, &source, "shared");
                        if ran.code == 0 {
                            break;
                        }
                        // Another was faster.
                        assert_eq!(ran.code, 6, "{ran:?}");
                    }
                }
            });
        }
    });
    for dipper in &machines {
        assert_eq!(dipper.json(&["index"])["objects"], 1);
        let packages = dipper.json(&["package", "list"]);
        assert!(packages.to_string().contains(&format!("\"version\":{}", 2 * EACH)), "{packages}");
        let verified = dipper.json(&["verify"]);
        assert_eq!((&verified["invalidObjects"], verified["problems"].as_array().map(Vec::len)), (&0.into(), Some(0)));
    }
    let mut stored: Vec<String> =
        objects(&server, "/file").iter().map(|path| std::fs::read_to_string(path).expect("text")).collect();
    stored.sort();
    let expected: Vec<String> =
        (0..2).flat_map(|number| (0..EACH).map(move |version| format!("machine {number}, {version}"))).collect();
    assert_eq!(stored, expected);
}

#[test]
fn an_ingest_that_is_killed_at_any_request_goes_on_and_leaves_nothing() {
    let server = Glacier::start();
    let dipper = machine(&server);
    server.delay(Duration::from_millis(5));
    for round in 0..6_u64 {
        let source = format!("source {round}");
        for file in 0..8 {
            dipper.write(&format!("{source}/file {file}"), format!("{round} {file}").as_bytes());
        }
        let before = server.requests("PUT");
        let arguments = ["ingest", &source, "--contract", "2d17", "--object-id", "p"];
        let running = Running::start(dipper.command(&arguments));
        wait_until("a request", || server.requests("PUT") > before + round * 2);
        running.stop(Signal::KILL);
        let ran = ingest(&dipper, &source, "p");
        assert_eq!(ran.json(0)["version"], round + 1, "{ran:?}");
    }
    server.delay(Duration::ZERO);
    let verified = dipper.json(&["verify"]);
    assert_eq!((&verified["invalidObjects"], verified["problems"].as_array().map(Vec::len)), (&0.into(), Some(0)));
    assert_eq!(objects(&server, "").iter().filter(|path| path.to_string_lossy().contains("/content/")).count(), 6 * 8);
    let declarations = objects(&server, "0=ocfl_object_1.1");
    let object = declarations[0].parent().expect("an object").to_owned();
    peers::ocfl_validate(&[object], &[]);
}

#[test]
fn a_bucket_that_cannot_be_used_is_told() {
    let server = Glacier::start();
    let dipper = machine(&server);
    let table = [
        ("DIPPER_ARCHIVE_ROOT", "s3://x", "archive.root"),
        ("DIPPER_ARCHIVE_ROOT", "ftp://server/path", "archive.root"),
        ("DIPPER_ARCHIVE_ROOT", "s3://nobody-has-this/p", "NoSuchBucket"),
        ("DIPPER_ARCHIVE_S3_ENDPOINT", "http://127.0.0.1:1", "the storage root"),
        ("DIPPER_ARCHIVE_S3_CONDITIONAL_PUT", "perhaps", "archive_s3.conditional_put"),
        ("DIPPER_ARCHIVE_S3_ALLOW_HTTP", "false", "archive_s3.endpoint"),
    ];
    for (variable, value, expected) in table {
        let mut command = dipper.command(&["verify"]);
        command.env(variable, value).env("DIPPER_ARCHIVE_S3_RETRIES", "0");
        let ran = run(command);
        assert!(ran.code != 0 && ran.stderr.contains(expected), "{variable}={value}: {ran:?}");
        assert!(!ran.stderr.contains(SECRET_KEY), "{ran:?}");
    }
}
