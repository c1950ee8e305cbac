//! The API description, and the table of rights held against it.

use std::collections::BTreeSet;

use dipper_server::http::routes::{self, Bases, Need};
use serde_json::Value;

use super::support::{Server, header};

/// Routes that no description has: the pages of the description itself.
const PAGES: [&str; 4] = ["/openapi.json", "/swagger", "/swagger/", "/swagger/{file}"];

#[tokio::test]
async fn every_route_stands_in_the_table_of_rights_and_keeps_to_it() {
    let server = Server::start(&[]).await;
    let document: Value = server.get("/openapi.json").await.json().await.expect("JSON");
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"));
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    described.extend(PAGES.map(|path| ("GET".to_owned(), path.to_owned())));
    let bases = Bases {
        dps: "/dps-submission",
        dns: Some("/daweb3"),
        bridge: Some("/bridge"),
        otm: Some("/otm"),
        console: None,
    };
    let table = routes::table(bases);
    let listed: BTreeSet<_> = table.iter().map(|route| (route.method.to_owned(), route.path.clone())).collect();
    assert_eq!(described, listed);

    let without_role = server.client("nobody", &[]).await;
    let secret = without_role.reveal().to_owned();
    let without_role = server.token("nobody", &without_role).await;
    for route in table {
        let path = route.path.replace("{file}", "index.html").replace(['{', '}'], "0");
        let is_basic = matches!(route.need, Need::Basic(_));
        let ask = |token: Option<&str>| {
            let request = server.http.request(route.method.parse().expect("a method"), format!("{}{path}", server.url));
            match token {
                Some(_) if is_basic => request.basic_auth("nobody", Some(&secret)).send(),
                Some(token) => request.bearer_auth(token).send(),
                None => request.send(),
            }
        };
        let bare = ask(None).await.expect("sent").status().as_u16();
        let signed_in = ask(Some(&without_role)).await.expect("sent").status().as_u16();
        let expected: (&[u16], &[u16]) = match route.need {
            Need::Nothing => (&[200], &[200]),
            Need::Credentials => (&[400, 401], &[400, 401]),
            Need::SignedLink => (&[403], &[403]),
            Need::Token(_) | Need::Basic(_) | Need::Session(_) | Need::Form => (&[401], &[403]),
        };
        assert!(expected.0.contains(&bare), "{route:?} without a token: {bare}");
        assert!(expected.1.contains(&signed_in), "{route:?} without the role: {signed_in}");
    }
}

#[tokio::test]
async fn the_pages_ask_nothing_of_another_host() {
    let server = Server::start(&[]).await;
    let index = server.get("/swagger").await;
    assert_eq!((index.status().as_u16(), index.url().path()), (200, "/swagger/"));
    assert!(header(&index, "content-security-policy").starts_with("default-src 'self'"));
    let html = index.text().await.expect("text");
    let foreign = html.split(['"', '\'']).find(|part| part.contains("://") || part.starts_with("//"));
    assert_eq!(foreign, None, "the page names another host");
    let initializer = server.get("/swagger/swagger-initializer.js").await.text().await.expect("text");
    assert!(initializer.contains("\"../openapi.json\""), "{initializer}");
    assert!(initializer.contains("\"validatorUrl\": \"none\""), "{initializer}");
    for file in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "index.css"] {
        assert_eq!(server.get(&format!("/swagger/{file}")).await.status(), 200, "{file}");
    }
}
