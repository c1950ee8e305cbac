//! Somebody with a browser, as far as HTTP goes: cookies are kept, forms carry what their page gave them, and no redirect is
//! followed unasked.

use std::collections::BTreeMap;

use dipper_core::Role;
use dipper_core::db::claims::{self, Claim, Claimed};
use dipper_core::db::steps::{self, Lease, StepEnd, Worked};
use dipper_core::secret::Secret;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Method, RequestBuilder, redirect};

use super::support::Server;

/// Where the console is found.
pub(crate) const CONSOLE: &str = "/console";

/// Somebody with a browser.
pub(crate) struct Browser {
    base: String,
    http: reqwest::Client,
    pub(crate) cookies: BTreeMap<String, String>,
    /// What the browser sends as `Accept-Language`.
    pub(crate) languages: &'static str,
    /// What the last page gave its forms.
    pub(crate) csrf: String,
}

/// What came back.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Page {
    /// Where it leads.
    pub(crate) fn location(&self) -> &str {
        self.headers.get(LOCATION).map(|value| value.to_str().expect("text")).unwrap_or_default()
    }

    /// Fails unless the page was shown and holds the text.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) -> &Page {
        assert!(self.status == 200 && self.text.contains(text), "no {text:?} in {} {}", self.status, self.text);
        self
    }
}

impl Browser {
    /// Somebody who has not signed in.
    pub(crate) fn new(server: &Server) -> Browser {
        let http = reqwest::Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
        let (cookies, languages, csrf) = (BTreeMap::new(), "en", String::new());
        let base = format!("http://{}", server.serving.addr);
        Browser { base, http, cookies, languages, csrf }
    }

    /// A new client with these roles, signed in.
    pub(crate) async fn client(server: &Server, id: &str, grants: &[(&str, Role)]) -> Browser {
        let secret = server.client(id, grants).await;
        let mut browser = Browser::new(server);
        let page = browser.sign_in(id, &secret).await;
        assert_eq!((page.status, page.location()), (303, CONSOLE), "{}", page.text);
        browser
    }

    /// Fills in the form to sign in.
    pub(crate) async fn sign_in(&mut self, id: &str, secret: &Secret) -> Page {
        self.get("/sign-in").await;
        self.post("/sign-in", &[("name", id), ("secret", secret.reveal())]).await
    }

    /// Asks for a page; the path is one below the console's, with or without that.
    pub(crate) async fn get(&mut self, path: &str) -> Page {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    /// Asks for a page in German, and fails where it tells something in English.
    pub(crate) async fn german(&mut self, path: &str) -> Page {
        let languages = std::mem::replace(&mut self.languages, "de");
        let page = self.get(path).await;
        self.languages = languages;
        page.shows("<html lang=\"de\"");
        for english in ["<span lang=\"en\">", "<details lang=\"en\">", " the ", " is "] {
            assert!(!page.text.contains(english), "{english} {path} {}", page.text);
        }
        page
    }

    /// Sends a form with what the last page gave it.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let csrf = self.csrf.clone();
        let mut fields = fields.to_vec();
        fields.push(("csrf", &csrf));
        self.post_bare(path, &fields).await
    }

    /// Sends a form with these fields and no other.
    pub(crate) async fn post_bare(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let request = self.request(Method::POST, path).form(fields);
        self.send(request).await
    }

    /// A request with all cookies.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let below = if path.starts_with(CONSOLE) || path.starts_with("/deliveries") { "" } else { CONSOLE };
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.http.request(method, format!("{}{below}{path}", self.base));
        request.header("accept-language", self.languages).header("cookie", cookies.join("; "))
    }

    pub(crate) async fn send(&mut self, request: RequestBuilder) -> Page {
        let answer = request.send().await.expect("sent");
        for line in answer.headers().get_all(SET_COOKIE) {
            let line = line.to_str().expect("text");
            let (name, value) = line.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair");
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.expect("text");
        if let Some(csrf) = text.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()) {
            csrf.clone_into(&mut self.csrf);
        }
        Page { status, headers, text }
    }
}

impl Server {
    /// Takes the next step that is ready, as a process would that is then watched.
    pub(crate) async fn claimed(&self) -> Lease {
        let settings = &self.installation.settings;
        let now = self.installation.clock.now();
        let (until, shares) = (now.plus(settings.lease), &settings.shares);
        let claim = Claim { holder: "host:1:0", now, until, room_bytes: u64::MAX, overtaking_bytes: 0, shares };
        match claims::claim(self.database(), &claim).await.expect("claimed") {
            Claimed::Step(lease, _) => lease,
            other => panic!("no step is ready: {other:?}"),
        }
    }

    /// Notes how far the work on a step is.
    pub(crate) async fn noted(&self, lease: &Lease, worked: Worked) {
        let until = self.installation.clock.now().plus(self.installation.settings.lease);
        let mut transaction = self.database().begin().await.expect("begun");
        assert!(steps::renew(&mut transaction, lease, until, worked).await.expect("renewed"));
        transaction.commit().await.expect("committed");
    }

    /// Gives a step back, so that another process can take it over.
    pub(crate) async fn handed_back(&self, lease: &Lease) {
        let now = self.installation.clock.now();
        let mut transaction = self.database().begin().await.expect("begun");
        assert!(steps::end(&mut transaction, lease, StepEnd::HandedBack, now).await.expect("ended"));
        transaction.commit().await.expect("committed");
    }
}
