//! In which order credentials are looked for.
//!
//! 1. The settings: an access key with its secret, or with the file that holds it.
//! 2. The environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
//! 3. The profile `AWS_PROFILE` (or `default`) in `AWS_SHARED_CREDENTIALS_FILE` (or `~/.aws/credentials`), unless the
//!    environment names a web identity.
//! 4. The machine's role: a web identity token, the role of a container or pod, the role of the instance. These change
//!    by themselves and are asked for again before they end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider};

use super::settings::{BucketSettings, SettingsError};

/// The provider that the settings and this machine lead to.
pub(super) fn provider(settings: &BucketSettings) -> Result<AwsCredentialProvider, SettingsError> {
    let found = match from_settings(settings)?.or_else(from_environment) {
        Some(credential) => Some(credential),
        None => from_profile()?,
    };
    if let Some(credential) = found {
        return Ok(Arc::new(StaticCredentialProvider::new(credential)));
    }
    let role = AmazonS3Builder::from_env().with_bucket_name("any").build().map_err(|error| {
        let reason = format!("there are no credentials in the settings, and none in the environment: {error}");
        SettingsError::new("access_key_id", reason)
    })?;
    Ok(Arc::clone(role.credentials()))
}

fn from_settings(settings: &BucketSettings) -> Result<Option<AwsCredential>, SettingsError> {
    let given = |setting: &Option<String>| setting.clone().filter(|value| !value.is_empty());
    let secret = match (given(&settings.secret_access_key), &settings.secret_access_key_file) {
        (Some(_), Some(_)) => {
            let reason = "give the secret itself or a file that holds it, not both";
            return Err(SettingsError::new("secret_access_key_file", reason));
        }
        (Some(secret), None) => Some(secret),
        (None, Some(file)) => Some(read_secret(file)?),
        (None, None) => None,
    };
    match (given(&settings.access_key_id), secret) {
        (Some(key_id), Some(secret_key)) => {
            Ok(Some(AwsCredential { key_id, secret_key, token: given(&settings.session_token) }))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(SettingsError::new("secret_access_key", "is missing beside access_key_id")),
        (None, Some(_)) => Err(SettingsError::new("access_key_id", "is missing beside its secret")),
    }
}

fn read_secret(file: &Path) -> Result<String, SettingsError> {
    let refused =
        |reason: String| SettingsError::new("secret_access_key_file", format!("{}: {reason}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    let secret = text.trim();
    if secret.is_empty() || secret.contains(char::is_whitespace) {
        return Err(refused("should hold the secret and nothing else".to_owned()));
    }
    Ok(secret.to_owned())
}

fn from_environment() -> Option<AwsCredential> {
    let key_id = variable("AWS_ACCESS_KEY_ID")?;
    let secret_key = variable("AWS_SECRET_ACCESS_KEY")?;
    Some(AwsCredential { key_id, secret_key, token: variable("AWS_SESSION_TOKEN") })
}

fn from_profile() -> Result<Option<AwsCredential>, SettingsError> {
    if variable("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() {
        return Ok(None);
    }
    let file = match variable("AWS_SHARED_CREDENTIALS_FILE") {
        Some(file) => PathBuf::from(file),
        None => match variable("HOME") {
            Some(home) => Path::new(&home).join(".aws/credentials"),
            None => return Ok(None),
        },
    };
    let named = variable("AWS_PROFILE");
    let profile = named.as_deref().unwrap_or("default");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        // Without a profile by name, nobody asked for the file.
        Err(_) if named.is_none() => return Ok(None),
        Err(error) => {
            let reason = format!("the profile {profile:?} is looked for in {}: {error}", file.display());
            return Err(SettingsError::new("access_key_id", reason));
        }
    };
    let found = read_profile(&text, profile);
    if found.is_none() && named.is_some() {
        let reason = format!("{} has no access key for the profile {profile:?}", file.display());
        return Err(SettingsError::new("access_key_id", reason));
    }
    Ok(found)
}

/// The access key of a profile in the text of a credentials file.
fn read_profile(text: &str, profile: &str) -> Option<AwsCredential> {
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
            let value = Some(value.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => key_id = value,
                "aws_secret_access_key" => secret_key = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(AwsCredential { key_id: key_id?, secret_key: secret_key?, token })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_by_its_name() {
        let text = "# keys\n[default]\naws_access_key_id = A\naws_secret_access_key=B=\n\n[ other ]\n\
                    aws_access_key_id=C\naws_secret_access_key=D\naws_session_token=E\n[half]\naws_access_key_id=F\n";
        let shown = |profile| read_profile(text, profile).map(|found| (found.key_id, found.secret_key, found.token));
        assert_eq!(shown("default"), Some(("A".to_owned(), "B=".to_owned(), None)));
        assert_eq!(shown("other"), Some(("C".to_owned(), "D".to_owned(), Some("E".to_owned()))));
        assert_eq!(shown("half"), None);
        assert_eq!(shown("absent"), None);
    }

    #[test]
    fn half_a_key_is_refused() {
        let half = BucketSettings { access_key_id: Some("A".to_owned()), ..BucketSettings::default() };
        assert!(matches!(from_settings(&half), Err(SettingsError { setting: "secret_access_key", .. })));
        let half = BucketSettings { secret_access_key: Some("B".to_owned()), ..BucketSettings::default() };
        assert!(matches!(from_settings(&half), Err(SettingsError { setting: "access_key_id", .. })));
    }
}
