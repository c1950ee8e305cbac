//! Gateways: each contract may register one address from which the files of its deposits are fetched, with a name and a
//! password. The password is kept encrypted. A later registration replaces the one before, and deposits that run use it
//! for every call from then on. How files are fetched is `pull/`.

use url::Url;

use crate::administration;
use crate::audit;
use crate::db::gateways::{self, GatewayRecord};
use crate::db::steps::{self, StepKind};
use crate::db::{DatabaseError, contracts};
use crate::deletion::Agent;
use crate::egress::{Allowed, Refusal};
use crate::installation::Installation;
use crate::secret::{Secret, SecretError};
use crate::sentence::sentence;
use crate::time::Timestamp;

/// The longest name and password.
const CREDENTIAL_CHARACTERS: usize = 1000;
/// The longest address.
const URL_CHARACTERS: usize = 2000;

/// What a gateway is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// What its addresses begin with. Its path ends with a slash.
    pub url: Url,
    /// The name with which Dipper signs in there.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// When it was registered.
    pub registered: Timestamp,
}

/// What a depositor says about its gateway.
#[derive(Clone, Debug)]
pub struct GatewayRegistration {
    /// The address under which the filegroups are.
    pub url: String,
    /// The name with which Dipper is to sign in there.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Why a gateway is not registered, or cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address is none.
    #[error("{url:?} cannot be the address of a gateway: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The address may not be called.
    #[error(transparent)]
    Egress(#[from] Refusal),
    /// The name cannot be sent with HTTP Basic.
    #[error(
        "the gateway's user name must be 1 to {CREDENTIAL_CHARACTERS} characters without a colon or control characters"
    )]
    Username,
    /// The password cannot be sent with HTTP Basic.
    #[error("the gateway's password must be 1 to {CREDENTIAL_CHARACTERS} characters without control characters")]
    Password,
    /// There is no such contract.
    #[error("there is no contract {0}")]
    ContractUnknown(String),
    /// The password could not be encrypted or decrypted.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The catalogue failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Registers the gateway of a contract in the place of the one before, for somebody who is named in the audit log. Deposits that
/// wait for theirs are tried now.
pub async fn register(
    installation: &Installation,
    contract_id: &str,
    registration: GatewayRegistration,
    agent: Option<&Agent>,
) -> Result<(), GatewayError> {
    let url = address(&registration.url)?;
    Allowed::new(&installation.settings.egress_allow).admit(&url).await?;
    check_credentials(&registration)?;
    if !contracts::exists(&installation.database, contract_id).await? {
        return Err(GatewayError::ContractUnknown(contract_id.to_owned()));
    }
    let now = installation.clock.now();
    let record = GatewayRecord {
        contract_id: contract_id.to_owned(),
        url: url.into(),
        username: registration.username,
        password: installation.key.encrypt(&registration.password, &owner(contract_id))?,
        created: now,
        updated: now,
    };
    let mut transaction = installation.database.begin().await?;
    steps::hasten_contract(&mut transaction, StepKind::Pull, contract_id, now).await?;
    gateways::put(&mut transaction, &record).await?;
    if let Some(agent) = agent {
        let detail = sentence!("files are fetched from {}, as {}", record.url, record.username);
        audit::record(&mut transaction, administration::act(contract_id, agent, &detail, now));
    }
    transaction.commit().await?;
    installation.wake_workers();
    Ok(())
}

/// The gateway of a contract, if it has one.
pub async fn load(installation: &Installation, contract_id: &str) -> Result<Option<Gateway>, GatewayError> {
    let Some(record) = gateways::get(&installation.database, contract_id).await? else { return Ok(None) };
    Ok(Some(Gateway {
        url: address(&record.url)?,
        username: record.username,
        password: installation.key.decrypt(&record.password, &owner(contract_id))?,
        registered: record.updated,
    }))
}

/// Whose secret the password is: that of another contract's gateway cannot be put in its place.
fn owner(contract_id: &str) -> String {
    format!("gateway of {contract_id}")
}

/// The address, with a slash at the end of its path.
fn address(text: &str) -> Result<Url, GatewayError> {
    let failed = |reason: String| GatewayError::Address { url: text.to_owned(), reason };
    if text.chars().count() > URL_CHARACTERS {
        let (url, reason) = (text.chars().take(100).collect(), format!("it has more than {URL_CHARACTERS} characters"));
        return Err(GatewayError::Address { url, reason });
    }
    let mut url = Url::parse(text.trim()).map_err(|error| failed(error.to_string()))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(failed(
            "the names of filegroup and file are put after it, so it must end with its path".to_owned(),
        ));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn check_credentials(registration: &GatewayRegistration) -> Result<(), GatewayError> {
    let fits =
        |text: &str| (1..=CREDENTIAL_CHARACTERS).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if !fits(&registration.username) || registration.username.contains(':') {
        return Err(GatewayError::Username);
    }
    if !fits(registration.password.reveal()) {
        return Err(GatewayError::Password);
    }
    Ok(())
}

impl Gateway {
    /// Where a file of a filegroup is. Slashes of the file's identifier stay slashes; everything else that has a meaning
    /// in an address is escaped. A filegroup without a version is asked for without one.
    pub fn file_url(&self, filegroup: &str, version: &str, file: &str) -> Option<Url> {
        let mut url = self.url.clone();
        // What `url` would take for `.` or `..` was refused when the deposit was accepted.
        url.path_segments_mut().ok()?.pop_if_empty().push(filegroup).extend(file.split('/'));
        if !version.is_empty() {
            url.query_pairs_mut().append_pair("versionId", version);
        }
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(url: &str) -> Gateway {
        let (username, password) = ("dipper".to_owned(), Secret::new("word".to_owned()));
        Gateway { url: address(url).expect("an address"), username, password, registered: Timestamp(0) }
    }

    #[test]
    fn files_have_their_addresses_below_the_gateway() {
        let table = [
            ("https://g.example", "fg", "1", "a", "https://g.example/fg/a?versionId=1"),
            ("https://g.example/base", "fg", "", "a/b c", "https://g.example/base/fg/a/b%20c"),
            (
                "https://g.example/base/",
                "f g",
                "v 1&x",
                "å?#%/%2F",
                "https://g.example/base/f%20g/%C3%A5%3F%23%25/%252F?versionId=v+1%26x",
            ),
        ];
        for (base, filegroup, version, file, expected) in table {
            let found = gateway(base).file_url(filegroup, version, file).expect("an address");
            assert_eq!(found.as_str(), expected);
        }
    }

    #[test]
    fn addresses_that_lead_nowhere_are_refused() {
        for wrong in ["", "gateway", "https://g.example/?a=b", "https://g.example/#a", "https://"] {
            assert!(address(wrong).is_err(), "{wrong:?}");
        }
        let long = format!("https://g.example/{}", "a".repeat(3000));
        assert!(address(&long).is_err_and(|error| error.to_string().len() < 300));
    }
}
