//! The key that the server proves itself with, and the keys that clients prove themselves with.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dipper_archive::publish;
use dipper_core::db::client_keys::PublicKey;
use dipper_core::secret;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::{self, LineEnding};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};

/// The file of the host key in the directory of the keys.
const FILE: &str = "sftp_host_ed25519";

/// What a client's key may be. RSA is left out: the crate for it has an advisory that nobody has mended (RUSTSEC-2023-0071).
pub(super) const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::SkEd25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEcdsaSha2NistP256,
];

/// The key that the server proves itself with: ed25519, the same on every machine of an installation.
pub struct HostKey {
    key: PrivateKey,
    path: PathBuf,
}

impl HostKey {
    /// Reads the key in the directory of the keys, and makes it at the first start.
    pub fn load_or_create(directory: &Path) -> anyhow::Result<HostKey> {
        let path = directory.join(FILE);
        let told = || path.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                publish::create_directories(directory).with_context(told)?;
                let text = generate()?;
                match publish::write_new_secret(&path, text.as_bytes()) {
                    // Another process was faster.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => std::fs::read_to_string(&path),
                    written => written.map(|()| text),
                }
            }
            read => read,
        };
        let text = text.with_context(told)?;
        let key = PrivateKey::from_openssh(&text).with_context(|| format!("{}: not a private key of SSH", told()))?;
        ensure!(key.algorithm() == Algorithm::Ed25519, "{}: not an ed25519 key without a passphrase", told());
        Ok(HostKey { key, path })
    }

    /// `SHA256:` and the digest in base 64, as clients show it at their first connection.
    pub fn fingerprint(&self) -> String {
        self.key.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// The line of a `known_hosts` file for a server that is reached under this name.
    pub fn known_hosts(&self, host: &str, port: u16) -> anyhow::Result<String> {
        let public = ssh_key::PublicKey::from(self.key.public_key().key_data().clone()).to_openssh()?;
        Ok(if port == 22 { format!("{host} {public}") } else { format!("[{host}]:{port} {public}") })
    }

    /// Where the key lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn private(&self) -> PrivateKey {
        self.key.clone()
    }
}

fn generate() -> anyhow::Result<String> {
    let mut seed = [0; 32];
    seed.iter_mut().zip(secret::random_bytes(32)?).for_each(|(to, from)| *to = from);
    let key = PrivateKey::new(KeypairData::from(Ed25519Keypair::from_seed(&seed)), "dipper")?;
    Ok(key.to_openssh(LineEnding::LF)?.to_string())
}

/// Reads a public key as `ssh-keygen` writes it to a `.pub` file: one line with algorithm, key and comment.
pub fn parse_public_key(text: &str) -> anyhow::Result<PublicKey> {
    ensure!(
        !text.contains("PRIVATE KEY"),
        "this is a private key, which should not leave its owner: use the .pub file"
    );
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().context("there is no key in it: it should hold one line such as ssh-ed25519 AAAA...")?;
    ensure!(lines.next().is_none(), "there is more than one line in it: add one key at a time");
    let key = ssh_key::PublicKey::from_openssh(line).context("not a public key in the form of OpenSSH")?;
    let algorithm = key.algorithm();
    ensure!(
        ALGORITHMS.contains(&algorithm),
        "{algorithm} keys are not accepted: make one with `ssh-keygen -t ed25519`"
    );
    let comment: String = key.comment().as_str_lossy().chars().filter(|c| !c.is_control()).take(200).collect();
    Ok(PublicKey { comment, ..described(&key)? })
}

/// A public key in the words of the catalogue, without its comment.
pub(super) fn described(key: &ssh_key::PublicKey) -> Result<PublicKey, ssh_key::Error> {
    Ok(PublicKey {
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        algorithm: key.algorithm().to_string(),
        encoded: BASE64_STANDARD.encode(key.to_bytes()?),
        comment: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_key_is_made_once_and_for_its_owner_alone() -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir()?;
        let made = HostKey::load_or_create(directory.path())?;
        let again = HostKey::load_or_create(directory.path())?;
        assert_eq!(made.fingerprint(), again.fingerprint());
        assert!(made.fingerprint().starts_with("SHA256:"));
        assert_eq!(made.path().metadata()?.permissions().mode() & 0o777, 0o600);
        let line = made.known_hosts("sftp.example.org", 2222)?;
        assert!(line.starts_with("[sftp.example.org]:2222 ssh-ed25519 AAAA"), "{line}");
        assert!(made.known_hosts("sftp.example.org", 22)?.starts_with("sftp.example.org ssh-ed25519 "));
        publish::write_file(made.path(), b"something else")?;
        assert!(HostKey::load_or_create(directory.path()).is_err());
        Ok(())
    }

    #[test]
    fn public_keys_are_read_as_they_are_handed_in() {
        let key = "AAAAC3NzaC1lZDI1NTE5AAAAIGCRSZxFrPwZUgwYZg8cVF8B7bRzeRcKgUu9DBRSlj3w";
        let parsed = parse_public_key(&format!("# mine\nssh-ed25519 {key} anna@archiv\n")).expect("a key");
        assert_eq!((parsed.algorithm.as_str(), parsed.comment.as_str()), ("ssh-ed25519", "anna@archiv"));
        assert_eq!(parsed.encoded, key);
        for (text, told) in [
            ("", "no key"),
            ("ssh-ed25519 AAAA", "not a public key"),
            (&format!("ssh-ed25519 {key}\nssh-ed25519 {key}"), "more than one"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
            (
                "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQDKX0bsN2bS1pXM0R2JW6Yb7eVQkGPvSUm3P3hBxNCqkZ6tfZ7fWp9uJjS7sXc5Yx2mK9yEo0xGJwPJ8m3W1b3d",
                "ssh-rsa keys are not accepted",
            ),
        ] {
            let refused = parse_public_key(text).expect_err(text).to_string();
            assert!(refused.contains(told), "{text}: {refused}");
        }
    }
}
