//! The pages of depositors: found, looked into, ordered, followed, fetched and given back, by those who may and nobody else.

use std::time::Duration;

use dipper_archive::digest::Algorithm;
use dipper_core::Role;
use dipper_core::db::steps::Worked;
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
    anna.german(&path).await.shows("Zurückgezogen von: Client anna.");
    anna.german(&format!("/packages/{id}")).await.shows("Lieferung zurückgegeben");
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
    page.shows("letters/</button>").shows("readme.txt").shows(&hex(Algorithm::Sha512, b"read me")).shows("4 files");
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
    anna.german(&path).await.shows("ausgewählte Dateien der Version 1: letters/1850/, photos/");
    let newest = "ausgewählte Dateien aus der neuesten Version jeder Datei der Versionen 1 bis 1: letters/";
    anna.german(&of_folder).await.shows(newest);
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
    anna.german(&path).await.shows(".tar aus dem Bereich des Vertrags 2d17");
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
    anna.german("/webhooks").await.shows("vom Betreiber abgeschaltet");
}

#[tokio::test]
async fn a_stored_file_is_fetched_by_itself_whole_or_in_part_and_that_is_on_record() {
    let server = Server::start(&[]).await;
    // Larger than what is known to be right by its digest alone.
    let scan: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let other: Vec<u8> = scan.iter().rev().copied().collect();
    let files: [(&str, &[u8]); 3] = [("a b/<ü>.tif", &scan), ("other.tif", &other), ("empty", b"")];
    let package = server.package(CONTRACT, "scans", &files).await;
    let id = &package.id;
    let mut anna = Browser::client(&server, "anna", &[(CONTRACT, Role::Read)]).await;
    let page = anna.get(&format!("/packages/{id}/files?folder=a+b")).await;
    let file = address(&page, &format!("/console/packages/{id}/file?path="));
    let get = async |path: &str, range: Option<&str>| {
        let request = anna.request(Method::GET, path);
        range.into_iter().fold(request, |request, range| request.header("range", range)).send().await.expect("sent")
    };
    let whole = get(&file, None).await;
    assert_eq!(whole.status().as_u16(), 200);
    assert_eq!(whole.headers()["content-type"], "application/octet-stream");
    assert!(whole.headers()["content-disposition"].to_str().expect("text").starts_with("attachment"));
    assert!(whole.bytes().await.expect("all of it") == scan);
    let rest = get(&file, Some("bytes=2999990-")).await;
    assert_eq!((rest.status().as_u16(), &*rest.bytes().await.expect("the rest")), (206, &scan[2_999_990..]));
    let empty = get(&format!("/packages/{id}/file?path=empty"), None).await;
    assert_eq!((empty.status().as_u16(), empty.bytes().await.expect("nothing").len()), (200, 0));
    let noted = server.until(async || {
        let events = server.administration().event_list(None, Some(id), 100).await.expect("listed");
        events.iter().filter(|event| event.kind == "file fetched" && event.agent == "client anna").count() == 2
    });
    assert!(noted.await);
    anna.get(&format!("/packages/{id}")).await.shows("file fetched").shows("a b/&#60;ü&#62;.tif of version 1");

    for (path, status) in [("path=none", 404), ("path=a+b", 404), ("", 404), ("path=empty&version=2", 404)] {
        assert_eq!(anna.get(&format!("/packages/{id}/file?{path}")).await.status, status, "{path}");
    }
    let mut stranger = Browser::client(&server, "stranger", &[("other", Role::Read)]).await;
    assert_eq!(stranger.get(&file).await.status, 404);

    // Of what is damaged, nothing leaves.
    let mut altered = other.clone();
    altered[2_000_000] ^= 1;
    std::fs::write(package.content.join("other.tif"), &altered).expect("written");
    assert_eq!(anna.get(&format!("/packages/{id}/file?path=other.tif")).await.status, 409);
    anna.get(&format!("/packages/{id}")).await.shows("damaged");
    let page = anna.german(&format!("/packages/{id}")).await;
    page.shows(".tif aus Version 1").shows("ist beschädigt: Die Prüfsumme müsste");
    assert_eq!(anna.get(&file).await.status, 422);
}

#[tokio::test]
async fn ticks_stay_from_page_to_page_of_a_folder() {
    let server = Server::start(&[]).await;
    let names: Vec<String> = (0..205).map(|number| format!("scan-{number:03}.tif")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let id = server.package(CONTRACT, "scans", &files).await.id;
    let mut anna = Browser::client(&server, "anna", &[(CONTRACT, Role::Read)]).await;
    let path = format!("/packages/{id}/files");
    anna.get(&path).await.shows("name=\"after\" value=\"fscan-199.tif\"");
    let ticked = [("file", "scan-000.tif"), ("file", "scan-001.tif"), ("after", "fscan-199.tif")];
    let page = anna.post(&path, &ticked).await;
    page.shows("2 more are ticked elsewhere").shows("value=\"scan-000.tif\" checked").shows("scan-204.tif");
    assert!(
        !page.text.contains("value=\"scan-204.tif\" checked") && !page.text.contains("scan-002.tif"),
        "{}",
        page.text
    );
    // Back on the first page, with one of them taken back and one of the second page added.
    let page = anna.post(&path, &[("file", "scan-000.tif"), ("file", "scan-204.tif")]).await;
    page.shows("One more is ticked elsewhere").shows("value=\"scan-000.tif\" checked");
    page.shows("value=\"scan-204.tif\" checked").shows("value=\"scan-001.tif\" aria-label");
    let chosen = [("scope", "chosen"), ("file", "scan-000.tif"), ("file", "scan-204.tif")];
    let order = order_path(&anna.post(&format!("/packages/{id}/orders"), &chosen).await);
    anna.get(&order).await.shows("chosen files of version 1").shows("scan-000.tif").shows("scan-204.tif");

    let many: Vec<String> = (0..10_001).map(|number| number.to_string()).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| ("file", name.as_str())).collect();
    anna.get(&path).await;
    assert_eq!(anna.post(&path, &many).await.location(), format!("/console{path}?"));
    anna.get(&path).await.shows("note failure");
    let mut stranger = Browser::client(&server, "stranger", &[("other", Role::Read)]).await;
    stranger.get("/packages").await;
    assert_eq!(stranger.post(&path, &[]).await.status, 404);
}

#[tokio::test]
async fn ticks_stay_on_the_way_into_folders_and_back() {
    let server = Server::start(&[]).await;
    let (id, mut anna) = stored(&server).await;
    let path = format!("/packages/{id}/files");
    let page = anna.get(&path).await;
    page.shows(&format!("formaction=\"/console{path}?folder=letters\" name=\"into\" value=\"letters/\""));
    let page = anna.post(&path, &[("file", "readme.txt"), ("into", "letters/")]).await;
    page.shows("One more is ticked elsewhere").shows("value=\"readme.txt\" checked").shows("1850/</button>");
    page.shows("name=\"folder\" value=\"letters\"").shows("name=\"into\" value=\"/\"");
    // Further down, and at once to the top again. Where the page before ended means nothing there.
    let down = [("folder", "letters"), ("file", "readme.txt"), ("into", "letters/1850/"), ("after", "fz")];
    anna.post(&path, &down).await.shows("One more is ticked elsewhere").shows("a.txt").shows("b.txt");
    let up = [("folder", "letters/1850"), ("file", "readme.txt"), ("file", "letters/1850/b.txt"), ("into", "/")];
    let page = anna.post(&path, &up).await;
    page.shows("One more is ticked elsewhere").shows("value=\"letters/1850/b.txt\" checked");
    page.shows("value=\"readme.txt\" checked aria-label");
    let gone = [("file", "readme.txt"), ("into", "none/")];
    assert_eq!(anna.post(&path, &gone).await.status, 404);
    let chosen = [("scope", "chosen"), ("folder", ""), ("file", "readme.txt"), ("file", "letters/1850/b.txt")];
    let order = order_path(&anna.post(&format!("/packages/{id}/orders"), &chosen).await);
    anna.get(&order).await.shows("letters/1850/b.txt").shows("readme.txt");
}

#[tokio::test]
async fn how_far_the_reading_is_can_be_followed() {
    let server = Server::start(&[]).await;
    let (id, mut anna) = stored(&server).await;
    anna.get(&format!("/packages/{id}")).await;
    let path = order_path(&anna.post(&format!("/packages/{id}/orders"), &[("scope", "all")]).await);
    let asking = format!("/console{path}?worked=");
    let ask = async |anna: &mut Browser, stamp: &str| {
        let part = anna.request(Method::GET, &format!("{asking}{stamp}")).header("hx-request", "true");
        anna.send(part).await
    };
    anna.get(&path).await.shows("id=\"worked\"");
    assert_eq!(ask(&mut anna, "unknown").await.status, 204);
    assert!(server.work_once().await, "it is taken in");
    let lease = server.claimed().await;
    assert_eq!(ask(&mut anna, "unknown").await.status, 204);
    server.noted(&lease, Worked { done_bytes: 5_000_000, all_bytes: 20_000_000 }).await;
    let page = ask(&mut anna, "unknown").await;
    page.shows("<progress max=\"100\" value=\"25.0\"").shows("5.0\u{a0}MB of 20.0\u{a0}MB read");
    assert_eq!(ask(&mut anna, "5000000-20000000").await.status, 204);
    let mut olga = Browser::client(&server, "olga", &[(CONTRACT, Role::Operator)]).await;
    olga.get("/operations").await.shows("value=\"25.0\"").shows("5.0\u{a0}MB of 20.0\u{a0}MB");
    // Whoever takes the step over begins anew.
    server.handed_back(&lease).await;
    assert!(!ask(&mut anna, "5000000-20000000").await.text.contains("<progress"));
    server.work().await;
    let page = ask(&mut anna, "unknown").await;
    assert!(page.status == 200 && !page.text.contains("id=\"worked\""), "it has ended: {}", page.text);
}

#[tokio::test]
async fn what_is_ordered_here_does_not_stand_in_the_way_of_a_contract_that_cannot_see_it() {
    let server = Server::start(&[]).await;
    let package = server.small_package(CONTRACT, "one").await;
    let secret = server.client("anna", &[(CONTRACT, Role::Read)]).await;
    let mut anna = Browser::new(&server);
    anna.sign_in("anna", &secret).await;
    anna.get("/packages").await;
    let orders = format!("/packages/{}/orders", package.id);
    let here = order_path(&anna.post(&orders, &[("scope", "all")]).await);
    let system = server.caller_with(server.token("anna", &secret).await);
    let there = system.order(&package.id).await;
    assert_ne!(here, format!("/orders/{there}"));
    assert_eq!(system.dissemination(&there).await["status"], "RECEIVED");
    // In the same language it is a duplicate, and told with an address where it can be seen.
    let (status, body) = system.post("/disseminations", &serde_json::json!({ "archiveId": package.id })).await;
    assert_eq!((status, body["error"]["details"].as_str()), (409, Some(there.as_str())));
    assert_eq!(order_path(&anna.post(&orders, &[("scope", "all")]).await), here);
}

/// Printed for comparison; the first page makes the listing, the others find it.
#[tokio::test]
#[ignore = "it takes minutes; run it by hand with --ignored --nocapture"]
#[allow(clippy::print_stdout, reason = "what it prints is what it is for")]
async fn a_package_of_a_hundred_thousand_files_is_looked_into() {
    let server = Server::start(&[]).await;
    let names: Vec<String> =
        (0..100_000).map(|number| format!("box-{:03}/scan-{number:06}.tif", number / 1000)).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"x".as_slice())).collect();
    let id = server.package(CONTRACT, "scans", &files).await.id;
    let mut anna = Browser::client(&server, "anna", &[(CONTRACT, Role::Read)]).await;
    let inside = [("", "the first page"), ("", "the top again"), ("?folder=box-050", "a folder")];
    let ticks = "?folder=box-050&after=fscan-050399.tif";
    for (query, told) in inside.into_iter().chain([(ticks, "a later page of it"), ("?view=surface", "the surface")]) {
        let began = std::time::Instant::now();
        anna.get(&format!("/packages/{id}/files{query}")).await.shows("scan");
        println!("{told}: {} ms", began.elapsed().as_millis());
    }
}
