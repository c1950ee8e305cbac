//! What an issuer publishes about itself: fetched without following redirects, with a bound on time and on length.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// A client for calls to an issuer that the settings name.
pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT / 2)
        .redirect(reqwest::redirect::Policy::none())
        // Calls are rare: a connection that is kept for the next one has mostly been closed by then.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("dipper/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The JSON document at an address.
pub(super) async fn document(client: &reqwest::Client, url: &str) -> anyhow::Result<Value> {
    let response = client.get(url).header("accept", "application/json").send().await?;
    anyhow::ensure!(response.status().is_success(), "{url} answered {}", response.status());
    read(response).await
}

/// The JSON in an answer.
pub(super) async fn read(response: reqwest::Response) -> anyhow::Result<Value> {
    let url = response.url().clone();
    let mut bytes = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk?);
        anyhow::ensure!(bytes.len() <= MAX_DOCUMENT_BYTES, "{url} is longer than {MAX_DOCUMENT_BYTES} bytes");
    }
    Ok(serde_json::from_slice(&bytes)?)
}

/// The metadata of an issuer, from the place that OpenID Connect Discovery names, or from that of RFC 8414.
pub(super) async fn metadata(client: &reqwest::Client, issuer: &str) -> anyhow::Result<Value> {
    let mut first_error = None;
    for url in metadata_urls(issuer)? {
        match document(client, &url).await {
            Ok(found) if found.get("issuer").and_then(Value::as_str) == Some(issuer) => return Ok(found),
            Ok(_) => {
                let error = anyhow::anyhow!("{url} describes another issuer than {issuer}");
                first_error = first_error.or(Some(error));
            }
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| anyhow::anyhow!("no place to look for the issuer's metadata")))
}

/// An address that metadata name.
pub(super) fn address(metadata: &Value, name: &str) -> anyhow::Result<Url> {
    let found = metadata.get(name).and_then(Value::as_str);
    let url = Url::parse(found.ok_or_else(|| anyhow::anyhow!("the issuer's metadata have no {name}"))?)?;
    anyhow::ensure!(matches!(url.scheme(), "http" | "https"), "the issuer's {name} is not on the web");
    Ok(url)
}

fn metadata_urls(issuer: &str) -> anyhow::Result<[String; 2]> {
    let openid = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let mut oauth = Url::parse(issuer)?;
    let path = format!("/.well-known/oauth-authorization-server{}", oauth.path().trim_end_matches('/'));
    oauth.set_path(&path);
    Ok([openid, oauth.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_lie_where_the_two_standards_say() {
        let urls = metadata_urls("https://login.example.org/realms/archive").expect("an issuer");
        assert_eq!(urls[0], "https://login.example.org/realms/archive/.well-known/openid-configuration");
        assert_eq!(urls[1], "https://login.example.org/.well-known/oauth-authorization-server/realms/archive");
        let urls = metadata_urls("https://login.example.org/").expect("an issuer");
        assert_eq!(urls[0], "https://login.example.org/.well-known/openid-configuration");
        assert_eq!(urls[1], "https://login.example.org/.well-known/oauth-authorization-server");
    }
}
