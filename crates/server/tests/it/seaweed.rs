//! SeaweedFS, an S3 server made for production, in a directory of its own.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::peers;

pub(crate) const ACCESS_KEY: &str = "dipper";
pub(crate) const SECRET_KEY: &str = "dipper-secret";

/// How long the server may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server that can go away and come back, on the same address and with the same data.
pub(crate) struct Seaweed {
    directory: tempfile::TempDir,
    ports: [u16; 8],
    running: Option<Child>,
}

impl Seaweed {
    /// A running server with one bucket.
    pub(crate) fn start(bucket: &str) -> Seaweed {
        let directory = tempfile::tempdir().expect("a directory");
        let identity = serde_json::json!({ "identities": [{
            "name": "dipper",
            "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }] });
        let file = directory.path().join("identities.json");
        dipper_archive::publish::write_file(&file, identity.to_string().as_bytes()).expect("written");
        let mut seaweed = Seaweed { directory, ports: free_ports(), running: None };
        seaweed.come_back();
        let made = seaweed.request(&["-X", "PUT"], bucket);
        assert!(made.status.success(), "{}", peers::told(&made));
        seaweed
    }

    /// Where S3 clients find it.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[3])
    }

    /// Starts the server, and waits until it answers.
    pub(crate) fn come_back(&mut self) {
        let [master, volume, filer, s3, master_grpc, volume_grpc, filer_grpc, s3_grpc] = self.ports;
        let ports = [
            ("master.port", master),
            ("volume.port", volume),
            ("filer.port", filer),
            ("s3.port", s3),
            ("master.port.grpc", master_grpc),
            ("volume.port.grpc", volume_grpc),
            ("filer.port.grpc", filer_grpc),
            ("s3.port.grpc", s3_grpc),
            // Interfaces that nobody asks for.
            ("s3.port.iceberg", 0),
            ("s3.port.lance", 0),
        ];
        // The shell ends the server when its input ends: also when the test is killed.
        let script = r#""$@" >weed.log 2>&1 & server=$!; read -r _; kill "$server"; wait "$server""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(peers::install(&["seaweedfs"]).join("weed")).arg("server");
        command.args(["-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-filer", "-s3"]);
        command.args([
            "-s3.config=identities.json",
            "-s3.iam=false",
            "-master.volumeSizeLimitMB=256",
            "-volume.max=40",
        ]);
        command.args(ports.iter().map(|(name, port)| format!("-{name}={port}")));
        command.current_dir(self.directory.path()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(command.spawn().expect("the shell runs"));
        let began = Instant::now();
        while !self.answers() {
            assert!(began.elapsed() < PATIENCE, "{}", self.log());
        }
    }

    /// Ends the server. Its data stay.
    pub(crate) fn go_away(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        drop(running.stdin.take());
        running.wait().expect("it ends");
    }

    /// Whether the content of an object can be had.
    pub(crate) fn reads(&self, path: &str) -> bool {
        self.request(&["--max-time", "5"], path).status.success()
    }

    fn answers(&self) -> bool {
        let Some(address) = self.endpoint().strip_prefix("http://").and_then(|address| address.parse().ok()) else {
            return false;
        };
        // The listener comes before the storage behind it; a signed question goes through all of it.
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
            && self.request(&["--max-time", "5"], "").status.success()
    }

    /// A signed request to the server.
    fn request(&self, arguments: &[&str], path: &str) -> std::process::Output {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--noproxy", "*"]);
        command.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{ACCESS_KEY}:{SECRET_KEY}")]);
        command.args(arguments).arg(format!("{}/{path}", self.endpoint()));
        command.output().expect("curl runs")
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(Path::join(self.directory.path(), "weed.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        self.go_away();
    }
}

/// Ports that were free a moment ago: the server cannot choose them itself.
fn free_ports() -> [u16; 8] {
    let listeners = [(); 8].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.each_ref().map(|listener| listener.local_addr().expect("an address").port())
}
