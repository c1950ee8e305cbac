//! The mail server that takes e-mail from Dipper.

use std::path::PathBuf;
use std::time::Duration;

use dipper_core::mail::{MailEncryption, check_address};
use dipper_core::secret::Secret;
use serde::Deserialize;
use url::Url;

use super::{Problem, Settings, secret};
use crate::mail::Ways;

/// The first wait after a failed attempt, the longest one, and when to stop: RFC 5321, section 4.5.4.1, has a half hour
/// between attempts, and four to five days in all.
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);
const GIVE_UP: Duration = Duration::from_secs(5 * 24 * 3600);

/// The mail server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// Its name; empty for no e-mail.
    pub server: String,
    /// Its port; 0 for the usual one.
    pub port: u16,
    /// How the connection is kept secret.
    pub encryption: Encryption,
    /// A file of a further certificate to trust.
    pub certificates: PathBuf,
    /// Whom to sign in as; empty for nobody.
    pub user: String,
    /// The password.
    #[serde(deserialize_with = "secret")]
    pub password: Secret,
    /// A file that holds the password.
    pub password_file: PathBuf,
    /// Who the e-mail is from.
    pub from: String,
    /// Who is told when a package is found damaged, besides the people of its contract.
    pub operators: Vec<String>,
    /// How long the server may take to answer.
    pub timeout_seconds: u64,
}

/// How the connection to the mail server is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// TLS from the first byte.
    Tls,
    /// TLS after a beginning in the clear.
    StartTls,
    /// None.
    None,
}

impl Settings {
    /// What is told of how a package in an area is fetched.
    pub(crate) fn ways(&self) -> Ways {
        let url = self.public_url_elsewhere();
        let host = url.as_deref().and_then(|url| Some(Url::parse(url).ok()?.host()?.to_string()));
        let sftp = host.zip(self.sftp.address()).map(|(host, address)| format!("{host}, port {}", address.port()));
        let https = url.zip(self.dns.base_path()).map(|(url, base)| format!("{url}{base}/outgoing"));
        Ways { sftp, https }
    }
}

impl MailSettings {
    /// These settings in the words of the core; `None` when no mail server is named.
    pub(super) fn core(&self) -> Result<Option<dipper_core::mail::MailSettings>, Problem> {
        if self.server.is_empty() {
            return Ok(None);
        }
        let (encryption, usual) = match self.encryption {
            Encryption::Tls => (MailEncryption::Tls, 465),
            Encryption::StartTls => (MailEncryption::StartTls, 587),
            Encryption::None => (MailEncryption::None, 25),
        };
        if !(1..=600).contains(&self.timeout_seconds) {
            let message = format!("{} is not between 1 and 600", self.timeout_seconds);
            return Err(problem("mail.timeout_seconds", message));
        }
        let settings = dipper_core::mail::MailSettings {
            server: self.server.clone(),
            port: if self.port == 0 { usual } else { self.port },
            encryption,
            certificates: Some(self.certificates.clone()).filter(|path| !path.as_os_str().is_empty()),
            credentials: self.credentials()?,
            from: self.from.clone(),
            operators: self.operators.clone(),
            timeout: Duration::from_secs(self.timeout_seconds),
            backoff: FIRST_WAIT,
            max_backoff: LONGEST_WAIT,
            give_up: GIVE_UP,
        };
        for operator in &self.operators {
            check_address(operator).map_err(|error| problem("mail.operators", error.to_string()))?;
        }
        settings.sender().map_err(|error| problem("mail.from", error.to_string()))?;
        Ok(Some(settings))
    }

    fn credentials(&self) -> Result<Option<(String, Secret)>, Problem> {
        let given = !self.password.reveal().is_empty();
        let filed = !self.password_file.as_os_str().is_empty();
        if self.user.is_empty() {
            return match given || filed {
                true => Err(problem("mail.user", "is empty beside a password: name the user".to_owned())),
                false => Ok(None),
            };
        }
        if self.encryption == Encryption::None {
            let message = "would go over the network in the clear: set mail.encryption, or leave mail.user empty";
            return Err(problem("mail.password", message.to_owned()));
        }
        let password = match (given, filed) {
            (true, false) => self.password.clone(),
            (false, true) => {
                let text = std::fs::read_to_string(&self.password_file).map_err(|error| {
                    problem("mail.password_file", format!("{}: {error}", self.password_file.display()))
                })?;
                Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            (true, true) => {
                let message = "is set beside mail.password: give one of them".to_owned();
                return Err(problem("mail.password_file", message));
            }
            (false, false) => {
                return Err(problem("mail.password", "is empty: give it, or mail.password_file".to_owned()));
            }
        };
        Ok(Some((self.user.clone(), password)))
    }
}

fn problem(key: &str, message: String) -> Problem {
    Problem { key: key.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, Sources};

    #[test]
    fn what_is_wrong_is_told_with_its_key_and_never_with_the_password() {
        let load = |overrides: &[(&str, &str)]| {
            let overrides = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Settings::load(&Sources { overrides, ..Sources::default() })
        };
        let good = [("mail.server", "smtp.example.org"), ("mail.from", "The archive <archive@example.org>")];
        let mail = load(&good).expect("valid").core().mail.expect("a mail server");
        assert_eq!((mail.port, mail.credentials), (587, None));
        let wrong: [(&[(&str, &str)], &str); 8] = [
            (&[("mail.operators", "op@example.org,the night shift")], "mail.operators"),
            (&[("mail.from", "the archive")], "mail.from"),
            (&[("mail.from", "")], "mail.from"),
            (&[("mail.timeout_seconds", "0")], "mail.timeout_seconds"),
            (&[("mail.password", "hunter2")], "mail.user"),
            (&[("mail.user", "dipper")], "mail.password"),
            (&[("mail.user", "dipper"), ("mail.password_file", "/nonexistent/file")], "mail.password_file"),
            (&[("mail.user", "dipper"), ("mail.password", "hunter2"), ("mail.encryption", "none")], "mail.password"),
        ];
        for (more, key) in wrong {
            let refused = load(&[&good, more].concat()).expect_err("refused").to_string();
            assert!(refused.contains(key) && !refused.contains("hunter2"), "{refused}");
        }
    }
}
