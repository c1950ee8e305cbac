//! Bearer tokens of an external issuer, good ones and forged ones.

use std::sync::Arc;

use axum::extract::FromRef;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dipper_core::Role;
use dipper_server::http::https::HttpsOnly;
use dipper_server::http::limit::{ByAddress, RateLimit};
use dipper_server::http::refusal::Shapes;
use dipper_server::http::{self, Common};
use dipper_server::signin::{Expectations, Gate, KeySource, Operator, Permit, Read, RemoteKeys, TokenVerifier, Write};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::support::Server;
use crate::issuer_double::{IssuerDouble, TestKey};

#[derive(Clone)]
struct State(Gate);

impl FromRef<State> for Gate {
    fn from_ref(state: &State) -> Gate {
        state.0.clone()
    }
}

/// A server with one handler for each right, that accepts the tokens of one issuer.
struct Guarded {
    url: String,
    http: reqwest::Client,
}

impl Guarded {
    async fn start(issuer: &str, jwks_url: Option<&str>, roles_claim: &str) -> Guarded {
        let expectations = Expectations {
            issuer: issuer.to_owned(),
            audience: Some("dipper".to_owned()),
            skew_seconds: 5,
            roles_claim: roles_claim.split('.').map(str::to_owned).collect(),
        };
        let keys = KeySource::Remote(RemoteKeys::new(issuer, jwks_url).expect("a client"));
        let limit = Arc::new(RateLimit::new(0, 1));
        let verifier = Arc::new(TokenVerifier::new(expectations, keys));
        let router = Router::new()
            .route("/read", get(async |permit: Permit<Read>| Json(permit.caller.client_id)))
            .route("/write", get(async |permit: Permit<Write>| Json(permit.caller.client_id)))
            .route("/operate", get(async |permit: Permit<Operator>| Json(permit.caller.client_id)))
            .with_state(State(Gate { verifier, limit: limit.clone() }));
        let timeout = std::time::Duration::from_secs(30);
        let limit = ByAddress { limit, except: Arc::default() };
        let https = HttpsOnly { insecure_http: true, public_url: "".into(), paths: Arc::default() };
        let common = Common { https, shapes: Shapes::default(), limit, timeout, max_body_bytes: 1000 };
        let router = http::wrap(router, &common);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Guarded { url, http: reqwest::Client::new() }
    }

    async fn ask(&self, path: &str, token: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.url)).bearer_auth(token).send().await.expect("sent")
    }

    async fn status(&self, token: &str) -> u16 {
        self.ask("/read", token).await.status().as_u16()
    }
}

#[tokio::test]
async fn all_accepted_algorithms_are_accepted_and_rights_kept_apart() {
    let keys = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
    let names = ["rsa", "pss", "ec", "ed"];
    let keys: Vec<_> = names.into_iter().zip(keys).map(|(id, algorithm)| TestKey::new(id, algorithm)).collect();
    let issuer = IssuerDouble::start(&keys, true).await;
    let server = Guarded::start(&issuer.url, None, "realm_access.roles").await;
    for key in &keys {
        let answer = server.ask("/read", &key.sign(&issuer.claims())).await;
        assert_eq!(answer.status(), 200, "{}", key.id);
        assert_eq!(answer.json::<String>().await.expect("JSON"), "harvester");
    }
    let token = keys[2].sign(&issuer.claims());
    for path in ["/write", "/operate"] {
        let answer = server.ask(path, &token).await;
        assert_eq!(answer.status(), 403, "{path}");
        let challenge = answer.headers()["www-authenticate"].to_str().expect("text").to_owned();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        assert_eq!(answer.json::<Value>().await.expect("JSON")["error"]["code"], "FORBIDDEN");
    }
    assert_eq!(issuer.fetched(), 1);
}

#[tokio::test]
async fn roles_may_be_a_scope_and_metadata_may_lie_where_rfc_8414_says() {
    let key = TestKey::new("ec", Algorithm::ES256);
    let issuer = IssuerDouble::start(std::slice::from_ref(&key), false).await;
    let server = Guarded::start(&issuer.url, None, "scope").await;
    let mut claims = issuer.claims();
    claims["scope"] = json!("openid 2d17_W 2d17_O");
    claims["client_id"] = json!("by-client-id");
    claims.as_object_mut().expect("an object").remove("azp");
    let token = key.sign(&claims);
    assert_eq!(server.status(&token).await, 403);
    let answer = server.ask("/write", &token).await;
    assert_eq!((answer.status().as_u16(), answer.json::<String>().await.expect("JSON")), (200, "by-client-id".into()));
    assert_eq!(server.ask("/operate", &token).await.status(), 200);
}

#[tokio::test]
async fn forged_and_wrong_tokens_are_refused() {
    let (rsa, ec) = (TestKey::new("rsa", Algorithm::RS256), TestKey::new("ec", Algorithm::ES256));
    let mut symmetric = json!({ "kty": "oct", "kid": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode("shared secret") });
    let issuer = IssuerDouble::start(&[rsa.clone(), ec.clone()], true).await;
    issuer.published.lock().expect("unpoisoned").push(symmetric.take());
    let jwks_url = format!("{}/keys", issuer.url);
    let server = Guarded::start(&issuer.url, Some(&jwks_url), "realm_access.roles").await;
    let good = issuer.claims();
    assert_eq!(server.status(&rsa.sign(&good)).await, 200);

    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = |header: Value| format!("{}.{}.", encode(&header), encode(&good));
    let hmac = |secret: &[u8], id: &str| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(id.to_owned());
        jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(secret)).expect("signed")
    };
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let now = jsonwebtoken::get_current_timestamp();
    let stranger = TestKey::new("rsa", Algorithm::RS256);
    let unnamed = Header::new(Algorithm::RS256);
    let mut wrong_key = Header::new(Algorithm::RS256);
    wrong_key.kid = Some("ec".to_owned());
    // The key is declared for RS256, so it must not check a PS256 signature either.
    let mut wrong_padding = Header::new(Algorithm::PS256);
    wrong_padding.kid = Some("rsa".to_owned());
    let genuine = rsa.sign(&good);
    let (head, rest) = genuine.split_once('.').expect("a token");
    let (body, signature) = rest.split_once('.').expect("a token");
    let more = encode(&changed("realm_access", json!({ "roles": ["2d17_O"] })));
    let critical = encode(&json!({ "alg": "RS256", "kid": "rsa", "crit": ["x"], "x": 1 }));
    let mut no_expiry = good.clone();
    no_expiry.as_object_mut().expect("an object").remove("exp");
    let mut no_client = good.clone();
    for name in ["azp", "sub"] {
        no_client.as_object_mut().expect("an object").remove(name);
    }

    let table = [
        ("alg none", unsigned(json!({ "alg": "none" }))),
        ("alg None", unsigned(json!({ "alg": "None", "kid": "rsa" }))),
        ("RS256 without a signature", unsigned(json!({ "alg": "RS256", "kid": "rsa" }))),
        ("HS256 with the public modulus", hmac(rsa.public["n"].as_str().expect("n").as_bytes(), "rsa")),
        ("HS256 with the published key", hmac(rsa.public.to_string().as_bytes(), "rsa")),
        ("HS256 with a published symmetric key", hmac(b"shared secret", "oct")),
        ("a stranger's key under a known name", stranger.sign(&good)),
        ("no key named though there are two", rsa.sign_with(&unnamed, &good)),
        ("an RSA signature under the EC key's name", rsa.sign_with(&wrong_key, &good)),
        ("another padding than the key's", rsa.sign_with(&wrong_padding, &good)),
        ("changed roles", format!("{head}.{more}.{signature}")),
        ("a critical extension", format!("{critical}.{body}.{signature}")),
        ("another issuer", rsa.sign(&changed("iss", json!("https://elsewhere.example.org")))),
        ("another audience", rsa.sign(&changed("aud", json!("account")))),
        ("expired", rsa.sign(&changed("exp", json!(now - 6)))),
        ("without expiry", rsa.sign(&no_expiry)),
        ("not valid yet", rsa.sign(&changed("nbf", json!(now + 60)))),
        ("without a client", rsa.sign(&no_client)),
        ("garbage", "garbage".to_owned()),
        ("dots", "..".to_owned()),
        ("too long", "a".repeat(20_000) + ".b.c"),
    ];
    for (what, token) in table {
        let answer = server.ask("/read", &token).await;
        assert_eq!(answer.status(), 401, "{what}");
        let challenge = answer.headers()["www-authenticate"].to_str().expect("text").to_owned();
        assert!(challenge.starts_with("Bearer realm=\"dipper\", error=\"invalid_token\""), "{what}: {challenge}");
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["error"]["code"], "UNAUTHORIZED", "{what}");
    }
    let just_now = jsonwebtoken::get_current_timestamp() - 2;
    assert_eq!(server.status(&rsa.sign(&changed("exp", json!(just_now)))).await, 200, "within the skew");
}

#[tokio::test]
async fn headers_without_a_token_are_told_how() {
    let key = TestKey::new("ec", Algorithm::ES256);
    let issuer = IssuerDouble::start(std::slice::from_ref(&key), true).await;
    let server = Guarded::start(&issuer.url, None, "realm_access.roles").await;
    let ask = |header: Option<&str>| {
        let request = server.http.get(format!("{}/read", server.url));
        match header {
            Some(header) => request.header("authorization", header).send(),
            None => request.send(),
        }
    };
    let none = ask(None).await.expect("sent");
    assert_eq!(
        (none.status().as_u16(), &none.headers()["www-authenticate"]),
        (401, &"Bearer realm=\"dipper\"".parse().expect("a value"))
    );
    for header in ["Basic YTpi", "Bearer", "token"] {
        let answer = ask(Some(header)).await.expect("sent");
        assert_eq!(answer.status(), 401, "{header}");
        let challenge = answer.headers()["www-authenticate"].to_str().expect("text");
        assert!(challenge.contains("error=\"invalid_request\""), "{header}: {challenge}");
    }
    let lower_case = ask(Some(&format!("bearer {}", key.sign(&issuer.claims())))).await.expect("sent");
    assert_eq!(lower_case.status(), 200);
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_unknown_ones_do_not_hammer_the_issuer() {
    let (old, new) = (TestKey::new("old", Algorithm::ES256), TestKey::new("new", Algorithm::ES256));
    let issuer = IssuerDouble::start(std::slice::from_ref(&old), true).await;
    let server = Guarded::start(&issuer.url, None, "realm_access.roles").await;
    assert_eq!(server.status(&old.sign(&issuer.claims())).await, 200);
    issuer.publish(&[&new, &old]);
    assert_eq!(server.status(&new.sign(&issuer.claims())).await, 200);
    assert_eq!(server.status(&old.sign(&issuer.claims())).await, 200);
    assert_eq!(issuer.fetched(), 2);
    let forger = TestKey::new("unknown", Algorithm::ES256);
    for _ in 0..20 {
        assert_eq!(server.status(&forger.sign(&issuer.claims())).await, 401);
    }
    assert_eq!(issuer.fetched(), 2);
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_no_fault_of_the_token() {
    let key = TestKey::new("ec", Algorithm::ES256);
    let issuer = IssuerDouble::start(&[], true).await;
    let server = Guarded::start(&issuer.url, None, "realm_access.roles").await;
    let answer = server.ask("/read", &key.sign(&issuer.claims())).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let asked = issuer.fetched();
    server.status(&key.sign(&issuer.claims())).await;
    assert_eq!(issuer.fetched(), asked, "a second attempt within the pause");
    // What is not a token at all needs no key to be refused.
    assert_eq!(server.status("garbage").await, 401);
}

#[tokio::test]
async fn metadata_of_another_issuer_are_not_believed() {
    let key = TestKey::new("ec", Algorithm::ES256);
    let issuer = IssuerDouble::start(std::slice::from_ref(&key), true).await;
    let other_name = issuer.url.replace("127.0.0.1", "localhost");
    let server = Guarded::start(&other_name, None, "realm_access.roles").await;
    let mut claims = issuer.claims();
    claims["iss"] = json!(other_name);
    assert_eq!(server.status(&key.sign(&claims)).await, 503);
    assert_eq!(issuer.fetched(), 0);
}

/// An issuer whose keys are at an address that misbehaves.
async fn misbehaving(router: Router) -> (String, Guarded) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let server = Guarded::start(&url, Some(&format!("{url}/keys")), "realm_access.roles").await;
    (url, server)
}

#[tokio::test]
async fn keys_are_not_taken_through_redirects_nor_from_endless_documents() {
    let key = TestKey::new("ec", Algorithm::ES256);
    let keys = json!({ "keys": [key.public] });
    let redirect = async || (axum::http::StatusCode::FOUND, [("location", "/elsewhere")]);
    let elsewhere = { async move || Json(keys) };
    let endless = async || {
        let piece = || Some((Ok::<_, std::io::Error>(axum::body::Bytes::from(vec![b' '; 65536])), ()));
        axum::body::Body::from_stream(futures_util::stream::unfold((), move |()| async move { piece() }))
    };
    for router in [
        Router::new().route("/keys", get(redirect)).route("/elsewhere", get(elsewhere)),
        Router::new().route("/keys", get(endless)),
        Router::new().route("/keys", get(async || "not JSON")),
        Router::new().route("/keys", get(async || Json(json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] })))),
    ] {
        let (url, server) = misbehaving(router).await;
        let now = jsonwebtoken::get_current_timestamp();
        let roles = json!({ "roles": ["2d17_R"] });
        let claims = json!({ "iss": url, "aud": "dipper", "azp": "a", "exp": now + 60, "realm_access": roles });
        assert_eq!(server.status(&key.sign(&claims)).await, 503);
    }
}

#[tokio::test]
async fn a_client_of_an_external_issuer_gets_its_package() {
    let key = TestKey::new("ec", Algorithm::ES256);
    let issuer = IssuerDouble::start(std::slice::from_ref(&key), true).await;
    let server = Server::start(&[("issuer.url", &issuer.url), ("issuer.audience", "dipper")]).await;
    let package = server.small_package("2d17", "one").await;
    let foreign = server.small_package("other", "one").await;
    let caller = server.caller_with(key.sign(&issuer.claims()));
    let id = caller.order(&package.id).await;
    server.work().await;
    let body = caller.dissemination(&id).await;
    assert_eq!((&body["status"], &body["clientId"]), (&json!("DISSEMINATED"), &json!("harvester")));
    let (status, _) = caller.post("/disseminations", &json!({ "archiveId": foreign.id })).await;
    assert_eq!(status, 403);
    // What the embedded issuer would sign is nothing here.
    let other = Server::start(&[]).await;
    let secret = other.client("harvester", &[("2d17", Role::Read)]).await;
    let embedded = server.caller_with(other.token("harvester", &secret).await);
    assert_eq!(embedded.get("/archives").await.0, 401);
}
