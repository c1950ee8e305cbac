//! TLS in the listener: which certificate is shown, and how a new one comes into use while the server runs.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use dipper_core::time::Timestamp;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, InconsistentKeys, ServerConfig};
use tokio_util::sync::CancellationToken;

use super::expiry::Expiry;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Far more than any chain or key takes.
const MAX_FILE_BYTES: u64 = 1 << 20;
const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct TlsError {
    /// The setting at fault.
    pub setting: &'static str,
    /// What is wrong with what it names, and what to do.
    pub reason: String,
}

/// TLS with the certificate and key of two files.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    files: Arc<Files>,
}

/// The files, and what was in them when they last fitted together.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// Of the files when they were last read, whatever was in them.
    seen: RwLock<[Option<Stamp>; 2]>,
    /// Of the certificate that is shown.
    expiry: Mutex<Expiry>,
}

/// What changes when a file is written or replaced.
type Stamp = [i64; 7];

impl Tls {
    /// Reads the files.
    pub fn open(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let seen = RwLock::new([stamp(certificate), stamp(key)]);
        let loaded = load(certificate, key, &provider)?;
        let (expiry, current) = (Mutex::new(expiry(&loaded)), RwLock::new(Arc::new(loaded)));
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let files = Arc::new(Files { certificate, key, provider: provider.clone(), current, seen, expiry });
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13, &TLS12]);
        let builder = builder.map_err(|error| TlsError { setting: CERTIFICATE, reason: error.to_string() })?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(files.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls { config: Arc::new(config), files })
    }

    /// What makes TLS connections of TCP ones.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }

    /// Reads the files again whenever they have changed, until `shutdown` is cancelled. Connections go on with what they
    /// began with.
    pub async fn watch(self, shutdown: CancellationToken) {
        self.files.expiry().show();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = look.tick() => {}
            }
            let files = self.files.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || files.look()).await {
                tracing::error!(%error, "the files of [tls] could not be looked at");
            }
        }
    }
}

impl Files {
    fn expiry(&self) -> MutexGuard<'_, Expiry> {
        self.expiry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        self.renew();
        self.expiry().remind(Timestamp::now());
    }

    fn renew(&self) {
        // Taken before the files are read: what changes in between is read the next time.
        let now = [stamp(&self.certificate), stamp(&self.key)];
        let seen = {
            let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *seen, now)
        };
        if seen == now {
            return;
        }
        match load(&self.certificate, &self.key, &self.provider) {
            Ok(loaded) => {
                let expiry = expiry(&loaded);
                expiry.show();
                *self.expiry() = expiry;
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                tracing::info!(certificate = %self.certificate.display(), "the certificate was read again");
            }
            Err(error) => tracing::error!(
                setting = error.setting,
                "the certificate was not changed, and the one before stays in use: {}",
                error.reason
            ),
        }
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// `None` for a file that is not there.
fn stamp(path: &Path) -> Option<Stamp> {
    // The content's own times and the inode's: a file may be written to, renamed over, or be a link that is turned.
    let found = std::fs::metadata(path).ok()?;
    let (device, inode, size) = (found.dev().cast_signed(), found.ino().cast_signed(), found.size().cast_signed());
    Some([device, inode, size, found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()])
}

fn load(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let in_certificate = |reason: String| TlsError { setting: CERTIFICATE, reason };
    let in_key = |reason: String| TlsError { setting: KEY, reason };
    let (certificate, key) = (Named(certificate), Named(key));
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&certificate.read().map_err(in_certificate)?).collect();
    let chain = chain.map_err(|_| in_certificate(certificate.says("is not in PEM")))?;
    if chain.is_empty() {
        return Err(in_certificate(certificate.says("holds no certificate in PEM")));
    }
    let private = PrivateKeyDer::from_pem_slice(&key.read().map_err(in_key)?).map_err(|error| match error {
        pem::Error::NoItemsFound => in_key(key.says("holds no key in PEM that is not encrypted")),
        _ => in_key(key.says("is not in PEM")),
    })?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let other = certificate.0.display();
            in_key(
                key.says(&format!("is not the key of the first certificate in {other}: let that be the server's own")),
            )
        }
        Error::InvalidCertificate(error) => in_certificate(certificate.says(&format!("is not accepted: {error}"))),
        error => in_key(key.says(&format!("is not accepted: {error}"))),
    })
}

fn expiry(loaded: &CertifiedKey) -> Expiry {
    loaded.cert.first().map(Expiry::of).unwrap_or_default()
}

/// A file, for messages that name it.
struct Named<'a>(&'a Path);

impl Named<'_> {
    fn says(&self, what: &str) -> String {
        format!("{} {what}", self.0.display())
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let read =
            |bytes: &mut Vec<u8>| -> io::Result<usize> { File::open(self.0)?.take(MAX_FILE_BYTES).read_to_end(bytes) };
        read(&mut bytes).map_err(|error| self.says(&format!("cannot be read: {error}")))?;
        Ok(bytes)
    }
}
