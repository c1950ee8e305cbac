//! An external issuer that does what a test wants: publishes the keys it is given, and counts who asks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// A key of an issuer, with the public half as it is published.
#[derive(Clone)]
pub(crate) struct TestKey {
    pub(crate) id: &'static str,
    pub(crate) algorithm: Algorithm,
    pub(crate) secret: EncodingKey,
    pub(crate) public: Value,
}

impl TestKey {
    pub(crate) fn new(id: &'static str, algorithm: Algorithm) -> TestKey {
        let secret = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
                let der: Pkcs8V1Der<'_> = pair.as_der().expect("encoded");
                // The PKCS #1 key inside, behind a head that is 26 bytes long for every key of 2048 bits.
                EncodingKey::from_rsa_der(&der.as_ref()[26..])
            }
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
                EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("encoded").as_ref())
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::generate().expect("a key");
                EncodingKey::from_ed_der(pair.to_pkcs8v1().expect("encoded").as_ref())
            }
            other => panic!("{other:?} is no algorithm of an issuer"),
        };
        let mut jwk = Jwk::from_encoding_key(&secret, algorithm).expect("a public key");
        jwk.common.key_id = Some(id.to_owned());
        TestKey { id, algorithm, secret, public: serde_json::to_value(jwk).expect("JSON") }
    }

    /// Signs whatever it is given.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        self.sign_with(&header, claims)
    }

    pub(crate) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.secret).expect("signed")
    }
}

/// The issuer.
pub(crate) struct IssuerDouble {
    pub(crate) url: String,
    pub(crate) published: Arc<Mutex<Vec<Value>>>,
    pub(crate) fetches: Arc<AtomicUsize>,
}

impl IssuerDouble {
    /// Starts one with metadata in the OpenID place, or in that of RFC 8414.
    pub(crate) async fn start(keys: &[TestKey], openid: bool) -> IssuerDouble {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let url = format!("http://{}/realms/archive", listener.local_addr().expect("an address"));
        let published = Arc::new(Mutex::new(keys.iter().map(|key| key.public.clone()).collect::<Vec<_>>()));
        let fetches = Arc::new(AtomicUsize::new(0));
        let metadata = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
        let place = match openid {
            true => "/realms/archive/.well-known/openid-configuration",
            false => "/.well-known/oauth-authorization-server/realms/archive",
        };
        let (keys, count) = (published.clone(), fetches.clone());
        let router = Router::new().route(place, get(async move || Json(metadata))).route(
            "/realms/archive/keys",
            get(async move || {
                count.fetch_add(1, Ordering::SeqCst);
                let keys = keys.lock().expect("unpoisoned").clone();
                let status = if keys.is_empty() { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
                (status, Json(json!({ "keys": keys })))
            }),
        );
        tokio::spawn(async move { axum::serve(listener, router).await });
        IssuerDouble { url, published, fetches }
    }

    pub(crate) fn fetched(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    pub(crate) fn publish(&self, keys: &[&TestKey]) {
        *self.published.lock().expect("unpoisoned") = keys.iter().map(|key| key.public.clone()).collect();
    }

    /// Claims that are all right.
    pub(crate) fn claims(&self) -> Value {
        let now = jsonwebtoken::get_current_timestamp();
        json!({
            "iss": self.url,
            "aud": ["account", "dipper"],
            "azp": "harvester",
            "sub": "1234",
            "iat": now,
            "exp": now + 300,
            "realm_access": { "roles": ["2d17_R", "offline_access"] },
        })
    }
}
