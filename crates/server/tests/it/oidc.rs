//! Signing people in at an issuer that says what a test wants: only one answer in which everything is right is believed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use dipper_core::Role;
use dipper_core::secret::Secret;
use dipper_server::signin::oidc::{Agreement, Answer, Begun, Oidc, OidcError, SignedIn};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use url::Url;

use super::support::Server;
use crate::issuer_double::TestKey;

/// What the issuer answers, and what it was asked.
#[derive(Default)]
struct Script {
    issuer: String,
    keys: Vec<Value>,
    /// What is added to its metadata.
    metadata: Value,
    /// The status and body with which a code is exchanged.
    tokens: (u16, Value),
    user_info: Value,
    asked: Vec<(HeaderMap, Vec<(String, String)>)>,
}

type Shared = Arc<Mutex<Script>>;

/// An issuer, and a server's agreement with it.
struct Desk {
    script: Shared,
    key: TestKey,
    oidc: Oidc,
    begun: Begun,
    /// What the browser is given, by name.
    sent: Vec<(String, String)>,
}

async fn metadata(State(script): State<Shared>) -> Json<Value> {
    let script = script.lock().expect("unpoisoned");
    let mut document = json!({ "issuer": script.issuer });
    for (name, path) in [
        ("authorization_endpoint", "auth?tenant=1"),
        ("token_endpoint", "token"),
        ("jwks_uri", "keys"),
        ("userinfo_endpoint", "me"),
        ("end_session_endpoint", "out"),
    ] {
        document[name] = json!(format!("{}/{path}", script.issuer));
    }
    for (name, value) in script.metadata.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    Json(document)
}

async fn issuer(more: Value, key: &TestKey) -> Shared {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
    let issuer = format!("http://{}", listener.local_addr().expect("an address"));
    let script = Script { issuer, keys: vec![key.public.clone()], metadata: more, ..Script::default() };
    let script = Arc::new(Mutex::new(script));
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(metadata))
        .route(
            "/keys",
            get(async |State(script): State<Shared>| Json(json!({ "keys": script.lock().expect("unpoisoned").keys }))),
        )
        .route(
            "/me",
            get(async |State(script): State<Shared>| Json(script.lock().expect("unpoisoned").user_info.clone())),
        )
        .route(
            "/token",
            post(async |State(script): State<Shared>, headers: HeaderMap, Form(form): Form<Vec<(String, String)>>| {
                let mut script = script.lock().expect("unpoisoned");
                script.asked.push((headers, form));
                let (status, body) = script.tokens.clone();
                (StatusCode::from_u16(status).expect("a status"), Json(body))
            }),
        )
        .with_state(Arc::clone(&script));
    tokio::spawn(async move { axum::serve(listener, router).await });
    script
}

impl Desk {
    /// Somebody has just been sent to an issuer whose metadata say `more` besides.
    async fn open(server: &Server, more: Value) -> Desk {
        let key = TestKey::new("one", Algorithm::ES256);
        let script = issuer(more, &key).await;
        let agreement = Agreement {
            issuer: script.lock().expect("unpoisoned").issuer.clone(),
            client_id: "dipper console".to_owned(),
            client_secret: Some(Secret::new("se:cret".to_owned())),
            scopes: vec!["openid".to_owned(), "profile".to_owned()],
            roles_claim: vec!["realm_access".to_owned(), "roles".to_owned()],
            skew_seconds: 5,
            redirect_url: Url::parse("https://archive.example.org/console/back").expect("an address"),
            signed_out_url: Url::parse("https://archive.example.org/console/").expect("an address"),
        };
        let oidc = Oidc::new(agreement, server.installation.clone()).expect("a client");
        let begun = oidc.begin("/console/packages").await.expect("begun");
        let sent = begun.url.query_pairs().into_owned().collect();
        Desk { script, key, oidc, begun, sent }
    }

    fn sent(&self, name: &str) -> String {
        self.sent.iter().find(|(sent, _)| sent == name).map(|(_, value)| value.clone()).expect("sent")
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().expect("unpoisoned")
    }

    /// An ID token in which everything is right.
    fn claims(&self) -> Value {
        let now = jsonwebtoken::get_current_timestamp();
        json!({
            "iss": self.script().issuer,
            "aud": "dipper console",
            "sub": "1234",
            "iat": now,
            "exp": now + 60,
            "nonce": self.sent("nonce"),
            "name": "Ada",
            "realm_access": { "roles": ["2d17_R", "offline_access"] },
        })
    }

    fn give(&self, id_token: &str) {
        let tokens = json!({ "id_token": id_token, "access_token": "of Ada", "token_type": "bearer" });
        self.script().tokens = (200, tokens);
    }

    async fn finish(&self, answer: Value) -> Result<SignedIn, OidcError> {
        let answer: Answer = serde_json::from_value(answer).expect("an answer");
        self.oidc.finish(&answer, Some(&self.begun.pending)).await
    }

    /// The browser comes back with a code, and the issuer exchanges it for this token.
    async fn with(&self, claims: &Value) -> Result<SignedIn, OidcError> {
        self.give(&self.key.sign(claims));
        self.finish(json!({ "code": "the code", "state": self.sent("state") })).await
    }
}

fn not_believed(result: Result<SignedIn, OidcError>) -> bool {
    matches!(result, Err(OidcError::NotBelieved(_)))
}

#[tokio::test]
async fn a_person_is_signed_in_with_the_roles_that_the_issuer_names() {
    let server = Server::start(&[]).await;
    let desk = Desk::open(&server, json!({})).await;
    let sent = |name| desk.sent(name);
    assert!(desk.begun.url.as_str().starts_with(&format!("{}/auth?tenant=1&", desk.script().issuer)));
    assert_eq!((sent("response_type"), sent("scope")), ("code".to_owned(), "openid profile".to_owned()));
    let signed_in = desk.with(&desk.claims()).await.expect("signed in");
    assert_eq!((signed_in.name.as_str(), signed_in.return_to.as_str()), ("Ada", "/console/packages"));
    assert_eq!((signed_in.caller.client_id.as_str(), signed_in.caller.stored), ("oidc:1234", false));
    assert!(signed_in.caller.grants.has("2d17", Role::Read) && !signed_in.caller.grants.has("2d17", Role::Write));

    let (headers, form) = desk.script().asked.remove(0);
    let credentials = BASE64_STANDARD.encode("dipper+console:se%3Acret");
    assert_eq!(headers["authorization"], format!("Basic {credentials}"));
    let form = |name: &str| form.iter().find(|(sent, _)| sent == name).map(|(_, value)| value.as_str());
    assert_eq!((form("code"), form("client_secret")), (Some("the code"), None));
    assert_eq!(form("redirect_uri"), Some("https://archive.example.org/console/back"));
    let challenge = digest(&SHA256, form("code_verifier").expect("a verifier").as_bytes());
    assert_eq!(sent("code_challenge"), BASE64_URL_SAFE_NO_PAD.encode(challenge));
    assert_eq!(sent("code_challenge_method"), "S256");

    let out = desk.oidc.sign_out_url().await.expect("an address").to_string();
    assert!(out.ends_with(
        "/out?client_id=dipper+console&post_logout_redirect_uri=https%3A%2F%2Farchive.example.org%2Fconsole%2F"
    ));
}

#[tokio::test]
async fn an_id_token_that_is_not_all_right_is_not_believed() {
    let server = Server::start(&[]).await;
    let desk = Desk::open(&server, json!({})).await;
    let now = jsonwebtoken::get_current_timestamp();
    for (name, value) in [
        ("iss", json!("https://login.example.org")),
        ("aud", json!("another client")),
        ("aud", json!(["dipper console", "another client"])),
        ("azp", json!("another client")),
        ("nonce", json!("of another sign-in")),
        ("nonce", Value::Null),
        ("exp", json!(now - 10)),
        ("nbf", json!(now + 60)),
        ("sub", json!("")),
    ] {
        let mut claims = desk.claims();
        claims[name] = value;
        assert!(not_believed(desk.with(&claims).await), "{claims}");
    }
    let mut two = desk.claims();
    two["aud"] = json!(["dipper console", "account"]);
    two["azp"] = json!("dipper console");
    assert!(desk.with(&two).await.is_ok(), "one of several audiences that was asked for");

    let (state, claims) = (desk.sent("state"), desk.claims());
    let stranger = TestKey::new("one", Algorithm::ES256);
    let unsigned = format!(
        "{}.{}.",
        BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    for token in [stranger.sign(&claims), unsigned, "no token".to_owned()] {
        desk.give(&token);
        assert!(not_believed(desk.finish(json!({ "code": "c", "state": state })).await), "{token}");
    }
}

#[tokio::test]
async fn a_browser_that_did_not_begin_finishes_nothing() {
    let server = Server::start(&[]).await;
    let desk = Desk::open(&server, json!({ "authorization_response_iss_parameter_supported": true })).await;
    let (state, issuer) = (desk.sent("state"), desk.script().issuer.clone());
    desk.give(&desk.key.sign(&desk.claims()));
    let good = json!({ "code": "c", "state": state, "iss": issuer });
    for state in [json!("another"), Value::Null] {
        let answer = json!({ "code": "c", "state": state, "iss": issuer });
        assert_eq!(desk.finish(answer).await.err(), Some(OidcError::NotBegun));
    }
    let elsewhere = desk.oidc.begin("/").await.expect("begun");
    let answer: Answer = serde_json::from_value(good.clone()).expect("an answer");
    for pending in [None, Some(""), Some(elsewhere.pending.as_str())] {
        assert_eq!(desk.oidc.finish(&answer, pending).await.err(), Some(OidcError::NotBegun));
    }
    for iss in [json!("https://login.example.org"), Value::Null] {
        let answer = json!({ "code": "c", "state": state, "iss": iss });
        assert!(not_believed(desk.finish(answer).await), "where an issuer names itself, it must be this one");
    }
    let refused = json!({ "error": "access_denied", "state": state, "iss": issuer });
    assert_eq!(desk.finish(refused).await.err(), Some(OidcError::Refused("access_denied".to_owned())));
    assert!(not_believed(desk.finish(json!({ "state": state, "iss": issuer })).await), "without a code");
    assert!(desk.script().asked.is_empty(), "none of these codes was exchanged");
    assert!(desk.finish(good).await.is_ok());
}

#[tokio::test]
async fn what_the_issuer_answers_for_a_code_is_told_apart() {
    let server = Server::start(&[]).await;
    let desk = Desk::open(&server, json!({})).await;
    for (status, body, error) in [
        (400, json!({ "error": "invalid_grant" }), OidcError::NotBegun),
        (401, json!({ "error": "invalid_client" }), OidcError::Unavailable),
        (500, json!("broken"), OidcError::Unavailable),
        (200, json!({ "access_token": "of Ada" }), OidcError::NotBelieved("there is no ID token")),
    ] {
        desk.script().tokens = (status, body);
        let finished = desk.finish(json!({ "code": "c", "state": desk.sent("state") })).await;
        assert_eq!(finished.err(), Some(error));
    }
}

#[tokio::test]
async fn roles_that_are_not_in_the_id_token_are_asked_for() {
    let server = Server::start(&[]).await;
    let desk = Desk::open(&server, json!({})).await;
    let mut claims = desk.claims();
    claims.as_object_mut().expect("an object").remove("realm_access");
    let roles = json!({ "roles": ["2d17_O"] });
    desk.script().user_info = json!({ "sub": "1234", "realm_access": roles });
    let signed_in = desk.with(&claims).await.expect("signed in");
    assert!(signed_in.caller.grants.has("2d17", Role::Operator));
    desk.script().user_info = json!({ "sub": "4321", "realm_access": roles });
    assert!(not_believed(desk.with(&claims).await), "what is told of somebody else gives nothing");
    for nothing in [json!({ "sub": "1234" }), json!({ "sub": "1234", "realm_access": { "roles": ["admin"] } })] {
        desk.script().user_info = nothing;
        assert_eq!(desk.with(&claims).await.err(), Some(OidcError::NoRole("Ada".to_owned())));
    }
}

#[tokio::test]
async fn an_issuer_that_is_away_is_told_from_one_that_refuses() {
    let server = Server::start(&[]).await;
    let desk = Desk::open(&server, json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] })).await;
    let _ = desk.with(&desk.claims()).await.expect("signed in");
    let (headers, form) = desk.script().asked.remove(0);
    assert!(!headers.contains_key("authorization"), "this issuer wants the secret in the body");
    assert!(form.contains(&("client_secret".to_owned(), "se:cret".to_owned())));

    let nobody = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
    let issuer = format!("http://{}", nobody.local_addr().expect("an address"));
    drop(nobody);
    let agreement = Agreement {
        issuer,
        client_id: "dipper".to_owned(),
        client_secret: None,
        scopes: vec!["openid".to_owned()],
        roles_claim: vec!["roles".to_owned()],
        skew_seconds: 0,
        redirect_url: Url::parse("https://archive.example.org/back").expect("an address"),
        signed_out_url: Url::parse("https://archive.example.org/").expect("an address"),
    };
    let oidc = Oidc::new(agreement, server.installation.clone()).expect("a client");
    assert_eq!(oidc.begin("/").await.err(), Some(OidcError::Unavailable));
    assert_eq!(oidc.sign_out_url().await, None);
}
