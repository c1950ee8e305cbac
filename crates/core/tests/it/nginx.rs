//! nginx as a depositor may run it: files behind a password file. What leads to it is a stretch of wire in this process,
//! which can be cut.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use super::gateway::{PASSWORD, USERNAME};
use crate::peers;

/// Runs the program until this process ends, however it does.
const SCRIPT: &str = r#"trap '' INT TERM HUP; "$0" "$@" & server=$!; read -r _; kill "$server"; wait "$server""#;

/// The server. `/files/` has the files, `/moved/` leads there, `/elsewhere/` to another origin that asks for nothing, and
/// `/slow/` gives them slowly, as `/half/` does after the first twelve million bytes.
pub(crate) struct Nginx {
    directory: TempDir,
    address: String,
    child: Child,
    /// After how many bytes the next connection is cut; 0 for never.
    cut: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Nginx {
    pub(crate) async fn start() -> Nginx {
        peers::install(&["nginx"]);
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_owned();
        std::fs::create_dir(root.join("files")).unwrap();
        std::fs::write(root.join("passwords"), format!("{USERNAME}:{{PLAIN}}{PASSWORD}\n")).unwrap();
        let cut = Arc::new(AtomicU64::new(0));
        let (home, first) = wire(root.join("home"), Arc::clone(&cut)).await;
        let (elsewhere, second) = wire(root.join("elsewhere"), Arc::default()).await;
        std::fs::write(root.join("nginx.conf"), configuration(&root, &elsewhere)).unwrap();
        let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, program])
            .arg("-p")
            .arg(&root)
            .arg("-c")
            .arg(root.join("nginx.conf"))
            .arg("-e")
            .arg(root.join("error.log"));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while UnixStream::connect(root.join("elsewhere")).await.is_err() {
            tokio::task::yield_now().await;
        }
        Nginx { directory, address: home, child, cut, tasks: vec![first, second] }
    }

    /// Has a file.
    pub(crate) fn has(&self, path: &str, bytes: &[u8]) {
        let path = self.directory.path().join("files").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// What the addresses below a place begin with.
    pub(crate) fn url(&self, place: &str) -> String {
        format!("{}/{place}", self.address)
    }

    /// Cuts the first connection over which so many bytes of answers have gone.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.cut.store(bytes, Ordering::SeqCst);
    }

    /// What was logged of the requests at home, or elsewhere, that begin so: status, range and credentials of each. Waits
    /// until there are so many: the log is written after the answer.
    pub(crate) async fn log(&self, place: &str, start: &str, least: usize) -> Vec<String> {
        loop {
            let log = std::fs::read_to_string(self.directory.path().join(format!("{place}.log"))).unwrap();
            let found: Vec<String> = log.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect();
            if found.len() >= least {
                return found;
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        // The script ends the server when there is nothing more to read.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn configuration(root: &Path, elsewhere: &str) -> String {
    let root = root.display();
    format!(
        "user root; daemon off; worker_processes 1; pid {root}/nginx.pid;
         events {{ }}
         http {{
             log_format told '$status range=$http_range authorization=$http_authorization';
             client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
             uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
             absolute_redirect off; default_type application/octet-stream;
             server {{
                 listen unix:{root}/home; access_log {root}/home.log told;
                 auth_basic gateway; auth_basic_user_file {root}/passwords;
                 location /files/ {{ alias {root}/files/; }}
                 location /slow/ {{ alias {root}/files/; limit_rate 100k; }}
                 location /half/ {{ alias {root}/files/; limit_rate_after 12000k; limit_rate 1k; }}
                 location /moved/ {{ rewrite ^/moved/(.*)$ /files/$1 redirect; }}
                 location /elsewhere/ {{ rewrite ^/elsewhere/(.*)$ {elsewhere}/$1 redirect; }}
             }}
             server {{
                 listen unix:{root}/elsewhere; access_log {root}/elsewhere.log told;
                 location / {{ alias {root}/files/; }}
             }}
         }}"
    )
}

/// A port that leads to a socket.
async fn wire(socket: PathBuf, cut: Arc<AtomicU64>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (socket, cut) = (socket.clone(), Arc::clone(&cut));
            tokio::spawn(async move {
                let Ok(far) = UnixStream::connect(socket).await else { return };
                let (mut asked, mut answers) = near.into_split();
                let (mut answering, mut asking) = far.into_split();
                let there = tokio::io::copy(&mut asked, &mut asking);
                let back = carry(&mut answering, &mut answers, &cut);
                tokio::select! { _ = there => {}, () = back => {} }
            });
        }
    });
    (address, task)
}

/// Carries answers back, up to the cut.
async fn carry(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    cut: &AtomicU64,
) {
    let mut carried = 0;
    let mut block = vec![0; 16 << 10];
    loop {
        let after = cut.load(Ordering::SeqCst);
        if after > 0 && carried >= after {
            cut.store(0, Ordering::SeqCst);
            return;
        }
        let Ok(count @ 1..) = from.read(&mut block).await else { return };
        if to.write_all(&block[..count]).await.is_err() {
            return;
        }
        carried += count as u64;
    }
}
