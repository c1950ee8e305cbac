//! The pages of depositors: found, looked into, ordered, followed, fetched and given back, by those who may and nobody else.

use std::time::Duration;

use dipper_archive::digest::Algorithm;
use dipper_core::Role;
use reqwest::Method;

use super::console_support::{Browser, Page};
use super::packages::hex;
use super::support::Server;

const CONTRACT: &str = "2d17";

/// A package with two folders, and somebody who may read it.
async fn stored(server: &Server) -> (String, Browser) {
    let files: [(&str, &[u8]); 4] = [
        ("letters/1850/a.txt", b"alpha"),
        ("letters/1850/b.txt", b"beta"),
        ("photos/<one> & \"two\".tif", b"image"),
        ("readme.txt", b"read me"),
    ];
    let id = server.package(CONTRACT, "estate/Ibsen", &files).await.id;
    (id, Browser::client(server, "anna", &[(CONTRACT, Role::Read)]).await)
}

/// Where a page that took an order leads.
fn order_path(page: &Page) -> String {
    assert_eq!(page.status, 303, "{}", page.text);
    let path = page.location().strip_prefix("/console").expect("a page");
    assert!(path.starts_with("/orders/"), "{path}");
    path.to_owned()
}

/// The first address on a page that begins so, as a browser would read it.
fn address(page: &Page, begin: &str) -> String {
    let from = page.text.find(&format!("\"{begin}")).unwrap_or_else(|| panic!("no {begin} in {}", page.text)) + 1;
    let end = page.text[from..].find('"').expect("the end of an attribute");
    page.text[from..from + end].replace("&amp;", "&").replace("&#38;", "&")
}

/// The paths of the files in a tar, and what one of them holds.
fn unpacked(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("entries").map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("read");
        (entry.path().expect("a path").to_str().expect("UTF-8").to_owned(), bytes)
    });
    entries.collect()
}

#[tokio::test]
async fn a_package_is_found_ordered_followed_fetched_and_given_back() {
    let server = Server::start(&[]).await;
    let (id, mut anna) = stored(&server).await;
    let page = anna.get("").await;
    assert_eq!(page.location(), "/console/packages");
    anna.get("/packages").await.shows("estate/Ibsen").shows("preserved");
    let page = anna.get("/packages?q=estate&state=preserved&from=2026-01-01").await;
    page.shows(&format!("/console/packages/{id}"));
    anna.get("/packages?q=nothing").await.shows("No package matches this.");
    assert_eq!(anna.get("/packages?from=yesterday").await.status, 400);

    anna.get(&format!("/packages/{id}")).await.shows("estate/Ibsen").shows("<dd>4</dd>").shows("name=\"channel\"");
    let page = anna.post(&format!("/packages/{id}/orders"), &[("scope", "all"), ("channel", "link")]).await;
    let path = order_path(&page);
    let page = anna.get(&path).await;
    page.shows("Ordered. This page follows the order.").shows("version 1").shows("http-equiv=\"refresh\"");
    // The script asks again, and hears nothing as long as nothing has changed.
    let asking = address(&page, &format!("/console{path}?seen="));
    let part = anna.request(Method::GET, &asking).header("hx-request", "true");
    assert_eq!(anna.send(part).await.status, 204);
    // The same again leads to the order that there is.
    let again = anna.post(&format!("/packages/{id}/orders"), &[("scope", "all")]).await;
    assert_eq!(order_path(&again), path);
    anna.get(&path).await.shows("That is ordered already.");

    server.work().await;
    let part = anna.request(Method::GET, &asking).header("hx-request", "true");
    anna.send(part).await.shows("id=\"now\"").shows("estate_Ibsen.tar");
    let page = anna.get(&path).await;
    page.shows("delivered").shows("Make new links");
    assert!(!page.text.contains("http-equiv=\"refresh\"") && !page.text.contains("hx-get"), "it has ended");
    let link = address(&page, &server.url).replace(&server.url, "");
    let whole = server.get(&link).await.bytes().await.expect("all of it");
    page.shows(&hex(Algorithm::Md5, &whole));
    let rest = anna.request(Method::GET, &link).header("range", "bytes=1000-");
    let rest = rest.send().await.expect("sent");
    assert_eq!((rest.status().as_u16(), rest.bytes().await.expect("the rest")), (206, whole.slice(1000..)));

    let receipt = anna.get(&format!("{path}/receipt")).await;
    receipt.shows("Delivery receipt").shows(&hex(Algorithm::Md5, &whole)).shows("anna").shows("order received");
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(anna.post(&format!("{path}/renew"), &[]).await.location(), format!("/console{path}"));
    anna.get(&path).await.shows("The links are new.");
    assert_eq!(anna.post(&format!("{path}/cancel"), &[]).await.location(), format!("/console{path}"));
    let page = anna.get(&path).await;
    page.shows("The delivery was given back.");
    assert!(!page.text.contains("/deliveries/"), "{}", page.text);
    assert_eq!(server.get(&link).await.status(), 410);

    let page = anna.post(&format!("/packages/{id}/orders"), &[("scope", "all")]).await;
    let path = order_path(&page);
    assert_eq!(anna.get(&format!("{path}/receipt")).await.status, 404);
    anna.post(&format!("{path}/cancel"), &[]).await;
    anna.get(&path).await.shows("The order is withdrawn.");
    anna.get("/orders").await.shows(&format!("/console{path}"));
    let page = anna.get("/orders?state=delivered").await;
    assert!(page.status == 200 && !page.text.contains(&path), "{}", page.text);
    for (language, title) in [("nb", "Bestillinger"), ("de", "Bestellungen")] {
        anna.languages = language;
        anna.get("/orders").await.shows(&format!("<h1>{title}</h1>"));
    }
}

#[tokio::test]
async fn folders_are_looked_into_and_what_is_ticked_is_delivered() {
    let server = Server::start(&[]).await;
    let (id, mut anna) = stored(&server).await;
    let page = anna.get(&format!("/packages/{id}/files")).await;
    page.shows("letters/</a>").shows("readme.txt").shows(&hex(Algorithm::Sha512, b"read me")).shows("4 files");
    let inside = address(&page, &format!("/console/packages/{id}/files?folder=photos"));
    anna.get(&inside).await.shows("&#60;one&#62; &#38; &#34;two&#34;.tif");
    assert_eq!(anna.get(&format!("/packages/{id}/files?folder=none")).await.status, 404);
    assert_eq!(anna.get(&format!("/packages/{id}/files?version=2")).await.status, 404);
    assert_eq!(anna.get(&format!("/packages/{id}/files?version=x")).await.status, 400);

    let orders = format!("/packages/{id}/orders");
    let page = anna.post(&orders, &[("scope", "chosen"), ("folder", "letters")]).await;
    assert_eq!(page.location(), format!("/console/packages/{id}/files?folder=letters"));
    anna.get(&format!("/packages/{id}/files")).await.shows("tick files or folders first");
    let file = "photos/<one> & \"two\".tif";
    let ticked = [("scope", "chosen"), ("directory", "letters/1850"), ("file", file), ("version", "1")];
    let path = order_path(&anna.post(&orders, &ticked).await);
    let folder = [("scope", "folder"), ("folder", "letters"), ("view", "surface")];
    let of_folder = order_path(&anna.post(&orders, &folder).await);
    assert_eq!(anna.post(&orders, &[("scope", "chosen"), ("file", "none")]).await.status, 404);
    server.work().await;
    let page = anna.get(&path).await;
    page.shows("chosen files of version 1").shows("letters/1850/").shows("estate_Ibsen_v1_excerpt-");
    let link = address(&page, &server.url).replace(&server.url, "");
    let tar = server.get(&link).await.bytes().await.expect("all of it");
    let payload: Vec<(String, Vec<u8>)> = unpacked(&tar)
        .into_iter()
        .filter_map(|(path, bytes)| Some((path.split_once("/data/")?.1.to_owned(), bytes)))
        .collect();
    let expected = [("letters/1850/a.txt", "alpha"), ("letters/1850/b.txt", "beta"), (file, "image")];
    assert_eq!(payload, expected.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())));
    anna.get(&of_folder).await.shows("estate_Ibsen_surface_letters-");
}

#[tokio::test]
async fn the_outgoing_area_is_shown_with_its_quota_and_fetched_in_parts() {
    let server = Server::start(&[]).await;
    let (id, mut anna) = stored(&server).await;
    server.administration().contract_quota_set(CONTRACT, Some(1_000_000)).await.expect("set");
    anna.get("/outgoing").await.shows("Nothing lies there now.");
    anna.get(&format!("/packages/{id}")).await;
    let fields = [("scope", "folder"), ("folder", "photos"), ("channel", "area")];
    let path = order_path(&anna.post(&format!("/packages/{id}/orders"), &fields).await);
    server.work().await;
    let page = anna.get(&path).await;
    page.shows("into the outgoing area");
    let file = address(&page, "/console/outgoing/");
    let page = anna.get("/outgoing").await;
    page.shows("<meter min=\"0\" max=\"1000000\"").shows("1.0\u{a0}MB").shows("not yet");
    assert_eq!(address(&page, "/console/outgoing/"), file);
    let get = |anna: &Browser, range: Option<&str>| {
        let request = anna.request(Method::GET, &file);
        range.into_iter().fold(request, |request, range| request.header("range", range)).send()
    };
    let whole = get(&anna, None).await.expect("sent");
    assert_eq!(
        (whole.status().as_u16(), &whole.headers()["content-type"]),
        (200, &"application/x-tar".parse().expect("a value"))
    );
    let whole = whole.bytes().await.expect("all of it");
    page.shows(&hex(Algorithm::Md5, &whole));
    let part = get(&anna, Some("bytes=5-9")).await.expect("sent");
    assert_eq!((part.status().as_u16(), part.bytes().await.expect("a part")), (206, whole.slice(5..10)));
    // It was fetched whole, and that is noted.
    let noted = server.until(async || {
        let files = dipper_core::db::area_files::placed(server.database(), &[CONTRACT], None).await.expect("listed");
        files.iter().all(|file| file.fetched.is_some())
    });
    assert!(noted.await);
    let page = anna.get("/outgoing").await;
    assert!(page.status == 200 && !page.text.contains("not yet"), "{}", page.text);
    assert_eq!(anna.get("/outgoing/none.tar").await.status, 404);
}

#[tokio::test]
async fn whoever_may_read_another_contract_finds_nothing() {
    let server = Server::start(&[]).await;
    let (id, mut anna) = stored(&server).await;
    anna.get(&format!("/packages/{id}")).await;
    let orders = format!("/packages/{id}/orders");
    let by_link = order_path(&anna.post(&orders, &[("scope", "all")]).await);
    let in_area = order_path(&anna.post(&orders, &[("scope", "all"), ("channel", "area")]).await);
    server.work().await;
    let file = address(&anna.get(&in_area).await, "/console/outgoing/");
    let webhook = server.administration().webhook_add("anna", "https://example.org/hook").await.expect("added").id;

    let mut stranger = Browser::client(&server, "stranger", &[("other", Role::Read)]).await;
    for page in ["/packages", "/packages?q=estate", "/orders", "/outgoing", "/webhooks"] {
        let page = stranger.get(page).await;
        assert_eq!(page.status, 200);
        assert!(!page.text.contains("Ibsen") && !page.text.contains(&id) && !page.text.contains("example.org"));
    }
    let shown = ["/packages/", "/orders/", "/webhooks/"];
    let paths = [
        format!("/packages/{id}"),
        format!("/packages/{id}/files"),
        by_link.clone(),
        format!("{by_link}/receipt"),
        in_area,
        file,
        format!("/webhooks/{webhook}"),
    ];
    assert!(shown.iter().all(|begin| paths.iter().any(|path| path.starts_with(begin))));
    for path in &paths {
        assert_eq!(stranger.get(path).await.status, 404, "{path}");
        assert_eq!(anna.get(path).await.status, 200, "{path}");
    }
    for path in [orders, format!("{by_link}/cancel"), format!("{by_link}/renew"), format!("/webhooks/{webhook}/replay")]
    {
        stranger.get("/packages").await;
        assert_eq!(stranger.post(&path, &[]).await.status, 404, "{path}");
    }
    // Another reader of the contract sees the order, and cannot end it.
    let mut bert = Browser::client(&server, "bert", &[(CONTRACT, Role::Read)]).await;
    let page = bert.get(&by_link).await;
    page.shows("delivered");
    assert!(!page.text.contains(&format!("{by_link}/cancel\"")), "{}", page.text);
    assert_eq!(bert.post(&format!("{by_link}/cancel"), &[]).await.status, 404);
    assert_eq!(bert.get(&format!("/webhooks/{webhook}")).await.status, 404);
}

#[tokio::test]
async fn a_client_sees_what_its_webhooks_were_sent_and_has_it_sent_again() {
    let server = Server::start(&[]).await;
    let (id, mut anna) = stored(&server).await;
    anna.get("/webhooks").await.shows("This client has no webhooks.");
    let administration = server.administration();
    let address = "https://example.org/hook?token=sesame";
    let webhook = administration.webhook_add("anna", address).await.expect("added").id;
    let path = format!("/webhooks/{webhook}");
    anna.get(&format!("/packages/{id}")).await;
    order_path(&anna.post(&format!("/packages/{id}/orders"), &[("scope", "all")]).await);
    server.work().await;
    // The contract of the webhook does not know what was ordered here.
    let page = anna.get(&path).await;
    assert!(!page.text.contains("name=\"notice\""), "{}", page.text);
    let other = server.package(CONTRACT, "other", &[("a", b"a")]).await.id;
    server.order_as("anna", CONTRACT, &other).await;
    server.work().await;
    let page = anna.get("/webhooks").await;
    page.shows("https://example.org/hook?…").shows("in use");
    let page = anna.get(&path).await;
    assert!(!page.text.contains("sesame"), "{}", page.text);
    let notice = page.text.split("name=\"notice\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let notice = notice.expect("a notice").to_owned();
    let page = anna.post(&format!("{path}/replay"), &[("notice", &notice)]).await;
    assert_eq!(page.location(), format!("/console{path}"));
    anna.get(&path).await.shows("It is sent again.").shows("being sent");
    assert_eq!(anna.post(&format!("{path}/replay"), &[("notice", "msg_none")]).await.status, 404);
    administration.webhook_enable(&webhook, false).await.expect("disabled");
    anna.post(&format!("{path}/replay"), &[("notice", &notice)]).await;
    anna.get(&path).await.shows("The webhook is disabled");
}
