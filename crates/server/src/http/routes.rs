//! Every route with the right that it needs. A test walks all routes and holds them against this table.

use dipper_core::Role;

use crate::dialect::{dns, dps};

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

/// Every route of a server with these base paths.
pub fn table(dps_base_path: &str, dns_base_path: Option<&str>) -> Vec<Route> {
    let below = |base_path: &str, rights: &[(&'static str, &str, Need)]| -> Vec<Route> {
        let route = |(method, path, need): &(&'static str, &str, Need)| Route {
            method,
            path: format!("{base_path}{path}"),
            need: *need,
        };
        rights.iter().map(route).collect()
    };
    let dns = dns_base_path.map(|base_path| below(base_path, &dns::RIGHTS));
    let contracts = below(dps_base_path, &dps::RIGHTS).into_iter().chain(dns.into_iter().flatten());
    below("", &OWN).into_iter().chain(contracts).collect()
}
