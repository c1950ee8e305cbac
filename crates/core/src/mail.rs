//! E-mail to the people of a contract: which package lies ready in their area, and how to get it; and, to the operators too,
//! which one was found damaged.
//!
//! An e-mail is owed in the transaction that delivers the package, claimed under a lease before it is sent and recorded
//! after. A crash between the two sends it again under the same `Message-ID`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{Error as SmtpError, extension::ClientId};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::causes::causes;
use crate::db::area_files::AreaFile;
use crate::db::mails::{Damage, MailEnd, MailLease};
use crate::db::orders::Order;
use crate::db::packages::Package;
use crate::db::{DatabaseError, area_files, mails, orders, packages};
use crate::installation::{Installation, host_name};
use crate::language::Language;
use crate::secret::Secret;
use crate::settings::backoff;
use crate::time::Timestamp;

/// The mail server that is handed what is to be sent, and how long it is asked to take it.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// Its name, to which its certificate must belong.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept secret.
    pub encryption: MailEncryption,
    /// A file of further certificates to trust, in PEM.
    pub certificates: Option<PathBuf>,
    /// Whom Dipper signs in as, with which password; if it has to.
    pub credentials: Option<(String, Secret)>,
    /// Who the e-mail is from, as in `Archive <archive@example.org>`.
    pub from: String,
    /// Who is told when a package is found damaged, besides the people of its contract.
    pub operators: Vec<String>,
    /// How long the server may take to answer.
    pub timeout: Duration,
    /// The wait after the first failed attempt, doubled after each further one.
    pub backoff: Duration,
    /// The longest wait between attempts.
    pub max_backoff: Duration,
    /// How long an e-mail is tried.
    pub give_up: Duration,
}

/// How the connection to the mail server is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailEncryption {
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// TLS after a beginning in the clear, and nothing without it (RFC 3207).
    StartTls,
    /// None: for a server on the same machine.
    None,
}

/// Puts what lies ready into words.
pub trait MailRenderer: Send + Sync {
    /// Subject and text; `None` when there is nothing to tell.
    fn render(&self, facts: &MailFacts<'_>) -> Option<MailText>;

    /// Subject and text of the message that a package was found damaged.
    fn render_damage(&self, facts: &DamageFacts<'_>) -> MailText;
}

/// What an e-mail about damage can tell.
#[derive(Debug)]
pub struct DamageFacts<'a> {
    /// The language to write in.
    pub language: Language,
    /// The package.
    pub package: &'a Package,
    /// What was found.
    pub reason: &'a str,
    /// When.
    pub found: Timestamp,
}

/// What an e-mail can tell.
#[derive(Debug)]
pub struct MailFacts<'a> {
    /// The language to write in.
    pub language: Language,
    /// The order.
    pub order: &'a Order,
    /// Its package.
    pub package: &'a Package,
    /// The file that was laid into the area of its contract.
    pub file: &'a AreaFile,
    /// When it is removed if nobody fetches it.
    pub kept_until: Timestamp,
}

/// An e-mail in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailText {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
}

/// Why no e-mail can be sent with these settings.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// An address is none.
    #[error("{0:?} is no e-mail address: {1}")]
    Address(String, String),
    /// The certificates cannot be read.
    #[error("{path}: {message}")]
    Certificates {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The connection cannot be made secret.
    #[error("TLS to the mail server cannot be set up: {0}")]
    Tls(SmtpError),
}

/// Whether a text is an address that e-mail can be sent to.
pub fn check_address(address: &str) -> Result<(), MailError> {
    let parsed = address.parse::<Address>();
    parsed.map(|_| ()).map_err(|error| MailError::Address(address.to_owned(), error.to_string()))
}

/// Sends what is due.
#[derive(Clone)]
pub struct Mailer {
    installation: Arc<Installation>,
    renderer: Arc<dyn MailRenderer>,
    settings: MailSettings,
    from: Mailbox,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mailer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl MailSettings {
    /// The address that e-mail is from.
    pub fn sender(&self) -> Result<Mailbox, MailError> {
        self.from
            .parse()
            .map_err(|error: lettre::address::AddressError| MailError::Address(self.from.clone(), error.to_string()))
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, MailError> {
        let tls = match self.encryption {
            MailEncryption::Tls => Tls::Wrapper(self.tls()?),
            MailEncryption::StartTls => Tls::Required(self.tls()?),
            MailEncryption::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.server)
            .port(self.port)
            .tls(tls)
            .hello_name(ClientId::Domain(host_name()))
            .timeout(Some(self.timeout));
        if let Some((user, password)) = &self.credentials {
            builder = builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
        }
        Ok(builder.build())
    }

    fn tls(&self) -> Result<TlsParameters, MailError> {
        let mut parameters = TlsParameters::builder(self.server.clone());
        if let Some(path) = &self.certificates {
            let wrong = |message: String| MailError::Certificates { path: path.display().to_string(), message };
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
            parameters = parameters.add_root_certificate(certificate);
        }
        parameters.build().map_err(MailError::Tls)
    }
}

impl Mailer {
    /// A mailer for an installation; `None` when its settings name no mail server.
    pub fn new(installation: Arc<Installation>, renderer: Arc<dyn MailRenderer>) -> Result<Option<Mailer>, MailError> {
        let Some(settings) = installation.settings.mail.clone() else {
            return Ok(None);
        };
        let (from, transport) = (settings.sender()?, settings.transport()?);
        Ok(Some(Mailer { installation, renderer, settings, from, transport }))
    }

    /// Sends e-mail as it becomes due until it is told to stop; one that is being sent is finished.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.claim().await {
                Ok(Some(lease)) => {
                    self.attempt(&lease).await;
                    continue;
                }
                Ok(None) => {}
                Err(error) => warn!(%error, "e-mail could not be claimed"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.installation.mails_due() => {}
            }
        }
    }

    async fn claim(&self) -> Result<Option<MailLease>, DatabaseError> {
        let now = self.installation.clock.now();
        // Looking costs no write lock.
        if mails::next_due(&self.installation.database).await?.is_none_or(|due| due > now) {
            return Ok(None);
        }
        // A conversation with a mail server has half a dozen turns, each of which may take that long.
        let until = now.plus(self.settings.timeout * 8 + Duration::from_secs(10));
        let mut transaction = self.installation.database.begin().await?;
        let lease = mails::claim(&mut transaction, now, until).await?;
        transaction.commit().await?;
        Ok(lease)
    }

    async fn attempt(&self, lease: &MailLease) {
        let end = match self.write(lease).await {
            Ok(Some(_)) if self.installation.clock.now() > lease.give_up => {
                MailEnd::Abandoned("nobody took it in time".to_owned())
            }
            Ok(Some(message)) => match self.transport.send(message).await {
                Ok(_) => MailEnd::Accepted,
                Err(error) => self.after_failure(lease, &error),
            },
            Ok(None) => MailEnd::Abandoned("there is nothing to tell any more, or nobody".to_owned()),
            Err(WriteError::Database(error)) => {
                // The lease runs out, and it is tried again.
                warn!(%error, order_id = lease.order_id, "an e-mail could not be written");
                return;
            }
            Err(WriteError::Message(error)) => MailEnd::Abandoned(error),
        };
        match &end {
            MailEnd::Accepted => info!(order_id = lease.order_id, attempt = lease.attempt, "e-mail sent"),
            MailEnd::Later(_, failure) | MailEnd::Abandoned(failure) => {
                warn!(order_id = lease.order_id, attempt = lease.attempt, %failure, "e-mail not sent");
            }
        }
        if let Err(error) = self.record(lease, end).await {
            warn!(%error, order_id = lease.order_id, "what came of an e-mail could not be recorded");
        }
    }

    /// The message; `None` when there is nothing to tell any more.
    async fn write(&self, lease: &MailLease) -> Result<Option<Message>, WriteError> {
        let database = &self.installation.database;
        if let Some(damage) = &lease.damage {
            return self.write_damage(lease, damage).await;
        }
        let Some(order) = orders::get(database, &lease.order_id).await? else { return Ok(None) };
        let package = packages::get(database, &order.package_id).await?;
        let file = area_files::of_orders(database, &[&order.id]).await?.pop();
        let (Some(package), Some(file)) = (package, file.filter(|file| file.removed.is_none())) else {
            return Ok(None);
        };
        let kept_until = file.placed.unwrap_or(lease.created).plus(self.installation.settings.area.kept);
        let facts = MailFacts { language: lease.language, order: &order, package: &package, file: &file, kept_until };
        let Some(text) = self.renderer.render(&facts) else { return Ok(None) };
        self.message(lease, std::slice::from_ref(&lease.address), text).map(Some)
    }

    /// The message that a package is damaged; `None` when there is nobody to tell.
    async fn write_damage(&self, lease: &MailLease, damage: &Damage) -> Result<Option<Message>, WriteError> {
        let to = match lease.address.as_str() {
            "" => self.settings.operators.as_slice(),
            _ => std::slice::from_ref(&lease.address),
        };
        let Some(package) = packages::get(&self.installation.database, &damage.package_id).await? else {
            return Ok(None);
        };
        if to.is_empty() {
            return Ok(None);
        }
        let (language, reason, found) = (lease.language, damage.reason.as_str(), lease.created);
        let text = self.renderer.render_damage(&DamageFacts { language, package: &package, reason, found });
        self.message(lease, to, text).map(Some)
    }

    fn message(&self, lease: &MailLease, to: &[String], text: MailText) -> Result<Message, WriteError> {
        let wrong = |error: &dyn fmt::Display| WriteError::Message(format!("{}: {error}", to.join(", ")));
        let mut builder = Message::builder().from(self.from.clone());
        for address in to {
            let address: Mailbox = address.parse().map_err(|error| wrong(&error))?;
            builder = builder.to(address);
        }
        builder
            .subject(text.subject)
            .message_id(Some(format!("<{}@{}>", lease.order_id, self.from.email.domain())))
            .date(lease.created.to_datetime().into())
            .raw_header(automatic())
            .header(ContentType::TEXT_PLAIN)
            .body(text.body)
            .map_err(|error| wrong(&error))
    }

    fn after_failure(&self, lease: &MailLease, error: &SmtpError) -> MailEnd {
        let failure = causes(error);
        if error.is_permanent() && !is_ours(error) {
            return MailEnd::Abandoned(failure);
        }
        let now = self.installation.clock.now();
        let wait = backoff(self.settings.backoff, self.settings.max_backoff, lease.attempt);
        let due = now.plus(wait);
        if due > lease.give_up { MailEnd::Abandoned(failure) } else { MailEnd::Later(due, failure) }
    }

    async fn record(&self, lease: &MailLease, end: MailEnd) -> Result<(), DatabaseError> {
        let now = self.installation.clock.now();
        let mut transaction = self.installation.database.begin().await?;
        mails::end(&mut transaction, lease, end, now).await?;
        transaction.commit().await
    }
}

/// Says that no person wrote it, so that no machine answers (RFC 3834).
fn automatic() -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned())
}

enum WriteError {
    Database(DatabaseError),
    /// No message can be made of it.
    Message(String),
}

impl From<DatabaseError> for WriteError {
    fn from(error: DatabaseError) -> WriteError {
        WriteError::Database(error)
    }
}

/// Whether the server refuses us rather than the message: that is the operator's to mend, and the e-mail waits for it.
fn is_ours(error: &SmtpError) -> bool {
    // Sign-in needed, mechanism too weak, credentials wrong, encryption needed (RFC 4954, section 6).
    const SIGN_IN: [u16; 4] = [530, 534, 535, 538];
    error.status().is_some_and(|code| SIGN_IN.contains(&u16::from(code)))
}
