//! The embedded issuer: tokens for stored clients, keys, metadata.

use dipper_core::Role;
use dipper_server::signin::issuer;
use serde_json::Value;

use super::support::{Server, header};

async fn ask(server: &Server, form: &[(&str, &str)]) -> (u16, Value) {
    let answer = server.http.post(format!("{}/oauth2/token", server.url)).form(form).send().await.expect("sent");
    assert_eq!(header(&answer, "cache-control"), "no-store");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test]
async fn a_stored_client_gets_a_token_with_its_roles() {
    let server = Server::start(&[]).await;
    let secret = server.client("harvester", &[("2d17", Role::Read), ("2d17", Role::Write)]).await;
    let form = [("grant_type", "client_credentials"), ("client_id", "harvester"), ("client_secret", secret.reveal())];
    let (status, answer) = ask(&server, &form).await;
    assert_eq!((status, &answer["token_type"], &answer["expires_in"]), (200, &"Bearer".into(), &900.into()));
    let token = answer["access_token"].as_str().expect("a token");

    let keys: Value = server.get("/oauth2/jwks").await.json().await.expect("JSON");
    assert!(keys["keys"][0].get("d").is_none(), "{keys}");
    let key = serde_json::from_value(keys["keys"][0].clone()).expect("a key");
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&[&server.url]);
    validation.set_issuer(&[&server.url]);
    let key = jsonwebtoken::DecodingKey::from_jwk(&key).expect("a key");
    let claims = jsonwebtoken::decode::<Value>(token, &key, &validation).expect("a good token").claims;
    assert_eq!(claims["client_id"], "harvester");
    assert_eq!(claims["realm_access"]["roles"], serde_json::json!(["2d17_R", "2d17_W"]));

    let basic = server.http.post(format!("{}/oauth2/token", server.url)).basic_auth("harvester", Some(secret.reveal()));
    let basic = basic.form(&[("grant_type", "client_credentials")]).send().await.expect("sent");
    assert_eq!(basic.status(), 200);

    let metadata: Value = server.get("/.well-known/oauth-authorization-server").await.json().await.expect("JSON");
    assert_eq!(metadata["issuer"], server.url);
    assert_eq!(metadata["token_endpoint"], format!("{}/oauth2/token", server.url));
}

#[tokio::test]
async fn wrong_requests_are_refused_in_the_words_of_the_standard() {
    let server = Server::start(&[]).await;
    let secret = server.client("harvester", &[]).await;
    let (grant, id) = (("grant_type", "client_credentials"), ("client_id", "harvester"));
    let good = ("client_secret", secret.reveal());
    for (form, status, error) in [
        (vec![id, good], 400, "invalid_request"),
        (vec![("grant_type", "password"), id, good], 400, "unsupported_grant_type"),
        (vec![grant, grant, id, good], 400, "invalid_request"),
        (vec![grant, id], 401, "invalid_client"),
        (vec![grant, id, ("client_secret", "wrong")], 401, "invalid_client"),
        (vec![grant, ("client_id", "nobody"), good], 401, "invalid_client"),
    ] {
        let (found, answer) = ask(&server, &form).await;
        assert_eq!((found, &answer["error"]), (status, &error.into()), "{form:?}");
        assert!(answer["error_description"].is_string());
    }
    let both = server.http.post(format!("{}/oauth2/token", server.url)).basic_auth("harvester", Some("x"));
    let both = both.form(&[grant, good]).send().await.expect("sent");
    assert_eq!(both.status(), 400);
    let long = vec![b'a'; 2_000_000];
    let long = server.http.post(format!("{}/oauth2/token", server.url)).body(long).send().await.expect("sent");
    assert_eq!(long.status(), 413);
    assert_eq!(long.json::<Value>().await.expect("JSON")["error"], "invalid_request");
}

#[tokio::test]
async fn guessing_a_secret_is_slowed_down() {
    let server = Server::start(&[]).await;
    let secret = server.client("harvester", &[]).await;
    let form = |secret| [("grant_type", "client_credentials"), ("client_id", "harvester"), ("client_secret", secret)];
    for _ in 0..5 {
        assert_eq!(ask(&server, &form("guess")).await.0, 401);
    }
    let (status, _) = ask(&server, &form(secret.reveal())).await;
    assert_eq!(status, 429, "even the right secret has to wait");
    let secret = server.client("another", &[]).await;
    server.token("another", &secret).await;
}

#[tokio::test]
async fn keys_are_kept_and_can_be_added() {
    let server = Server::start(&[]).await;
    let kept: Value = server.get("/oauth2/jwks").await.json().await.expect("JSON");
    let keys = server.installation.data.keys();
    let data = server.stop().await;
    issuer::add_key(&keys).expect("added");
    let server = Server::start_in(data, &[], false).await;
    let both: Value = server.get("/oauth2/jwks").await.json().await.expect("JSON");
    let both = both["keys"].as_array().expect("keys");
    assert!(both.len() == 2 && both.contains(&kept["keys"][0]), "{both:?}");
    let secret = server.client("harvester", &[]).await;
    let token = server.token("harvester", &secret).await;
    let header = jsonwebtoken::decode_header(token).expect("a token");
    assert_eq!(header.kid.as_deref(), both[1]["kid"].as_str(), "the newest signs");
    assert_ne!(both[1], kept["keys"][0]);
}

#[tokio::test]
async fn with_an_external_issuer_no_tokens_are_issued_here() {
    let server = Server::start(&[("issuer.url", "https://login.example.org")]).await;
    let form = [("grant_type", "client_credentials"), ("client_id", "a"), ("client_secret", "b")];
    assert_eq!(ask(&server, &form).await.0, 404);
    assert_eq!(server.get("/oauth2/jwks").await.status(), 404);
    let keys = std::fs::read_dir(server.installation.data.keys()).expect("a directory");
    let mut names = keys.map(|entry| entry.expect("an entry").file_name());
    assert!(names.all(|name| !name.to_string_lossy().starts_with("token-")));
}
