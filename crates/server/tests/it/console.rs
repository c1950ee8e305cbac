//! The frame of the console: signing in and out, sessions, rights, forms, languages, and what a browser is told about the pages.

use std::time::Duration;

use dipper_core::Role;
use dipper_server::http::routes::{self, Bases, Need};
use reqwest::Method;

use super::console_support::{Browser, CONSOLE};
use super::support::{Server, header};

#[tokio::test]
async fn whoever_has_signed_in_comes_to_the_page_that_was_asked_for_and_signs_out_again() {
    let server = Server::start(&[]).await;
    let secret = server.client("anna", &[("2d17", Role::Read), ("2d17", Role::Operator)]).await;
    let mut anna = Browser::new(&server);
    let page = anna.get("/sessions?x=%C3%BC").await;
    assert_eq!((page.status, page.location()), (303, "/console/sign-in?next=%2Fconsole%2Fsessions%3Fx%3D%25C3%25BC"));
    let form = anna.get("/sign-in?next=%2Fconsole%2Fsessions").await;
    form.shows("name=\"next\" value=\"/console/sessions\"");
    let fields = [("name", "anna"), ("secret", secret.reveal()), ("next", "/console/sessions")];
    let before = anna.cookies.clone();
    let page = anna.post("/sign-in", &fields).await;
    assert_eq!((page.status, page.location()), (303, "/console/sessions"));
    let line = page.headers["set-cookie"].to_str().expect("text");
    assert!(line.starts_with("dipper-session=") && line.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{line}");
    assert!(!before.contains_key("dipper-session"));

    let page = anna.get("/sessions").await;
    page.shows("2d17").shows("run the archive").shows("127.0.0.1").shows("this one");
    assert!(!page.text.contains(secret.reveal()) && !page.text.contains(&anna.cookies["dipper-session"]));
    let page = anna.get("/sign-in?next=/console/sessions").await;
    assert_eq!((page.status, page.location()), (303, "/console/sessions"));

    let stolen = anna.cookies.clone();
    let page = anna.post("/sign-out", &[]).await;
    assert_eq!((page.status, page.location()), (303, "/console/sign-in"));
    assert!(!anna.cookies.contains_key("dipper-session"));
    anna.get("/sign-in").await.shows("You have signed out.");
    assert!(!anna.get("/sign-in").await.text.contains("You have signed out."), "it is told once");
    anna.cookies = stolen;
    assert_eq!(anna.get("/sessions").await.status, 303);
}

#[tokio::test]
async fn wrong_secrets_are_told_alike_and_slowed_down() {
    let server = Server::start(&[]).await;
    let secret = server.client("anna", &[]).await;
    let mut anna = Browser::new(&server);
    anna.languages = "nb-NO,nb;q=0.9,en;q=0.5";
    anna.get("/sign-in").await.shows("<html lang=\"nb\"").shows("Hemmelighet");
    let mut told = Vec::new();
    for name in ["anna", "nobody"] {
        let page = anna.post("/sign-in", &[("name", name), ("secret", "wrong")]).await;
        assert_eq!(page.status, 401);
        assert!(page.text.contains("Klienten eller hemmeligheten er feil."), "{}", page.text);
        told.push(page.text.replace(name, "…"));
    }
    assert_eq!(told.first(), told.last());
    let mut status = 401;
    for _ in 0..20 {
        status = anna.post("/sign-in", &[("name", "anna"), ("secret", "wrong")]).await.status;
        if status == 429 {
            break;
        }
    }
    assert_eq!(status, 429);
    let page = anna.post("/sign-in", &[("name", "anna"), ("secret", secret.reveal())]).await;
    assert_eq!(page.status, 429, "the right secret is not heard either until then");
    assert!(page.text.contains("For mange mislykkede forsøk"), "{}", page.text);
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_when_it_is_old_and_when_its_client_loses_its_access() {
    let server = Server::start(&[("console.idle_minutes", "30"), ("console.session_hours", "2")]).await;
    let mut anna = Browser::client(&server, "anna", &[("2d17", Role::Read)]).await;
    let minutes = |minutes: u64| server.clock.advance(Duration::from_secs(minutes * 60));
    for _ in 0..5 {
        minutes(20);
        assert_eq!(anna.get("/sessions").await.status, 200);
    }
    minutes(19);
    assert_eq!(anna.get("/sessions").await.status, 200);
    minutes(2);
    assert_eq!(anna.get("/sessions").await.status, 303, "after two hours");

    let administration = server.administration();
    let mut bert = Browser::client(&server, "bert", &[("2d17", Role::Read)]).await;
    assert_eq!(bert.get("/sessions").await.status, 200);
    minutes(31);
    assert_eq!(bert.get("/sessions").await.status, 303, "after half an hour without use");
    let secret = administration.client_secret_replace("bert").await.expect("replaced");
    bert.sign_in("bert", &secret).await;
    bert.get("/sessions").await.shows("see and order packages");
    administration.client_revoke("bert", "2d17", Role::Read).await.expect("revoked");
    bert.get("/sessions").await.shows("You have no role on any contract yet.");
    let secret = administration.client_secret_replace("bert").await.expect("replaced");
    assert_eq!(bert.get("/sessions").await.status, 303, "with a new secret");
    bert.sign_in("bert", &secret).await;
    administration.client_enable("bert", false).await.expect("disabled");
    administration.client_enable("bert", true).await.expect("enabled");
    assert_eq!(bert.get("/sessions").await.status, 303, "after the client was disabled");
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_their_owner_alone() {
    let server = Server::start(&[]).await;
    let secret = server.client("anna", &[]).await;
    let mut here = Browser::new(&server);
    let mut there = Browser::new(&server);
    let mut elsewhere = Browser::new(&server);
    for browser in [&mut here, &mut there, &mut elsewhere] {
        assert_eq!(browser.sign_in("anna", &secret).await.status, 303);
    }
    let sessions = |text: &str| -> Vec<String> {
        let ends = text
            .split("/console/sessions/")
            .skip(1)
            .filter_map(|rest| rest.strip_suffix("").unwrap_or(rest).split_once("/end\""));
        ends.map(|(id, _)| id.to_owned()).collect()
    };
    let all = sessions(&here.get("/sessions").await.text);
    assert_eq!(all.len(), 3);

    let mut stranger = Browser::client(&server, "stranger", &[]).await;
    assert_eq!(sessions(&stranger.get("/sessions").await.text).len(), 1);
    assert_eq!(stranger.post(&format!("/sessions/{}/end", all[0]), &[]).await.status, 404);

    // The newest is first.
    assert_eq!(here.post(&format!("/sessions/{}/end", all[0]), &[]).await.location(), "/console/sessions");
    here.get("/sessions").await.shows("Ended.");
    assert_eq!(elsewhere.get("/sessions").await.status, 303);
    assert_eq!(there.get("/sessions").await.status, 200);
    assert_eq!(here.post("/sessions/end-others", &[]).await.status, 303);
    assert_eq!(there.get("/sessions").await.status, 303);
    assert_eq!(sessions(&here.get("/sessions").await.text).len(), 1);
    assert_eq!(stranger.get("/sessions").await.status, 200);
}

/// Nobody, somebody without a role, and a form that no page of ours made: every page of the table.
#[tokio::test]
async fn every_page_keeps_to_the_table_of_rights() {
    let server = Server::start(&[]).await;
    let mut nobody = Browser::client(&server, "nobody", &[]).await;
    let mut all =
        Browser::client(&server, "all", &[("2d17", Role::Read), ("2d17", Role::Write), ("2d17", Role::Operator)]).await;
    let mut stranger = Browser::new(&server);
    let bases = Bases { dps: "/dps", dns: None, bridge: None, otm: None, console: Some(CONSOLE) };
    let table: Vec<_> = routes::table(bases).into_iter().filter(|route| route.path.starts_with(CONSOLE)).collect();
    assert!(table.len() > 8, "{table:?}");
    for route in table {
        let path = route.path.replace("{name}", "console.css").replace(['{', '}'], "0").replace('*', "0");
        let method: Method = route.method.parse().expect("a method");
        nobody.get("/sessions").await;
        let bare = stranger.send(stranger.request(method.clone(), &path)).await;
        let form = [("csrf", nobody.csrf.clone())];
        let signed_in = nobody.send(nobody.request(method.clone(), &path).form(&form)).await;
        match route.need {
            Need::Nothing => assert!([200, 303].contains(&bare.status), "{route:?}: {}", bare.status),
            Need::Form => assert_eq!(bare.status, 403, "{route:?}"),
            Need::Session(role) => {
                assert_eq!(bare.status, 303, "{route:?} for nobody");
                assert!(bare.location().starts_with("/console/sign-in?next="), "{route:?}: {}", bare.location());
                assert_eq!(signed_in.status == 403, role.is_some(), "{route:?} without the role: {}", signed_in.status);
                if method == Method::POST {
                    let foreign = all.send(all.request(Method::POST, &path).form(&form)).await;
                    assert_eq!(foreign.status, 403, "{route:?} with the form of another session");
                    all.get("/sessions").await;
                    let own = [("csrf", all.csrf.clone())];
                    let elsewhere = all.request(Method::POST, &path).form(&own).header("sec-fetch-site", "cross-site");
                    assert_eq!(all.send(elsewhere).await.status, 403, "{route:?} from another site");
                }
                // A script that refreshes a part of the page goes to sign in with all of it.
                let part = stranger.request(method.clone(), &path).header("hx-request", "true");
                let part = stranger.send(part).await;
                assert!(
                    part.headers["hx-redirect"].to_str().expect("text").starts_with("/console/sign-in"),
                    "{route:?}"
                );
            }
            Need::Credentials | Need::SignedLink | Need::Basic(_) | Need::Token(_) => panic!("{route:?}"),
        }
        // Signing out is one of the pages.
        if nobody.get("/sessions").await.status != 200 {
            nobody = Browser::client(&server, &format!("nobody-{}", path.len()), &[]).await;
        }
    }
}

#[tokio::test]
async fn pages_hold_nothing_that_a_browser_would_carry_out_and_ask_nothing_of_another_host() {
    let server = Server::start(&[]).await;
    let mut anna = Browser::client(&server, "anna", &[("2d17", Role::Read)]).await;
    let mut stranger = Browser::new(&server);
    for page in [anna.get("/sessions").await, anna.get("/nothing").await, stranger.get("/sign-in").await] {
        let policy = page.headers["content-security-policy"].to_str().expect("text");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'") && !policy.contains("unsafe")
        );
        assert_eq!(page.headers["cache-control"], "no-store");
        assert_eq!(page.headers["x-frame-options"], "DENY");
        for wrong in [" style=", " onclick=", "javascript:", "<style", "http://", "https://"] {
            assert!(!page.text.contains(wrong), "{wrong} in {}", page.text);
        }
        assert_eq!(page.text.matches("<script").count(), page.text.matches("<script src=\"/console/assets/").count());
    }
    let style = anna.get("/sessions").await.text;
    let style =
        style.split("rel=\"stylesheet\" href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a style");
    let answer = server.get(style).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type"), "text/css; charset=utf-8");
    assert_eq!(header(&answer, "cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(anna.get("/assets/older/console.css").await.headers["cache-control"], "no-store");
    assert_eq!(anna.get("/assets/older/none.css").await.status, 404);
}

#[tokio::test]
async fn language_and_theme_are_chosen_by_the_reader() {
    let server = Server::start(&[]).await;
    let mut reader = Browser::new(&server);
    reader.languages = "de-AT,de;q=0.9,en;q=0.5";
    reader.get("/sign-in").await.shows("<html lang=\"de\" data-theme=\"system\"").shows("Kennwort");
    let page =
        reader.post_bare("/preferences", &[("language", "nb"), ("back", "/console/sign-in?next=/console")]).await;
    assert_eq!((page.status, page.location()), (303, "/console/sign-in?next=/console"));
    reader.post_bare("/preferences", &[("theme", "dark"), ("back", "https://elsewhere.example/")]).await;
    reader.get("/sign-in").await.shows("<html lang=\"nb\" data-theme=\"dark\"").shows("Hemmelighet");
    let page = reader.post_bare("/preferences", &[("theme", "dark"), ("back", "//elsewhere.example/")]).await;
    assert_eq!(page.location(), CONSOLE, "nobody is sent to another site");
    let page = reader.post_bare("/preferences", &[("language", "xx")]).await;
    assert_eq!(page.status, 400);
    assert!(page.text.contains("Det lar seg ikke lese"), "{}", page.text);
    let page = reader.get("/nothing").await;
    assert_eq!(page.status, 404);
    assert!(page.text.contains("Ikke funnet"), "{}", page.text);
}

#[tokio::test]
async fn a_server_for_https_marks_its_cookies_and_one_without_a_console_has_none() {
    let server = Server::start(&[("server.public_url", "https://archive.example.org")]).await;
    let secret = server.client("anna", &[]).await;
    let mut anna = Browser::new(&server);
    let page = anna.sign_in("anna", &secret).await;
    let line = page.headers["set-cookie"].to_str().expect("text");
    assert!(line.starts_with("__Host-dipper-session=") && line.contains("; Secure"), "{line}");
    assert_eq!(anna.get("/sessions").await.status, 200);

    let server = Server::start(&[("console.enabled", "false")]).await;
    assert_eq!(server.get("/console").await.status(), 404);
    assert_eq!(server.get("/console/sign-in").await.status(), 404);
}
