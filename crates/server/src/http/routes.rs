//! Every route with the right that it needs. A test walks all routes and holds them against this table.

use dipper_core::Role;

use crate::dialect::dps;

/// What a request must bring to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// The credentials of a client.
    Credentials,
    /// A signature in the address.
    SignedLink,
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

/// Every route of a server.
pub fn table(dps_base_path: &str) -> Vec<Route> {
    let dps = dps::RIGHTS.iter().map(|(method, path, need)| Route {
        method,
        path: format!("{dps_base_path}{path}"),
        need: *need,
    });
    let own = OWN.iter().map(|(method, path, need)| Route { method, path: (*path).to_owned(), need: *need });
    own.chain(dps).collect()
}
