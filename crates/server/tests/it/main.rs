//! Tests of the server at its real boundary: a TCP listener on a port of its own, an HTTP client, a data directory.

mod http;
mod issuer_double;
mod listener;
mod oauth;
mod openapi;
mod support;
mod tokens;
