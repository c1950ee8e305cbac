//! What every request gets: an id, headers, error shapes, limits.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::{get, post};
use dipper_core::Role;
use dipper_server::http::Common;
use dipper_server::http::https::HttpsOnly;
use dipper_server::http::limit::{ByAddress, RateLimit};
use dipper_server::http::refusal::Shapes;
use serde_json::Value;

use super::support::{Server, header};

#[tokio::test]
async fn probes_answer() {
    let server = Server::start(&[]).await;
    for path in ["/healthz", "/readyz"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.text().await.expect("text"), r#"{"status":"ok"}"#);
    }
    let declaration = server.installation.data.archive().join("0=ocfl_1.1");
    let text = std::fs::read(&declaration).expect("a declaration");
    dipper_archive::publish::remove_file(&declaration).expect("removed");
    assert_eq!(server.get("/readyz").await.status(), 503, "the storage root is not there");
    dipper_archive::publish::write_file(&declaration, &text).expect("written");
    assert_eq!(server.get("/readyz").await.status(), 200);
    server.database().close().await;
    let answer = server.get("/readyz").await;
    assert_eq!(answer.status(), 503);
    assert!(!answer.text().await.expect("text").contains("sql"));
    assert_eq!(server.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn every_answer_has_the_request_id_and_the_headers() {
    let server = Server::start(&[]).await;
    for (path, status) in [("/healthz", 200), ("/nothing", 404), ("/swagger/", 200), ("/oauth2/token", 405)] {
        let answer = server.get(path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(header(&answer, "x-request-id").len(), 32, "{path}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&answer, "x-frame-options"), "DENY", "{path}");
        assert!(!header(&answer, "content-security-policy").is_empty(), "{path}");
    }
    let given = |id: &str| server.http.get(format!("{}/healthz", server.url)).header("x-request-id", id).send();
    let kept = given("trace-0001/a.b").await.expect("sent");
    assert_eq!(header(&kept, "x-request-id"), "trace-0001/a.b");
    for unfit in ["short", "with space in it", "\"quoted-text\"", &"x".repeat(200)] {
        assert_ne!(header(&given(unfit).await.expect("sent"), "x-request-id"), unfit);
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_json() {
    let server = Server::start(&[]).await;
    for (method, path, status, code) in [
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", "/swagger/nothing.js", 404, "NOT_FOUND"),
        ("GET", "/swagger/..%2f..%2fetc%2fpasswd", 404, "NOT_FOUND"),
        ("DELETE", "/healthz", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let method = method.parse().expect("a method");
        let answer = server.http.request(method, format!("{}{path}", server.url)).send().await.expect("sent");
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(header(&answer, "content-type"), "application/json", "{path}");
        if status == 405 {
            assert_eq!(header(&answer, "allow"), "GET,HEAD");
        }
        assert_eq!(answer.json::<Value>().await.expect("JSON")["error"]["code"], code, "{path}");
    }
}

#[tokio::test]
async fn an_address_that_asks_too_much_is_told_when_to_come_back() {
    let server = Server::start(&[("server.rate_limit_per_second", "1"), ("server.rate_limit_burst", "3")]).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(server.get("/oauth2/jwks").await.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    let refused = server.get("/oauth2/jwks").await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "1".to_owned()));
    assert_eq!(server.get("/healthz").await.status(), 200, "probes are never refused");
    // An Authorization header is no way around it, and neither is trying tokens out.
    for path in ["/oauth2/jwks", "/deliveries/0/1/a", "/nothing", "/dps-submission/v1/archives"] {
        let tried = server.http.get(format!("{}{path}", server.url)).bearer_auth("x").send().await.expect("sent");
        assert_eq!(tried.status(), 429, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_asks_too_much_does_not_stand_in_the_way_of_others() {
    let server = Server::start(&[("server.rate_limit_per_second", "1"), ("server.rate_limit_burst", "8")]).await;
    let one = server.caller("one", &[("2d17", Role::Read)]).await;
    let other = server.caller("other", &[("2d17", Role::Read)]).await;
    let mut statuses = Vec::new();
    for _ in 0..9 {
        statuses.push(one.get("/archives").await.0);
    }
    assert_eq!((statuses.first(), statuses.last()), (Some(&200), Some(&429)), "{statuses:?}");
    assert_eq!(other.get("/archives").await.0, 200);
}

/// Routes of a test's own, with everything around them that all routes have.
async fn wrapped(router: axum::Router) -> String {
    let common = Common {
        shapes: Shapes::default(),
        https: HttpsOnly { insecure_http: true, public_url: "".into(), paths: Arc::default() },
        limit: ByAddress { limit: Arc::new(RateLimit::new(0, 1)), except: Arc::default() },
        timeout: Duration::from_millis(200),
        max_body_bytes: 1000,
    };
    let router = dipper_server::http::wrap(router, &common);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn a_handler_that_panics_or_does_not_end_tells_nothing_of_its_inside() {
    let router = axum::Router::new()
        .route("/panic", get(async || -> &'static str { panic!("the inner secret") }))
        .route("/endless", get(async || std::future::pending::<&'static str>().await));
    let url = wrapped(router).await;
    for (path, status, code) in [("/panic", 500, "INTERNAL_ERROR"), ("/endless", 408, "TIMEOUT")] {
        let answer = reqwest::get(format!("{url}{path}")).await.expect("answered");
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(header(&answer, "x-request-id").len(), 32);
        let body = answer.text().await.expect("text");
        assert!(body.contains(code) && !body.contains("inner"), "{body}");
    }
}

#[tokio::test]
async fn errors_that_the_framework_writes_get_the_shape_too() {
    let router = axum::Router::new().route("/json", post(async |_: axum::Json<Value>| "ok"));
    let url = wrapped(router).await;
    let answer = reqwest::Client::new().post(format!("{url}/json")).body("x").send().await.expect("answered");
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type").as_str()), (415, "application/json"));
    assert_eq!(answer.json::<Value>().await.expect("JSON")["error"]["code"], "UNSUPPORTED_MEDIA_TYPE");
}
