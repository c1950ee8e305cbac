//! https only: credentials never come in plain http from another machine, and where they would, the client is told
//! where to go instead.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, HeaderName, HeaderValue, LOCATION};
use axum::http::uri::PathAndQuery;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::listener::{Peer, Transport};
use super::refusal::{Refusal, begins_with};
use super::trace;

/// Browsers that were here once come by https for a year. They heed it for names, not for addresses.
pub const STRICT_TRANSPORT_SECURITY: (HeaderName, HeaderValue) =
    (axum::http::header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));

/// What is asked for in plain http, and answered there.
#[derive(Clone, Debug)]
pub struct HttpsOnly {
    /// Whether a proxy in front ends TLS.
    pub insecure_http: bool,
    /// How clients reach the server, without a slash at the end.
    pub public_url: Arc<str>,
    /// The beginnings of paths that are for https alone, credentials or not.
    pub paths: Arc<Vec<String>>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    /// There, by https.
    Redirect(String),
    Refuse,
}

impl HttpsOnly {
    fn judge(
        &self,
        method: &Method,
        target: &PathAndQuery,
        credentials: bool,
        transport: Transport,
        peer: IpAddr,
    ) -> Verdict {
        if transport == Transport::Tls || self.insecure_http || peer.to_canonical().is_loopback() {
            return Verdict::Pass;
        }
        let secret = credentials
            || begins_with(target.path(), "/oauth2/token")
            || self.paths.iter().any(|path| begins_with(target.path(), path));
        match method {
            _ if !secret => Verdict::Pass,
            &Method::GET | &Method::HEAD if self.public_url.starts_with("https://") => {
                Verdict::Redirect(format!("{}{target}", self.public_url))
            }
            _ => Verdict::Refuse,
        }
    }
}

/// Lets pass what may be asked for in this way.
pub async fn https_only(State(https): State<HttpsOnly>, request: Request, next: Next) -> Response {
    let transport = request.extensions().get::<Transport>().copied().unwrap_or(Transport::Plain);
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|info| info.0.0.ip());
    // Who is not known to be near is far.
    let peer = peer.unwrap_or(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED));
    let credentials = request.headers().contains_key(AUTHORIZATION);
    match https.judge(request.method(), &target(&request), credentials, transport, peer) {
        Verdict::Pass => next.run(request).await,
        Verdict::Redirect(location) => redirect(&location),
        Verdict::Refuse => {
            tracing::warn!(%peer, "credentials in plain http were refused");
            let message = "credentials are taken over https alone. If a proxy in front of this server ends TLS, its \
                           operator sets server.insecure_http = true; otherwise [tls] and server.public_url";
            Refusal::new(StatusCode::FORBIDDEN, "HTTPS_REQUIRED", message).header(CONNECTION, "close").into_response()
        }
    }
}

/// A router that sends everything to the same place below `public_url`, and reads no body.
pub fn redirecting(public_url: &str) -> Router {
    let public_url: Arc<str> = public_url.into();
    let send = async move |request: Request| redirect(&format!("{public_url}{}", target(&request)));
    Router::new().fallback(send).layer(middleware::from_fn(trace::trace_request))
}

fn redirect(location: &str) -> Response {
    let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
    match HeaderValue::from_str(location) {
        Ok(location) => response.headers_mut().insert(LOCATION, location),
        Err(_) => return Refusal::internal().into_response(),
    };
    // A body that may follow is not waited for.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn target(request: &Request) -> PathAndQuery {
    request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(https: &HttpsOnly, request: (&Method, &str, bool), transport: Transport, peer: &str) -> Verdict {
        let (method, target, credentials) = request;
        let target = target.parse().expect("a path");
        https.judge(method, &target, credentials, transport, peer.parse().expect("an address"))
    }

    fn https(insecure_http: bool, public_url: &str) -> HttpsOnly {
        HttpsOnly { insecure_http, public_url: public_url.into(), paths: Arc::new(vec!["/daweb3".to_owned()]) }
    }

    const SECRET: [(&Method, &str, bool); 8] = [
        (&Method::GET, "/dps-submission/v1/archives?limit=1", true),
        (&Method::HEAD, "/healthz", true),
        (&Method::POST, "/oauth2/token", false),
        (&Method::POST, "/oauth2/token/", true),
        (&Method::GET, "/daweb3/status/index?urn=urn%3Anbn", false),
        (&Method::POST, "/daweb3/automatedRetrieval/queueForRetrievalJSON", false),
        (&Method::GET, "/daweb3", false),
        (&Method::DELETE, "/nothing", true),
    ];
    const FAR: [&str; 4] = ["192.0.2.1", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.1"];

    #[test]
    fn what_is_secret_passes_by_tls_from_near_or_behind_a_proxy_alone() {
        let (strict, proxied) = (https(false, "https://a.example"), https(true, "https://a.example"));
        for request in SECRET {
            for peer in FAR {
                assert_eq!(judge(&strict, request, Transport::Tls, peer), Verdict::Pass, "{request:?} {peer}");
                assert_eq!(judge(&proxied, request, Transport::Plain, peer), Verdict::Pass, "{request:?} {peer}");
                assert_ne!(judge(&strict, request, Transport::Plain, peer), Verdict::Pass, "{request:?} {peer}");
            }
            for peer in ["127.0.0.1", "127.8.0.9", "::1", "::ffff:127.0.0.1"] {
                assert_eq!(judge(&strict, request, Transport::Plain, peer), Verdict::Pass, "{request:?} {peer}");
            }
        }
    }

    #[test]
    fn who_only_asks_is_sent_to_https_where_there_is_one() {
        for request in SECRET {
            let (method, target, _) = request;
            let asks = matches!(*method, Method::GET | Method::HEAD);
            let expected = if asks { Verdict::Redirect(format!("https://a.example{target}")) } else { Verdict::Refuse };
            let found = judge(&https(false, "https://a.example"), request, Transport::Plain, "192.0.2.1");
            assert_eq!(found, expected, "{request:?}");
            let found = judge(&https(false, "http://a.example"), request, Transport::Plain, "192.0.2.1");
            assert_eq!(found, Verdict::Refuse, "{request:?}");
        }
    }

    #[test]
    fn what_is_not_secret_needs_no_https() {
        let https = https(false, "https://a.example");
        for path in
            ["/healthz", "/readyz", "/openapi.json", "/deliveries/a/1/b.tar?signature=x", "/daweb33", "/oauth2/jwks"]
        {
            for method in [Method::GET, Method::POST] {
                assert_eq!(
                    judge(&https, (&method, path, false), Transport::Plain, "192.0.2.1"),
                    Verdict::Pass,
                    "{path}"
                );
            }
        }
    }
}
