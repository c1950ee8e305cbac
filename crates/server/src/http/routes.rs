//! Every route with the right that it needs. A test walks all routes and holds them against this table.

use dipper_core::Role;

use crate::console;
use crate::dialect::{bridge, dns, dps, otm};

/// What a request must bring to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// The credentials of a client.
    Credentials,
    /// A signature in the address.
    SignedLink,
    /// The name and secret of a client with this role on some contract. The core checks the role on the contract at hand.
    Basic(Role),
    /// A session of the console, with this role on some contract if one is named. The core checks the role on the contract
    /// at hand. What changes something also takes a form of that session.
    Session(Option<Role>),
    /// A form that was made for the browser that sends it.
    Form,
    /// A token with this role on some contract. The core checks the role on the contract at hand.
    Token(Role),
}

/// A route and its need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path, with names in braces as in the OpenAPI document.
    pub path: String,
    /// What a request must bring.
    pub need: Need,
}

const OWN: [(&str, &str, Need); 10] = [
    ("GET", "/healthz", Need::Nothing),
    ("GET", "/readyz", Need::Nothing),
    ("GET", "/openapi.json", Need::Nothing),
    ("GET", "/swagger", Need::Nothing),
    ("GET", "/swagger/", Need::Nothing),
    ("GET", "/swagger/{file}", Need::Nothing),
    ("POST", "/oauth2/token", Need::Credentials),
    ("GET", "/oauth2/jwks", Need::Nothing),
    ("GET", "/.well-known/oauth-authorization-server", Need::Nothing),
    ("GET", "/deliveries/{deliveryId}/{number}/{filename}", Need::SignedLink),
];

/// Where the contracts are found. One that is not offered has no base path.
#[derive(Clone, Copy, Debug)]
pub struct Bases<'a> {
    /// The DPS dissemination service.
    pub dps: &'a str,
    /// The DNS RESTful API.
    pub dns: Option<&'a str>,
    /// The draft of the Bridge API.
    pub bridge: Option<&'a str>,
    /// The Bridge API as it was published.
    pub otm: Option<&'a str>,
    /// The console.
    pub console: Option<&'a str>,
}

/// Every route of a server with these base paths.
pub fn table(bases: Bases<'_>) -> Vec<Route> {
    let below = |base_path: Option<&str>, rights: &[(&'static str, &str, Need)]| -> Vec<Route> {
        let Some(base_path) = base_path else { return Vec::new() };
        let route = |(method, path, need): &(&'static str, &str, Need)| Route {
            method,
            path: format!("{base_path}{path}"),
            need: *need,
        };
        rights.iter().map(route).collect()
    };
    let contracts = [
        below(Some(""), &OWN),
        below(Some(bases.dps), &dps::RIGHTS),
        below(bases.dns, &dns::RIGHTS),
        below(bases.bridge, &bridge::RIGHTS),
        below(bases.otm, &otm::RIGHTS),
        below(bases.console, &console::routes::rights()),
    ];
    contracts.into_iter().flatten().collect()
}
