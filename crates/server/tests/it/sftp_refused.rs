//! What an SFTP server must not do, whatever it is asked for.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::sftp_support::{CLIENT, Contractor, failed, is_finished, text};

const READ: u32 = 0x01;
const WRITE: u32 = 0x02;
const APPEND: u32 = 0x04;
const CREATE: u32 = 0x08;
const TRUNCATE: u32 = 0x10;
const EXCLUSIVE: u32 = 0x20;

const NO_ATTRIBUTES: [u8; 4] = [0; 4];

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_shell_and_no_forwarding() {
    let contractor = Contractor::start(&[]).await;
    let host = format!("{CLIENT}@127.0.0.1");
    let ssh = |arguments: &[&str]| {
        let output = contractor.by_key("ssh").args(arguments).output().expect("ssh runs");
        failed(&output)
    };
    assert!(ssh(&[&host, "cat /etc/passwd"]).contains("SFTP alone"));
    assert!(ssh(&["-T", &host]).contains("SFTP alone"));
    ssh(&["-tt", &host]);
    ssh(&["-A", "-X", &host, "true"]);
    ssh(&["-s", &host, "netconf"]);
    ssh(&["-W", "127.0.0.1:22", &host]);
    ssh(&["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22", "-N", &host]);
    // The copying program of old is a command, and refused as one.
    let old =
        contractor.by_key("scp").args(["-O", "key.pub", &format!("{host}:incoming/")]).output().expect("scp runs");
    failed(&old);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_of_the_area_is_reached() {
    let contractor = Contractor::start(&[]).await;
    let areas = contractor.server.installation.data.root().join("areas");
    std::fs::write(contractor.area("7bd2").join("outgoing/secret"), "secret").expect("written");
    std::fs::write(areas.join("secret"), "secret").expect("written");
    contractor.deliver("a.tar", b"content");
    for side in ["outgoing", "incoming"] {
        let side = contractor.area("2d17").join(side);
        symlink("/etc/passwd", side.join("absolute")).expect("linked");
        symlink("../../secret", side.join("relative")).expect("linked");
        symlink("../..", side.join("up")).expect("linked");
        symlink("/proc/self/root", side.join("magic")).expect("linked");
        symlink("a.tar", side.join("within")).expect("linked");
        std::fs::hard_link(areas.join("secret"), side.join("hard")).expect("linked");
    }
    let mut raw = contractor.raw().await;
    let paths = [
        "/etc/passwd",
        "../../../../etc/passwd",
        "/outgoing/../../7bd2/outgoing/secret",
        "/7bd2/outgoing/secret",
        "/proc/self/root/etc/passwd",
        "/outgoing/absolute",
        "/outgoing/relative",
        "/outgoing/up/secret",
        "/outgoing/up/7bd2/outgoing/secret",
        "/outgoing/magic/etc/passwd",
        "/outgoing/hard",
        "/incoming/absolute",
        "/incoming/relative",
        "/incoming/up/secret",
        "/incoming/hard",
        "/incoming/magic/etc/passwd",
        "/outgoing/within",
        "/outgoing/a.tar/..%2f",
        "/outgoing//dev/null",
        "/outgoing/\0",
        "/outgoing/a.tar\0",
        "/incoming/a\nb",
        "/outgoing/.hidden",
    ];
    for path in paths {
        for flags in [READ, READ | WRITE, WRITE | CREATE | TRUNCATE, WRITE | APPEND] {
            if flags & CREATE != 0 && path == "/outgoing/../../7bd2/outgoing/secret" {
                continue;
            }
            let (code, told) = raw.status(3, &[&text(path), &flags.to_be_bytes(), &NO_ATTRIBUTES]).await;
            assert!(code == 2 || code == 3 || code == 4, "{path:?} with {flags}: {code} {told}");
            assert!(!told.contains(areas.to_str().expect("text")), "{told}");
        }
        for kind in [7, 17, 11, 13, 15] {
            let (code, told) = raw.status(kind, &[&text(path)]).await;
            assert!(code != 0, "{path:?} with request {kind}: {told}");
        }
        let size = [&1_u32.to_be_bytes()[..], &0_u64.to_be_bytes()].concat();
        assert_ne!(raw.status(9, &[&text(path), &size]).await.0, 0, "{path:?}");
        assert_ne!(raw.status(18, &[&text(path), &text("/incoming/taken")]).await.0, 0, "{path:?}");
        assert_ne!(
            raw.status(200, &[&text("posix-rename@openssh.com"), &text(path), &text("/incoming/taken")]).await.0,
            0
        );
    }
    for (from, to) in
        [("/incoming/a", "/etc/passwd"), ("/etc/passwd", "/incoming/link"), ("/outgoing/a.tar", "/incoming/hard-2")]
    {
        assert_eq!(raw.status(20, &[&text(from), &text(to)]).await.0, 8);
        assert_eq!(raw.status(200, &[&text("hardlink@openssh.com"), &text(from), &text(to)]).await.0, 8);
    }
    assert_eq!(raw.status(19, &[&text("/outgoing/absolute")]).await.0, 8);
    assert_eq!(std::fs::read(areas.join("secret")).expect("there"), b"secret");
    assert_eq!(std::fs::read(areas.join("7bd2/outgoing/secret")).expect("there"), b"secret");
    let listed = contractor.sftp("ls -la outgoing\nls -la incoming");
    for name in ["absolute", "relative", "up", "magic", "within", "hard"] {
        assert!(!listed.contains(&format!(" {name}")), "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_no_program_sends_are_answered_or_end_the_connection() {
    let contractor = Contractor::start(&[("sftp.max_file_bytes", "1000000")]).await;
    contractor.deliver("a.tar", b"content");
    let mut raw = contractor.raw().await;
    // Handles that were never given out, of every length.
    for handle in [text(""), text("abcd"), text("a longer handle than any"), vec![0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]] {
        for kind in [4, 8, 12] {
            assert_eq!(raw.status(kind, &[&handle]).await.0, 4);
        }
        let zero = 0_u64.to_be_bytes();
        assert_eq!(raw.status(5, &[&handle, &zero, &100_u32.to_be_bytes()]).await.0, 4);
        assert_eq!(raw.status(6, &[&handle, &zero, &text("x")]).await.0, 4);
    }
    assert_eq!(raw.status(99, &[]).await.0, 8);
    assert_eq!(raw.status(200, &[&text("copy-data")]).await.0, 8);
    let handle = raw.open("/outgoing/a.tar", READ).await;
    let far = u64::MAX.to_be_bytes();
    assert_ne!(raw.status(5, &[&handle, &far, &100_u32.to_be_bytes()]).await.0, 0);
    assert_eq!(raw.status(6, &[&handle, &0_u64.to_be_bytes(), &text("x")]).await.0, 3);
    assert_eq!(raw.status(10, &[&handle, &[1_u32.to_be_bytes().as_slice(), &0_u64.to_be_bytes()].concat()]).await.0, 3);
    let (kind, answer) = raw.ask(5, &[&handle, &0_u64.to_be_bytes(), &u32::MAX.to_be_bytes()]).await;
    assert_eq!((kind, &answer[4..]), (103, b"content".as_slice()));

    let handle = raw.open("/incoming/large", WRITE | CREATE).await;
    for offset in [999_999_u64, 1 << 40, u64::MAX - 1, u64::MAX] {
        let (code, told) = raw.status(6, &[&handle, &offset.to_be_bytes(), &text("two")]).await;
        assert!(code == 4 && told.contains("1000000 bytes"), "{code} {told}");
    }
    let size = [1_u32.to_be_bytes().as_slice(), &(1_u64 << 40).to_be_bytes()].concat();
    assert_eq!(raw.status(10, &[&handle, &size]).await.0, 4);
    assert_eq!(
        raw.status(3, &[&text("/incoming/large"), &(WRITE | CREATE | EXCLUSIVE).to_be_bytes(), &NO_ATTRIBUTES]).await.0,
        4
    );
    // Handles are bounded.
    let mut refused = 0;
    for _ in 0..300 {
        let (kind, _) = raw.ask(3, &[&text("/outgoing/a.tar"), &READ.to_be_bytes(), &NO_ATTRIBUTES]).await;
        refused += usize::from(kind == 101);
    }
    assert!(refused >= 40, "{refused}");
    // A packet without end.
    raw.send_raw(&[0x7f, 0xff, 0xff, 0xff, 5]).await;
    raw.hung_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_modes_of_files_say_what_is_complete_and_clients_cannot_choose_them() {
    let contractor = Contractor::start(&[]).await;
    let mut raw = contractor.raw().await;
    let path = contractor.incoming("package");
    let handle = raw.open("/incoming/package", WRITE | CREATE | TRUNCATE).await;
    let permissions = [4_u32.to_be_bytes(), 0o777_u32.to_be_bytes()].concat();
    assert_eq!(raw.status(10, &[&handle, &permissions]).await.0, 0);
    assert_eq!(raw.status(9, &[&text("/incoming/package"), &permissions]).await.0, 0);
    assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(raw.status(6, &[&handle, &3_u64.to_be_bytes(), &text("tent")]).await.0, 0);
    assert_eq!(raw.status(6, &[&handle, &0_u64.to_be_bytes(), &text("con")]).await.0, 0);
    assert_eq!(raw.status(200, &[&text("fsync@openssh.com"), &handle]).await.0, 0);
    let times = [8_u32.to_be_bytes(), 1_u32.to_be_bytes(), 1_000_000_000_u32.to_be_bytes()].concat();
    assert_eq!(raw.status(10, &[&handle, &times]).await.0, 0);
    // A second handle keeps it unfinished.
    let other = raw.open("/incoming/package", WRITE).await;
    assert_eq!(raw.status(4, &[&handle]).await.0, 0);
    assert!(!is_finished(&path));
    assert_eq!(raw.status(4, &[&other]).await.0, 0);
    assert!(is_finished(&path));
    assert_eq!(
        (std::fs::read(&path).expect("a file"), path.metadata().expect("a file").mtime()),
        (b"content".to_vec(), 1_000_000_000)
    );
    // Appending goes to the end, whatever the offset says.
    let handle = raw.open("/incoming/package", WRITE | APPEND).await;
    assert!(!is_finished(&path), "it was opened again");
    assert_eq!(raw.status(6, &[&handle, &0_u64.to_be_bytes(), &text(" more")]).await.0, 0);
    drop(raw);
    let mut raw = contractor.raw().await;
    assert_eq!(std::fs::read(&path).expect("a file"), b"content more");
    // Who gives an unfinished file its name says that it is complete.
    let began = std::time::Instant::now();
    let (mut from, mut to) = ("/incoming/package", "/incoming/renamed");
    loop {
        assert_eq!(raw.status(18, &[&text(from), &text(to)]).await.0, 0);
        if is_finished(&contractor.incoming(to.strip_prefix("/incoming/").expect("inside"))) {
            break;
        }
        // The connection that was cut off is still being ended.
        assert!(began.elapsed() < super::support::PATIENCE, "it was never finished");
        std::mem::swap(&mut from, &mut to);
    }
}
