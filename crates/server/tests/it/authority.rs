//! An authority for one test, made by `openssl`: a root, an intermediate, and certificates for this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::peers;

const EXTENSIONS: &str = "
[req]
distinguished_name = name
prompt = no
[name]
CN = Dipper test
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
subjectAltName = DNS:localhost,IP:127.0.0.1
extendedKeyUsage = serverAuth
";

/// Long enough that the server says nothing of the end.
const LONG_DAYS: u32 = 30;

/// An authority, and where what it makes lies.
pub(crate) struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        peers::install(&[]);
        let authority = Authority { directory: tempfile::tempdir().expect("a directory") };
        std::fs::write(authority.path("openssl.cnf"), EXTENSIONS).expect("written");
        authority.key("root", "EC");
        authority
            .openssl(&["req", "-x509", "-new", "-key", "root.key", "-out", "root.pem", "-days", "30"], "authority");
        authority.certificate("intermediate", "root", 2, "EC", "authority", LONG_DAYS);
        authority
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What those who trust the authority trust.
    pub(crate) fn root(&self) -> PathBuf {
        self.path("root.pem")
    }

    /// A certificate with the intermediate one behind it, and its key, both in PEM.
    pub(crate) fn issue(&self, serial: u32, algorithm: &str) -> (Vec<u8>, Vec<u8>) {
        self.issue_for(serial, algorithm, LONG_DAYS)
    }

    /// One that is good for so many days.
    pub(crate) fn issue_for(&self, serial: u32, algorithm: &str, days: u32) -> (Vec<u8>, Vec<u8>) {
        let name = format!("server-{serial}");
        self.certificate(&name, "intermediate", serial, algorithm, "server", days);
        let read = |name: String| std::fs::read(self.path(&name)).expect("made");
        let chain = [read(format!("{name}.pem")), read("intermediate.pem".to_owned())].concat();
        (chain, read(format!("{name}.key")))
    }

    /// Settings for a server with TLS whose certificate has this serial number.
    pub(crate) fn settings(&self, serial: u32) -> [(&'static str, String); 2] {
        let (chain, key) = self.issue(serial, "EC");
        for (name, content) in [("chain.pem", chain), ("chain.key", key)] {
            std::fs::write(self.path(name), content).expect("written");
        }
        let path = |name| self.path(name).display().to_string();
        [("tls.certificate", path("chain.pem")), ("tls.key", path("chain.key"))]
    }

    fn key(&self, name: &str, algorithm: &str) {
        let kind = if algorithm == "EC" { "ec_paramgen_curve:P-256" } else { "rsa_keygen_bits:2048" };
        let key = format!("{name}.key");
        self.run(&["genpkey", "-algorithm", algorithm, "-pkeyopt", kind, "-out", &key]);
    }

    fn certificate(&self, name: &str, issuer: &str, serial: u32, algorithm: &str, extensions: &str, days: u32) {
        self.key(name, algorithm);
        let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
        let subject = format!("/CN={name}");
        self.run(&["req", "-new", "-key", &key, "-out", &request, "-subj", &subject, "-config", "openssl.cnf"]);
        let (authority, authority_key) = (format!("{issuer}.pem"), format!("{issuer}.key"));
        let mut arguments = vec!["x509", "-req", "-in", &request, "-CA", &authority, "-CAkey", &authority_key];
        let (serial, certificate, days) = (serial.to_string(), format!("{name}.pem"), days.to_string());
        arguments.extend(["-set_serial", &serial, "-out", &certificate, "-days", &days, "-extfile", "openssl.cnf"]);
        self.openssl(&arguments, extensions);
    }

    fn openssl(&self, arguments: &[&str], extensions: &str) {
        let config: &[&str] = if arguments[0] == "req" { &["-config", "openssl.cnf"] } else { &[] };
        self.run(&[arguments, config, &["-extensions", extensions]].concat());
    }

    fn run(&self, arguments: &[&str]) {
        let ran =
            Command::new("openssl").args(arguments).current_dir(self.directory.path()).stdin(Stdio::null()).output();
        let ran = ran.expect("openssl runs");
        assert!(ran.status.success(), "openssl {arguments:?}: {}", peers::told(&ran));
    }
}

/// What `openssl s_client` with these arguments tells of a connection, and whether it came about.
pub(crate) fn s_client(addr: &str, root: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", addr, "-verify_return_error", "-CAfile"]).arg(root).args(arguments);
    let ran = command.stdin(Stdio::null()).output().expect("openssl runs");
    (ran.status.success(), peers::told(&ran))
}
