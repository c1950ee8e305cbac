//! The description of the API, made from the handlers, and the pages to read it with. Nothing on those pages is
//! asked of another host.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::security::{ClientCredentials, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Scopes, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, SecurityRequirement};
use utoipa_swagger_ui::Config;

use super::refusal::Refusal;

/// The document without any route.
pub fn empty(embedded_issuer: bool) -> OpenApi {
    let info = InfoBuilder::new()
        .title("Dipper")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("A dissemination server for digital archives."))
        .build();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    let bearer = bearer.description(Some("An access token, with roles such as `{contractId}_R`.")).build();
    let mut components = ComponentsBuilder::new().security_scheme("bearer", SecurityScheme::Http(bearer));
    let basic = HttpBuilder::new().scheme(HttpAuthScheme::Basic);
    let basic = basic.description(Some("The name and the secret of a client.")).build();
    components = components.security_scheme("basic", SecurityScheme::Http(basic));
    if embedded_issuer {
        let flow = Flow::ClientCredentials(ClientCredentials::new("/oauth2/token", Scopes::new()));
        components = components.security_scheme("oauth2", SecurityScheme::OAuth2(OAuth2::new([flow])));
    }
    let mut required = vec![SecurityRequirement::new("bearer", [""; 0])];
    if embedded_issuer {
        required.push(SecurityRequirement::new("oauth2", [""; 0]));
    }
    OpenApiBuilder::new().info(info).components(Some(components.build())).security(Some(required)).build()
}

/// Names the last part of a path, which may hold slashes, as all other parts are named.
pub fn name_plainly(document: &mut OpenApi) {
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
}

/// The document and the pages.
pub fn pages(document: OpenApi) -> Router {
    let document = Arc::new(document);
    // Relative addresses: a proxy may put the server below a path of its own.
    // `none`: otherwise the page would have the document checked by a server of its makers.
    let config = Config::from("../openapi.json").validator_url("none").try_it_out_enabled(true);
    let config = Arc::new(config.persist_authorization(false));
    let page = move |path: String| {
        let config = config.clone();
        async move { file(&path, config) }
    };
    let index = page.clone();
    Router::new()
        .route("/openapi.json", get(async move || Json(document.as_ref()).into_response()))
        .route("/swagger", get(async || (StatusCode::PERMANENT_REDIRECT, [(LOCATION, "swagger/")])))
        .route("/swagger/", get(move || index("index.html".to_owned())))
        .route("/swagger/{file}", get(move |Path(path): Path<String>| page(path)))
}

fn file(path: &str, config: Arc<Config<'static>>) -> Response {
    let found = match utoipa_swagger_ui::serve(path, config) {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(path, "a page of the API description could not be made: {error}");
            return Refusal::internal().into_response();
        }
    };
    let Some(found) = found else {
        return Refusal::not_found("there is no such page of the API description").into_response();
    };
    let mut response = found.bytes.into_owned().into_response();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&found.content_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    // The pages carry styles and pictures in themselves; everything else is from this server, and nothing else goes.
    let policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}
