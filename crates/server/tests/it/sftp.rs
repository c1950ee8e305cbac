//! SFTP with the programs that people use: OpenSSH's `sftp` and `scp`, and `rclone`.

use std::process::{Command, Output};
use std::time::Instant;

use dipper_core::Role;
use dipper_core::secret::Secret;
use tokio::io::AsyncReadExt;

use super::cli_support::{Dipper, names, noise};
use super::sftp_support::{
    CLIENT, CONTRACT, Contractor, Raw, cut_after, failed, is_finished, programs, succeeded, text,
};
use super::support::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_listed_and_fetched_and_handed_in() {
    let contractor = Contractor::start(&[]).await;
    let content = noise(3_000_000);
    contractor.deliver("1-20260101.tar", &content);
    contractor.deliver(".hidden", b"x");
    let told = contractor.sftp("ls -la\nls -l outgoing\nls -la /incoming\nget outgoing/1-20260101.tar got\ndf -h");
    assert!(told.contains("outgoing") && told.contains("incoming") && told.contains("3000000"), "{told}");
    assert!(!told.contains("hidden"), "{told}");
    assert!(std::fs::read(contractor.path("got")).expect("fetched") == content);

    contractor.write("package", &content);
    contractor.sftp("mkdir incoming/new\nput package incoming/new/package.part\nrename incoming/new/package.part incoming/new/package");
    let arrived = contractor.incoming("new/package");
    assert!(std::fs::read(&arrived).expect("arrived") == content && is_finished(&arrived));
    contractor
        .sftp("put -p package incoming/new/other\nrm incoming/new/package\nrm incoming/new/other\nrmdir incoming/new");
    assert!(names(&contractor.incoming("")).is_empty());

    for (batch, told) in [
        ("put package outgoing/package", "read-only"),
        ("rm outgoing/1-20260101.tar", "read-only"),
        ("rename outgoing/1-20260101.tar outgoing/2", "read-only"),
        ("mkdir outgoing/new", "read-only"),
        ("put package package", "into the directory incoming"),
        ("rmdir incoming", "belongs to the area"),
        ("get outgoing/2", "not found"),
        ("ln -s /etc/passwd incoming/link", ""),
        ("ln incoming/a incoming/b", ""),
        ("chown 0 incoming", ""),
    ] {
        let refused = failed(&contractor.batch(contractor.by_key("sftp"), batch)).to_lowercase();
        assert!(refused.contains(told) || refused.contains("permission denied"), "{batch}: {refused}");
    }
    assert_eq!(names(&contractor.outgoing("")), [".hidden", "1-20260101.tar"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn scp_and_rclone_work_as_well() {
    let contractor = Contractor::start(&[]).await;
    let content = noise(2_000_000);
    contractor.deliver("a.tar", &content);
    contractor.write("package", &content);
    let remote = |path: &str| format!("{CLIENT}@127.0.0.1:{path}");
    let scp =
        |from: &str, to: &str| succeeded(&contractor.by_key("scp").args(["-s", from, to]).output().expect("scp runs"));
    scp(&remote("outgoing/a.tar"), "by-scp");
    scp("package", &remote("incoming/by-scp"));
    assert!(std::fs::read(contractor.path("by-scp")).expect("fetched") == content);
    assert!(std::fs::read(contractor.incoming("by-scp")).expect("arrived") == content);
    assert!(is_finished(&contractor.incoming("by-scp")));

    let rclone = |arguments: &[&str]| {
        let mut command = Command::new(programs().join("rclone"));
        command.args(arguments).args(["--config", "/dev/null", "--sftp-host", "127.0.0.1", "--sftp-user", CLIENT]);
        command.arg("--sftp-port").arg(contractor.port.to_string()).arg("--sftp-key-file").arg(contractor.path("key"));
        command.arg("--sftp-known-hosts-file").arg(contractor.path("known_hosts")).current_dir(contractor.home.path());
        succeeded(&command.args(["--multi-thread-cutoff", "1M"]).output().expect("rclone runs"))
    };
    std::fs::create_dir(contractor.path("fetched")).expect("made");
    rclone(&["copy", ":sftp:outgoing", "fetched"]);
    assert!(std::fs::read(contractor.path("fetched/a.tar")).expect("fetched") == content);
    rclone(&["copy", "fetched", ":sftp:incoming/by-rclone"]);
    assert!(std::fs::read(contractor.incoming("by-rclone/a.tar")).expect("arrived") == content);
    assert!(is_finished(&contractor.incoming("by-rclone/a.tar")));
    let listed = rclone(&["lsf", "-R", ":sftp:"]);
    for name in ["outgoing/a.tar", "incoming/by-scp", "incoming/by-rclone/a.tar"] {
        assert!(listed.contains(name), "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_is_gone_on_with() {
    let contractor = Contractor::start(&[]).await;
    let content = noise(12_000_000);
    contractor.deliver("a.tar", &content);
    contractor.write("package", &content);
    let port = cut_after(contractor.port, 5_000_000, u64::MAX).await;
    failed(&contractor.batch(contractor.by_key_at("sftp", port), "get outgoing/a.tar got"));
    let got = std::fs::metadata(contractor.path("got")).expect("begun").len();
    assert!(0 < got && got < 12_000_000, "{got}");
    contractor.sftp("reget outgoing/a.tar got");
    assert!(std::fs::read(contractor.path("got")).expect("fetched") == content);

    let port = cut_after(contractor.port, u64::MAX, 5_000_000).await;
    failed(&contractor.batch(contractor.by_key_at("sftp", port), "put package incoming/package"));
    let arrived = contractor.incoming("package");
    let begun = arrived.metadata().expect("begun").len();
    assert!(0 < begun && begun < 12_000_000 && !is_finished(&arrived), "{begun}");
    contractor.sftp("reput package incoming/package");
    assert!(std::fs::read(&arrived).expect("arrived") == content && is_finished(&arrived));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_sessions_fetch_at_a_time() {
    let contractor = Contractor::start(&[("sftp.max_sessions_per_client", "50")]).await;
    let content = noise(500_000);
    contractor.deliver("a.tar", &content);
    let all: Vec<Output> = std::thread::scope(|scope| {
        let one = |number: usize| {
            let (contractor, get) = (&contractor, format!("get outgoing/a.tar got-{number}"));
            scope.spawn(move || contractor.batch(contractor.by_key("sftp"), &get))
        };
        let running: Vec<_> = (0..50).map(one).collect();
        running.into_iter().map(|one| one.join().expect("no panic")).collect()
    });
    for (number, output) in all.iter().enumerate() {
        succeeded(output);
        assert!(std::fs::read(contractor.path(&format!("got-{number}"))).expect("fetched") == content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_sees_whole_packages_alone() {
    let contractor = Contractor::start(&[]).await;
    let mut raw = contractor.raw().await;
    let mut delivered = 0_usize;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 200 {
        for _ in 0..7.min(200 - delivered) {
            contractor.deliver(&format!("{delivered:03}.tar"), &noise(1000 + delivered * 100));
            delivered += 1;
        }
        let (kind, handle) = raw.ask(11, &[&text("/outgoing")]).await;
        assert_eq!(kind, 102);
        let mut listed = Vec::new();
        loop {
            let (kind, answer) = raw.ask(12, &[&handle]).await;
            if kind != 104 {
                break;
            }
            listed.extend(listed_names(&answer));
        }
        raw.ask(4, &[&handle]).await;
        for name in listed.into_iter().filter(|name| seen.insert(name.clone())) {
            let number: usize = name.strip_suffix(".tar").expect("whole").parse().expect("a number");
            let expected = noise(1000 + number * 100);
            let handle = raw.open(&format!("/outgoing/{name}"), 1).await;
            let (kind, content) = raw.ask(5, &[&handle, &0_u64.to_be_bytes(), &100_000_u32.to_be_bytes()]).await;
            assert_eq!(kind, 103);
            assert!(content[4..] == expected, "{name}");
            raw.ask(4, &[&handle]).await;
        }
    }
}

/// The names in the body of an answer of that kind.
fn listed_names(answer: &[u8]) -> Vec<String> {
    let int = |at: usize| u32::from_be_bytes(answer[at..at + 4].try_into().expect("four bytes")) as usize;
    let (mut at, mut found) = (4, Vec::new());
    for _ in 0..int(0) {
        let name = &answer[at + 4..at + 4 + int(at)];
        found.push(String::from_utf8(name.to_vec()).expect("text"));
        at += 4 + name.len();
        // The long form, then flags, size, owners, permissions and times.
        at += 4 + int(at) + 4 + 8 + 8 + 4 + 8;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_several_contracts_sees_a_directory_of_each_and_no_other() {
    let grants = [(CONTRACT, Role::Read), ("4711", Role::Read), ("4711", Role::Write)];
    let contractor = Contractor::start_with(&[], &grants).await;
    contractor.deliver("a.tar", b"content");
    std::fs::write(contractor.area("7bd2").join("outgoing/secret.tar"), "secret").expect("written");
    contractor.write("package", b"content");
    let told = contractor
        .sftp(&format!("ls -1\nls -1 {CONTRACT}\nget {CONTRACT}/outgoing/a.tar\nput package 4711/incoming/package"));
    assert!(told.contains("4711") && !told.contains("7bd2"), "{told}");
    assert!(is_finished(&contractor.area("4711").join("incoming/package")));
    for batch in [
        "ls 7bd2",
        "get 7bd2/outgoing/secret.tar",
        "get 4711/../../7bd2/outgoing/secret.tar",
        "put package 2d17/incoming/package",
        "put package package",
        "rename 4711/incoming/package 2d17/incoming/package",
    ] {
        failed(&contractor.batch(contractor.by_key("sftp"), batch));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_dropped() {
    let contractor = Contractor::start(&[("sftp.login_seconds", "1"), ("sftp.idle_seconds", "1")]).await;
    let mut silent = tokio::net::TcpStream::connect(("127.0.0.1", contractor.port)).await.expect("connected");
    let mut told = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut told)).await.expect("closed in time");
    assert!(closed.is_ok() && told.starts_with(b"SSH-2.0-Dipper"), "{told:?}");

    let mut raw = contractor.raw().await;
    raw.hung_up().await;
}

/// The answers wait for the client, and not in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_and_does_not_read_costs_little_and_is_dropped() {
    let dipper = Dipper::with_client();
    let secret = Secret::new(std::fs::read_to_string(dipper.path("secret")).expect("a secret"));
    let (mut running, _) = dipper.serve(&[
        ("DIPPER_SFTP_LISTEN", "127.0.0.1:0"),
        ("DIPPER_SFTP_IDLE_SECONDS", "3"),
        ("DIPPER_METRICS_LISTEN", "127.0.0.1:0"),
    ]);
    let metrics = running.line().strip_prefix("metrics at ").expect("an address").trim().to_owned();
    let address = running.line().trim().strip_prefix("SFTP at sftp://").expect("an address").to_owned();
    let port = address.rsplit(':').next().expect("a port").parse().expect("a number");
    std::fs::create_dir_all(dipper.path("data/areas/2d17/outgoing")).expect("made");
    let file = std::fs::File::create(dipper.path("data/areas/2d17/outgoing/a.tar")).expect("made");
    file.set_len(40_000_000).expect("as long");
    let mut raw = Raw::connect(port, CLIENT, &secret).await.expect("signed in");
    let handle = raw.open("/outgoing/a.tar", 1).await;
    let before = resident_bytes(running.child.id());
    for number in 0..400_u32 {
        let offset = (u64::from(number % 150) * 250_000).to_be_bytes();
        let (number, len) = (number.to_be_bytes(), 250_000_u32.to_be_bytes());
        let fields = [number.as_slice(), &handle, &offset, &len];
        // This client sends nothing more either once it has no room for answers.
        if !raw.is_sent(5, &fields.concat()).await {
            break;
        }
    }
    let sessions = || async {
        let shown = reqwest::get(&metrics).await.expect("an answer").text().await.expect("text");
        let line =
            shown.lines().find_map(|line| line.strip_prefix("dipper_sftp_sessions ")).expect("a figure").to_owned();
        (line.parse::<f64>().expect("a number"), resident_bytes(running.child.id()))
    };
    let (began, mut most) = (Instant::now(), before);
    loop {
        let (sessions, resident) = sessions().await;
        most = most.max(resident);
        if sessions == 0.0 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the session has not ended");
    }
    assert!(most - before < 30_000_000, "{} bytes more than before", most - before);
}

fn resident_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_limited_and_the_client_is_told() {
    let contractor = Contractor::start(&[("sftp.max_sessions_per_client", "1")]).await;
    let raw = contractor.raw().await;
    assert!(!raw.another_channel().await);
    let refused = failed(&contractor.batch(contractor.by_key("sftp"), "ls"));
    assert!(refused.contains("too many SFTP sessions"), "{refused}");
    drop(raw);
    let began = Instant::now();
    while !contractor.batch(contractor.by_key("sftp"), "ls").status.success() {
        assert!(began.elapsed() < PATIENCE, "the place did not become free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_lets_a_transfer_end() {
    let contractor = Contractor::start(&[]).await;
    let mut raw = contractor.raw().await;
    let handle = raw.open("/incoming/package", 0x1a).await;
    contractor.server.shutdown.cancel();
    let (code, _) = raw.status(6, &[&handle, &0_u64.to_be_bytes(), &text("content")]).await;
    assert_eq!(code, 0);
    assert_eq!(raw.status(4, &[&handle]).await.0, 0);
    let arrived = contractor.incoming("package");
    raw.hung_up().await;
    let _place = contractor.server.stop().await;
    assert!(is_finished(&arrived) && std::fs::read(&arrived).expect("arrived") == b"content");
}
