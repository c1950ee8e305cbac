//! Fetches and hands in one large file over SFTP, with the same clients, from this server and from OpenSSH's own, in turns.
//! Prints the throughput of each, and the ratio.
//!
//! Needs what `tests/peers/install ssh clients` installs, and root, without which `sshd` lets nobody in.
//! `DIPPER_BENCH_MIB` is the size of the file (1024), `DIPPER_BENCH_CIPHERS` the ciphers, `DIPPER_BENCH_PEERS` the
//! directory of `rclone`, below what the installer prints.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used, clippy::disallowed_methods, missing_docs)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use dipper_core::time::Clock;
use dipper_core::{Grants, Role};
use dipper_server::config::{Settings, Sources};
use dipper_server::serve::Server;
use dipper_server::sftp::parse_public_key;
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 3;
const CIPHERS: &str = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com";

fn main() {
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let mib: usize = setting("DIPPER_BENCH_MIB", "1024").parse().unwrap();
    let peers = setting("DIPPER_BENCH_PEERS", "");
    if !Path::new("/usr/sbin/sshd").exists() {
        println!("there is no sshd to compare with: run tests/peers/install ssh");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    keygen(&home.path().join("key"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (ours, area, shutdown) = runtime.block_on(dipper(home.path()));
    let theirs = Sshd::start(home.path());
    // Both serve the same file, and write to the same file system.
    make_file(&area.join("outgoing/large"), mib);
    let servers = [
        Peer { name: "dipper", port: ours, user: "bench", root: "/".to_owned() },
        Peer { name: "openssh", port: theirs.port, user: "root", root: format!("{}/", area.display()) },
    ];
    for cipher in setting("DIPPER_BENCH_CIPHERS", CIPHERS).split(',') {
        for direction in ["get", "put"] {
            compare(&format!("sftp {direction} {cipher}"), mib, &servers, |peer| {
                sftp(home.path(), peer, cipher, direction, &area)
            });
        }
    }
    if !peers.is_empty() {
        compare("rclone get", mib, &servers, |peer| rclone(home.path(), Path::new(&peers), peer));
    }
    shutdown.cancel();
}

struct Peer {
    name: &'static str,
    port: u16,
    user: &'static str,
    root: String,
}

/// Runs both in turns, and prints the best of each.
fn compare(what: &str, mib: usize, servers: &[Peer; 2], run: impl Fn(&Peer)) {
    let mut best = [f64::MAX; 2];
    for _ in 0..ROUNDS {
        for (server, best) in servers.iter().zip(best.iter_mut()) {
            let began = Instant::now();
            run(server);
            *best = best.min(began.elapsed().as_secs_f64());
        }
    }
    let megabytes = (mib * 1024 * 1024) as f64 / 1e6;
    let [ours, theirs] = best.map(|seconds| megabytes / seconds);
    println!(
        "{what:45} {} {ours:6.0} MB/s   {} {theirs:6.0} MB/s   ratio {:.2}",
        servers[0].name,
        servers[1].name,
        ours / theirs
    );
}

async fn dipper(home: &Path) -> (u16, PathBuf, CancellationToken) {
    let data = home.join("data");
    let overrides =
        [("data_directory", data.to_str().unwrap()), ("server.listen", "127.0.0.1:0"), ("sftp.listen", "127.0.0.1:0")];
    let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let settings = Settings::load(&Sources { overrides, ..Sources::default() }).unwrap();
    let server = Server::open(settings, Clock::system()).await.unwrap();
    let administration = dipper_core::administration::Administration::new(server.installation().clone());
    administration.contract_add("2d17").await.unwrap();
    let grants: Grants = [Role::Read, Role::Write].into_iter().map(|role| ("2d17".to_owned(), role)).collect();
    administration.client_add("bench", &grants).await.unwrap();
    let key = parse_public_key(&std::fs::read_to_string(home.join("key.pub")).unwrap()).unwrap();
    administration.client_key_add("bench", &key).await.unwrap();
    let area = server.installation().data.root().join("areas/2d17");
    for side in ["outgoing", "incoming"] {
        std::fs::create_dir_all(area.join(side)).unwrap();
    }
    let shutdown = CancellationToken::new();
    let serving = server.start_listening(shutdown.clone()).unwrap();
    (serving.sftp_addr.unwrap().port(), area, shutdown)
}

/// OpenSSH's server, with its own settings for nothing but the key and the place.
struct Sshd {
    child: Child,
    port: u16,
}

impl Sshd {
    fn start(home: &Path) -> Sshd {
        keygen(&home.join("host"));
        std::fs::create_dir_all("/run/sshd").unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = [
            format!("Port {port}"),
            "ListenAddress 127.0.0.1".to_owned(),
            format!("HostKey {}", home.join("host").display()),
            format!("AuthorizedKeysFile {}", home.join("key.pub").display()),
            "StrictModes no".to_owned(),
            "PidFile none".to_owned(),
            "PermitRootLogin prohibit-password".to_owned(),
            "Subsystem sftp internal-sftp".to_owned(),
        ];
        std::fs::write(home.join("sshd_config"), settings.join("\n")).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-f"]).arg(home.join("sshd_config")).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed().as_secs() < 10, "sshd does not start");
            std::thread::yield_now();
        }
        Sshd { child, port }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sftp(home: &Path, peer: &Peer, cipher: &str, direction: &str, area: &Path) {
    let batch = match direction {
        "get" => format!("get {}outgoing/large /dev/null", peer.root),
        _ => format!("put {} {}incoming/{}", area.join("outgoing/large").display(), peer.root, peer.name),
    };
    std::fs::write(home.join("batch"), batch).unwrap();
    let mut command = Command::new("sftp");
    command.args(["-q", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    command.args(["-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-c", cipher, "-i"]).arg(home.join("key"));
    command
        .arg("-P")
        .arg(peer.port.to_string())
        .arg("-b")
        .arg(home.join("batch"))
        .arg(format!("{}@127.0.0.1", peer.user));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}: {}", peer.name, String::from_utf8_lossy(&output.stderr));
}

fn rclone(home: &Path, peers: &Path, peer: &Peer) {
    let mut command = Command::new(peers.join("rclone"));
    command.args(["copyto", &format!(":sftp:{}outgoing/large", peer.root)]).arg(home.join("fetched"));
    command.args(["--config", "/dev/null", "--ignore-times", "--sftp-host", "127.0.0.1", "--sftp-user", peer.user]);
    command.args(["--sftp-disable-hashcheck", "--multi-thread-streams", "0", "--sftp-key-file"]).arg(home.join("key"));
    let output = command.arg("--sftp-port").arg(peer.port.to_string()).output().unwrap();
    assert!(output.status.success(), "{}: {}", peer.name, String::from_utf8_lossy(&output.stderr));
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}

/// A file that does not compress, and is in memory when it is asked for.
fn make_file(path: &Path, mib: usize) {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut file = std::fs::File::create(path).unwrap();
    let mut piece = vec![0; 1024 * 1024];
    for _ in 0..mib {
        for word in piece.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&piece).unwrap();
    }
}
