//! The parts of a running server, put together from the settings, and the router over them.

use std::sync::Arc;

use axum::extract::FromRef;
use axum::{Extension, Router};
use dipper_core::installation::Installation;
use dipper_core::intake::Intake;
use dipper_core::sessions::Sessions;
use tokio::sync::Semaphore;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::Settings;
use crate::console;
use crate::dialect::{bridge, dns, dps, otm};
use crate::fetches::Fetches;
use crate::http::https::HttpsOnly;
use crate::http::input::BodyLimit;
use crate::http::limit::{ByAddress, RateLimit};
use crate::http::refusal::Shapes;
use crate::http::{self, Common, download, health, openapi, problem};
use crate::signin::issuer::{self, Issuer};
use crate::signin::oidc::Oidc;
use crate::signin::password::Passwords;
use crate::signin::{Expectations, KeySource, RemoteKeys, TokenVerifier};

/// What the server is made of besides its settings.
pub struct Parts {
    /// How clients reach the server, without a slash at the end.
    pub public_url: String,
    /// The door to the core.
    pub intake: Intake,
    /// Checks the secrets of the clients that are stored here.
    pub passwords: Arc<Passwords>,
    /// Who is signed in to the console.
    pub sessions: Sessions,
    /// Catalogue, archive and keys.
    pub installation: Arc<Installation>,
}

/// A server, cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    settings: Settings,
    parts: Parts,
    gate: crate::signin::Gate,
    issuer: Option<Arc<Issuer>>,
    downloads: Arc<Semaphore>,
    fetches: Arc<Fetches>,
    console_base: Arc<str>,
    oidc: Option<Oidc>,
}

impl FromRef<App> for crate::signin::Gate {
    fn from_ref(app: &App) -> crate::signin::Gate {
        app.0.gate.clone()
    }
}

impl FromRef<App> for Arc<Passwords> {
    fn from_ref(app: &App) -> Arc<Passwords> {
        app.0.parts.passwords.clone()
    }
}

impl App {
    /// Puts a server together. Makes the keys of the embedded issuer when they are needed and not there.
    pub fn new(settings: Settings, parts: Parts) -> anyhow::Result<App> {
        let roles_claim: Vec<String> = settings.dps.roles_claim.split('.').map(str::to_owned).collect();
        let audience = Some(settings.issuer.audience.clone()).filter(|audience| !audience.is_empty());
        let external = settings.issuer.url.as_str();
        let name = if external.is_empty() { parts.public_url.clone() } else { external.to_owned() };
        let mut expectations = Expectations {
            issuer: name.clone(),
            audience,
            skew_seconds: settings.issuer.clock_skew_seconds,
            roles_claim: roles_claim.clone(),
        };
        let (source, issuer) = if external.is_empty() {
            let audience = expectations.audience.get_or_insert(name.clone()).clone();
            let lifetime = settings.issuer.token_seconds;
            let issuer = Arc::new(Issuer::open(settings.key_directory(), name, audience, lifetime, roles_claim)?);
            (KeySource::Embedded(issuer.clone()), Some(issuer))
        } else {
            let jwks_url = Some(settings.issuer.jwks_url.as_str()).filter(|url| !url.is_empty());
            (KeySource::Remote(RemoteKeys::new(external, jwks_url)?), None)
        };
        let limit = RateLimit::new(settings.server.rate_limit_per_second, settings.server.rate_limit_burst);
        let verifier = Arc::new(TokenVerifier::new(expectations, source));
        let gate = crate::signin::Gate { verifier, limit: Arc::new(limit) };
        let downloads = Arc::new(Semaphore::new(settings.delivery.max_concurrent_downloads));
        let console_base = settings.console.base_path.as_str().into();
        let fetches = Arc::default();
        let agreement = settings
            .sign_in_agreement(&parts.public_url)
            .map_err(|problem| anyhow::anyhow!("{}: {}", problem.key, problem.message))?;
        let installation = parts.installation.clone();
        let oidc = agreement.map(|agreement| Oidc::new(agreement, installation)).transpose()?;
        Ok(App(Arc::new(Inner { settings, parts, gate, issuer, downloads, fetches, console_base, oidc })))
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The embedded issuer, if tokens are issued here.
    pub fn issuer(&self) -> Option<&Issuer> {
        self.0.issuer.as_deref()
    }

    /// Checks the secrets of the clients that are stored here.
    pub fn passwords(&self) -> &Arc<Passwords> {
        &self.0.parts.passwords
    }

    /// Who is signed in to the console.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.parts.sessions
    }

    /// The issuer at which people sign in to the console, if there is one.
    pub(crate) fn oidc(&self) -> Option<&Oidc> {
        self.0.oidc.as_ref()
    }

    /// Where the console is found.
    pub(crate) fn console_base(&self) -> &Arc<str> {
        &self.0.console_base
    }

    /// The door to the core.
    pub fn intake(&self) -> &Intake {
        &self.0.parts.intake
    }

    /// How clients reach the server, without a slash at the end.
    pub fn public_url(&self) -> &str {
        &self.0.parts.public_url
    }

    /// One permit for each download that may run.
    pub fn downloads(&self) -> Arc<Semaphore> {
        self.0.downloads.clone()
    }

    /// What was fetched of what lies in areas.
    pub(crate) fn fetches(&self) -> Arc<Fetches> {
        self.0.fetches.clone()
    }

    fn routes(&self) -> (Router, OpenApi) {
        let document = openapi::empty(self.issuer().is_some());
        let mut router: OpenApiRouter<App> = OpenApiRouter::with_openapi(document)
            .routes(routes!(health::healthz))
            .routes(routes!(health::readyz))
            .routes(routes!(issuer::token))
            .routes(routes!(issuer::jwks))
            .routes(routes!(issuer::metadata))
            .routes(routes!(download::download))
            .nest(&self.0.settings.dps.base_path, dps::router());
        if let Some(base_path) = self.0.settings.dns.base_path() {
            router = router.nest(base_path, dns::router());
        }
        let settings = &self.0.settings.bridge;
        let limit = BodyLimit(settings.max_body_bytes);
        if let Some(base_path) = settings.base_path() {
            router = router.nest(base_path, bridge::router().layer(Extension(limit)));
        }
        if let Some(base_path) = settings.otm_base_path() {
            router = router.nest(base_path, otm::router().layer(Extension(limit)));
            router = router.nest(&format!("{base_path}/"), otm::base());
        }
        let (mut router, mut document) = router.split_for_parts();
        if let Some(base_path) = self.0.settings.console.base_path() {
            router = router.nest(base_path, console::routes::router(self));
            router = router.merge(console::routes::slash(base_path));
        }
        openapi::name_plainly(&mut document);
        (router.with_state(self.clone()), document)
    }

    /// All routes, with everything around them.
    pub fn router(&self) -> Router {
        let settings = &self.0.settings;
        let (router, document) = self.routes();
        let dps_base_path = settings.dps.base_path.as_str();
        let dns_base_path = settings.dns.base_path();
        let mut shapes = vec![("/oauth2".to_owned(), issuer::SHAPE), (dps_base_path.to_owned(), dps::SHAPE)];
        let mut uncounted = vec![format!("{dps_base_path}/"), "/healthz".to_owned(), "/readyz".to_owned()];
        let mut encrypted: Vec<String> = dns_base_path.map(str::to_owned).into_iter().collect();
        if let Some(base_path) = dns_base_path {
            shapes.extend(dns::SHAPES.map(|(below, shape)| (format!("{base_path}{below}"), shape)));
            uncounted.push(format!("{base_path}/"));
        }
        for base_path in [settings.bridge.base_path(), settings.bridge.otm_base_path()].into_iter().flatten() {
            shapes.push((base_path.to_owned(), problem::PROBLEM));
            uncounted.extend([base_path.to_owned(), format!("{base_path}/")]);
            encrypted.push(base_path.to_owned());
        }
        if let Some(base_path) = settings.console.base_path() {
            shapes.push((base_path.to_owned(), console::SHAPE));
            uncounted.extend([base_path.to_owned(), format!("{base_path}/")]);
            encrypted.push(base_path.to_owned());
        }
        let common = Common {
            shapes: Shapes::new(shapes),
            https: HttpsOnly {
                insecure_http: settings.server.insecure_http,
                public_url: self.public_url().into(),
                paths: Arc::new(encrypted),
            },
            limit: ByAddress { limit: self.0.gate.limit.clone(), except: Arc::new(uncounted) },
            timeout: settings.request_timeout(),
            max_body_bytes: settings.server.max_body_bytes,
        };
        http::wrap(router.merge(openapi::pages(document)), &common)
    }
}
