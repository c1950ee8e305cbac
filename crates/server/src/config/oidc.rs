//! The issuer at which people sign in to the console.

use std::path::PathBuf;

use dipper_core::secret::Secret;
use serde::Deserialize;
use url::Url;

use super::{Problem, Settings, secret};
use crate::signin::oidc::{self, Agreement};

/// The issuer at which people sign in to the console.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// The issuer; empty for none.
    pub issuer: String,
    /// What the button that leads there calls it.
    pub name: String,
    /// What it calls this server.
    pub client_id: String,
    /// What this server proves itself with.
    #[serde(deserialize_with = "secret")]
    pub client_secret: Secret,
    /// A file that holds that.
    pub client_secret_file: PathBuf,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Where it lists the roles of a person; empty for the place in which tokens list them.
    pub roles_claim: String,
}

impl OidcSettings {
    /// What the button that leads to the issuer calls it, if there is one.
    pub fn button(&self) -> Option<&str> {
        if self.issuer.is_empty() {
            return None;
        }
        let host = self.issuer.split("://").nth(1).and_then(|rest| rest.split(['/', ':']).next());
        Some(if self.name.is_empty() { host.unwrap_or(&self.issuer) } else { &self.name })
    }

    fn client_secret(&self) -> Result<Option<Secret>, Problem> {
        let given = Some(self.client_secret.clone()).filter(|secret| !secret.reveal().is_empty());
        if self.client_secret_file.as_os_str().is_empty() {
            return Ok(given);
        }
        if given.is_some() {
            let message = "is set beside console.oidc.client_secret: give one of them".to_owned();
            return Err(problem("client_secret_file", message));
        }
        let text = std::fs::read_to_string(&self.client_secret_file).map_err(|error| {
            problem("client_secret_file", format!("{}: {error}", self.client_secret_file.display()))
        })?;
        Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())))
    }
}

impl Settings {
    /// What is agreed with the issuer at which people sign in to the console, of a server that is found at `public_url`;
    /// `None` if there is no such issuer.
    pub fn sign_in_agreement(&self, public_url: &str) -> Result<Option<Agreement>, Problem> {
        let oidc = &self.console.oidc;
        let Some(base_path) = self.console.base_path().filter(|_| !oidc.issuer.is_empty()) else { return Ok(None) };
        if !Url::parse(&oidc.issuer).is_ok_and(|url| oidc::is_safe(&url)) {
            let message = format!("{:?} is not an address with https:// of an issuer", oidc.issuer);
            return Err(problem("issuer", message));
        }
        if oidc.client_id.is_empty() {
            return Err(problem("client_id", "is empty: what does the issuer call this server?".to_owned()));
        }
        if !oidc.scopes.iter().any(|scope| scope == "openid") {
            return Err(problem("scopes", "openid has to be among them".to_owned()));
        }
        let claim = if oidc.roles_claim.is_empty() { &self.dps.roles_claim } else { &oidc.roles_claim };
        let roles_claim: Vec<String> = claim.split('.').map(str::to_owned).collect();
        if roles_claim.iter().any(String::is_empty) {
            let message = "name the claims from the outermost to the innermost, with dots between".to_owned();
            return Err(problem("roles_claim", message));
        }
        let place = |path: &str| {
            let place = format!("{public_url}{base_path}{path}");
            Url::parse(&place).map_err(|error| problem("issuer", format!("{place}: {error}")))
        };
        Ok(Some(Agreement {
            issuer: oidc.issuer.clone(),
            client_id: oidc.client_id.clone(),
            client_secret: oidc.client_secret()?,
            scopes: oidc.scopes.clone(),
            roles_claim,
            skew_seconds: self.issuer.clock_skew_seconds,
            redirect_url: place("/sign-in/back")?,
            signed_out_url: place("/sign-in")?,
        }))
    }
}

fn problem(key: &str, message: String) -> Problem {
    Problem { key: format!("console.oidc.{key}"), message }
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, Sources};

    #[test]
    fn what_is_wrong_is_told_with_its_key_and_never_with_the_secret() {
        let load = |overrides: &[(&str, &str)]| {
            let named = |(key, value): &(&str, &str)| (format!("console.oidc.{key}"), (*value).to_owned());
            Settings::load(&Sources { overrides: overrides.iter().map(named).collect(), ..Sources::default() })
        };
        let none = load(&[]).expect("valid");
        assert!(none.console.oidc.button().is_none());
        assert!(none.sign_in_agreement("https://archive.example.org").expect("valid").is_none());
        let good = [("issuer", "https://login.example.org/realms/archive"), ("client_id", "console")];
        let settings = load(&good).expect("valid");
        assert_eq!(settings.console.oidc.button(), Some("login.example.org"));
        let agreement =
            settings.sign_in_agreement("https://archive.example.org").expect("valid").expect("an agreement");
        assert_eq!(agreement.redirect_url.as_str(), "https://archive.example.org/console/sign-in/back");
        assert_eq!((agreement.roles_claim.join(" ").as_str(), agreement.client_secret), ("realm_access roles", None));
        for (more, key) in [
            (("issuer", "http://login.example.org"), "issuer"),
            (("issuer", "login.example.org"), "issuer"),
            (("client_id", ""), "client_id"),
            (("scopes", "profile"), "scopes"),
            (("roles_claim", "a..b"), "roles_claim"),
            (("client_secret_file", "/nonexistent/file"), "client_secret_file"),
        ] {
            let refused =
                load(&[good[0], good[1], ("client_secret", "hunter2"), more]).expect_err("refused").to_string();
            assert!(refused.contains(&format!("console.oidc.{key}")) && !refused.contains("hunter2"), "{refused}");
        }
    }
}
