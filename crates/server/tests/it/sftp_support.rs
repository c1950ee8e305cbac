//! An SFTP server with a client of it, and the programs that people use to speak to it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, OnceLock};

use dipper_core::Role;
use dipper_core::secret::Secret;
use dipper_server::sftp::{HostKey, parse_public_key};
use russh::client::{self, AuthResult};
use russh::keys::PublicKeyOrCertificate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{PATIENCE, Place, Server};
use crate::peers;

/// The contract and the client of most tests.
pub(crate) const CONTRACT: &str = "2d17";
pub(crate) const CLIENT: &str = "c1";

/// A server, a client of it that may read and write the contract, and a directory for the files of that client.
pub(crate) struct Contractor {
    pub(crate) server: Server,
    pub(crate) port: u16,
    pub(crate) secret: Secret,
    pub(crate) home: tempfile::TempDir,
}

/// Where the programs from PyPI are, once all programs are installed.
pub(crate) fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| peers::install(&["ssh", "clients"]))
}

impl Contractor {
    pub(crate) async fn start(changes: &[(&str, &str)]) -> Contractor {
        Contractor::start_with(changes, &[(CONTRACT, Role::Read), (CONTRACT, Role::Write)]).await
    }

    pub(crate) async fn start_with(changes: &[(&str, &str)], grants: &[(&str, Role)]) -> Contractor {
        let server = Contractor::server(Place::new().await, changes).await;
        let secret = server.client(CLIENT, grants).await;
        let contractor =
            Contractor { port: port(&server), server, secret, home: tempfile::tempdir().expect("a directory") };
        contractor.make_key("key", "ed25519");
        contractor.add_key(CLIENT, "key").await;
        contractor.know_host();
        contractor
    }

    async fn server(place: Place, changes: &[(&str, &str)]) -> Server {
        programs();
        Server::start_in(place, &[&[("sftp.listen", "127.0.0.1:0")], changes].concat(), false).await
    }

    /// Stops the server, and starts another one on the same installation.
    pub(crate) async fn restart(self, changes: &[(&str, &str)]) -> Contractor {
        let Contractor { server, secret, home, .. } = self;
        let server = Contractor::server(server.stop().await, changes).await;
        let contractor = Contractor { port: port(&server), server, secret, home };
        contractor.know_host();
        contractor
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    pub(crate) fn area(&self, contract_id: &str) -> PathBuf {
        let area = self.server.installation.data.root().join("areas").join(contract_id);
        for side in ["outgoing", "incoming"] {
            std::fs::create_dir_all(area.join(side)).expect("made");
        }
        area
    }

    pub(crate) fn outgoing(&self, name: &str) -> PathBuf {
        self.area(CONTRACT).join("outgoing").join(name)
    }

    pub(crate) fn incoming(&self, name: &str) -> PathBuf {
        self.area(CONTRACT).join("incoming").join(name)
    }

    /// A file in outgoing.
    pub(crate) fn deliver(&self, name: &str, content: &[u8]) {
        let part = self.area(CONTRACT).join(format!("{name}.part"));
        std::fs::write(&part, content).expect("written");
        std::fs::rename(part, self.outgoing(name)).expect("renamed");
    }

    /// Makes a pair of keys.
    pub(crate) fn make_key(&self, name: &str, kind: &str) {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", "a test", "-t", kind, "-f"]).arg(self.path(name));
        succeeded(&command.output().expect("ssh-keygen runs"));
    }

    /// Lets a client sign in with it.
    pub(crate) async fn add_key(&self, client_id: &str, name: &str) {
        let text = std::fs::read_to_string(self.path(&format!("{name}.pub"))).expect("a key");
        let key = parse_public_key(&text).expect("a public key");
        self.server.administration().client_key_add(client_id, &key).await.expect("added");
    }

    fn know_host(&self) {
        let key = HostKey::load_or_create(&self.server.installation.data.keys()).expect("a key");
        let lines =
            [("dipper", 22), ("127.0.0.1", self.port)].map(|(host, port)| key.known_hosts(host, port).expect("a line"));
        self.write("known_hosts", lines.join("\n").as_bytes());
    }

    /// One of OpenSSH's programs with options for this server and nothing of this machine's settings. It asks for nothing.
    pub(crate) fn ssh(&self, program: &str, port: u16, options: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["-F", "none", "-o"]).arg(format!("UserKnownHostsFile={}", self.path("known_hosts").display()));
        command.args(["-o", "StrictHostKeyChecking=yes", "-o", "HostKeyAlias=dipper", "-o", "IdentitiesOnly=yes"]);
        command.args(options.iter().flat_map(|option| ["-o", option]));
        command.arg(if program == "ssh" { "-p" } else { "-P" }).arg(port.to_string());
        command.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).current_dir(self.home.path());
        command
    }

    /// Signs in with the key.
    pub(crate) fn by_key(&self, program: &str) -> Command {
        self.by_key_at(program, self.port)
    }

    /// The same at another port: that of something in between.
    pub(crate) fn by_key_at(&self, program: &str, port: u16) -> Command {
        let key = format!("IdentityFile={}", self.path("key").display());
        self.ssh(program, port, &[&key, "PreferredAuthentications=publickey", "BatchMode=yes"])
    }

    /// Signs in with a password, which no terminal asks for.
    pub(crate) fn by_password(&self, program: &str, password: &str, options: &[&str]) -> Command {
        self.write("password", password.as_bytes());
        let ask = self.write("ask", b"#!/bin/sh\ncat password\n");
        std::fs::set_permissions(&ask, std::fs::Permissions::from_mode(0o700)).expect("set");
        let options = [options, &["BatchMode=no", "NumberOfPasswordPrompts=1"]].concat();
        let mut command = self.ssh(program, self.port, &options);
        command.env("SSH_ASKPASS", ask).env("SSH_ASKPASS_REQUIRE", "force");
        command
    }

    /// Has `sftp` do what a batch says.
    pub(crate) fn batch(&self, command: Command, batch: &str) -> Output {
        self.batch_as(command, CLIENT, batch)
    }

    pub(crate) fn batch_as(&self, mut command: Command, client_id: &str, batch: &str) -> Output {
        let file = tempfile::NamedTempFile::new_in(&self.home).expect("a file");
        std::fs::write(file.path(), batch).expect("written");
        command.arg("-b").arg(file.path()).arg(format!("{client_id}@127.0.0.1"));
        command.output().expect("sftp runs")
    }

    /// Has `sftp` do what a batch says, with the key; it must succeed. What it printed.
    pub(crate) fn sftp(&self, batch: &str) -> String {
        succeeded(&self.batch(self.by_key("sftp"), batch))
    }

    /// A client that sends what no program would send.
    pub(crate) async fn raw(&self) -> Raw {
        Raw::connect(self.port, CLIENT, &self.secret).await.expect("signed in")
    }
}

fn port(server: &Server) -> u16 {
    server.serving.sftp_addr.expect("SFTP").port()
}

/// What a program printed that must have succeeded.
pub(crate) fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", peers::told(output));
    peers::told(output)
}

/// What a program printed that must have failed.
pub(crate) fn failed(output: &Output) -> String {
    assert!(!output.status.success(), "{}", peers::told(output));
    peers::told(output)
}

/// Whether a file of incoming is complete.
pub(crate) fn is_finished(path: &Path) -> bool {
    dipper_core::incoming::is_finished(&path.metadata().expect("a file"))
}

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// A connection that SFTP is spoken on by hand.
pub(crate) struct Raw {
    pub(crate) stream: russh::ChannelStream<client::Msg>,
    session: client::Handle<Trusting>,
    number: u32,
}

impl Raw {
    /// Signs in, and begins to speak SFTP; `None` when the password is refused.
    pub(crate) async fn connect(port: u16, client_id: &str, secret: &Secret) -> Option<Raw> {
        let mut session = Raw::session(port).await;
        let signed_in = session.authenticate_password(client_id, secret.reveal()).await.expect("an answer");
        if !matches!(signed_in, AuthResult::Success) {
            return None;
        }
        let channel = session.channel_open_session().await.expect("a channel");
        channel.request_subsystem(true, "sftp").await.expect("SFTP");
        let mut raw = Raw { stream: channel.into_stream(), session, number: 0 };
        raw.send(1, &3_u32.to_be_bytes()).await;
        let (kind, version) = raw.receive().await;
        assert_eq!((kind, version.get(..4)), (2, Some([0, 0, 0, 3].as_slice())));
        Some(raw)
    }

    async fn session(port: u16) -> client::Handle<Trusting> {
        client::connect(Arc::new(client::Config::default()), ("127.0.0.1", port), Trusting).await.expect("connected")
    }

    /// Tries passwords on one connection, one after the other; whether the last one was right.
    pub(crate) async fn try_passwords(port: u16, client_id: &str, passwords: &[&str]) -> bool {
        let mut session = Raw::session(port).await;
        let mut right = false;
        for password in passwords {
            right = session.authenticate_password(client_id, *password).await.expect("an answer").success();
        }
        right
    }

    /// Asks for a second session on the same connection; whether there is one.
    pub(crate) async fn another_channel(&self) -> bool {
        self.session.channel_open_session().await.is_ok()
    }

    pub(crate) async fn send(&mut self, kind: u8, body: &[u8]) {
        assert!(self.is_sent(kind, body).await, "the server has hung up");
    }

    /// Sends a packet, unless the server has hung up.
    pub(crate) async fn is_sent(&mut self, kind: u8, body: &[u8]) -> bool {
        let len = u32::try_from(body.len() + 1).expect("short").to_be_bytes();
        self.stream.write_all(&[&len, [kind].as_slice(), body].concat()).await.is_ok()
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    /// Waits until the server has ended the connection.
    pub(crate) async fn hung_up(&mut self) {
        let closed = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut Vec::new())).await;
        closed.expect("closed in time").expect("closed");
    }

    pub(crate) async fn receive(&mut self) -> (u8, Vec<u8>) {
        let receive = async {
            let len = self.stream.read_u32().await.expect("an answer");
            let mut packet = vec![0; len as usize];
            self.stream.read_exact(&mut packet).await.expect("the whole answer");
            (packet.remove(0), packet)
        };
        tokio::time::timeout(PATIENCE, receive).await.expect("an answer in time")
    }

    /// Sends a request, and returns the kind of its answer and what follows the number.
    pub(crate) async fn ask(&mut self, kind: u8, fields: &[&[u8]]) -> (u8, Vec<u8>) {
        self.number += 1;
        let number = self.number.to_be_bytes();
        self.send(kind, &[&number, fields.concat().as_slice()].concat()).await;
        let (kind, mut answer) = self.receive().await;
        assert_eq!(answer.drain(..4).collect::<Vec<u8>>(), number);
        (kind, answer)
    }

    /// The code and the message of an answer that is a status.
    pub(crate) async fn status(&mut self, kind: u8, fields: &[&[u8]]) -> (u32, String) {
        let (answered, answer) = self.ask(kind, fields).await;
        assert_eq!(answered, 101, "request {kind} was answered with {answered}");
        let code = u32::from_be_bytes(answer[..4].try_into().expect("four bytes"));
        let len = u32::from_be_bytes(answer[4..8].try_into().expect("four bytes")) as usize;
        (code, String::from_utf8(answer[8..8 + len].to_vec()).expect("text"))
    }

    /// Opens a file; its handle as it is sent back.
    pub(crate) async fn open(&mut self, path: &str, flags: u32) -> Vec<u8> {
        let (kind, handle) = self.ask(3, &[&text(path), &flags.to_be_bytes(), &[0; 4]]).await;
        assert_eq!(kind, 102, "{path}: {}", String::from_utf8_lossy(&handle));
        handle
    }
}

/// A text as it is sent.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len()).expect("short").to_be_bytes();
    [&len, text.as_bytes()].concat()
}

/// Something between a client and the server that passes on so many bytes to each of them, and then cuts them off. Its
/// port.
pub(crate) async fn cut_after(server: u16, to_client: u64, to_server: u64) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("a client");
        let server = tokio::net::TcpStream::connect(("127.0.0.1", server)).await.expect("the server");
        let (from_client, mut into_client) = client.into_split();
        let (from_server, mut into_server) = server.into_split();
        let (mut from_client, mut from_server) = (from_client.take(to_server), from_server.take(to_client));
        tokio::select! {
            _ = tokio::io::copy(&mut from_server, &mut into_client) => (),
            _ = tokio::io::copy(&mut from_client, &mut into_server) => (),
        }
    });
    port
}
