//! Style, script and pictures, compiled in. Their addresses hold a digest of them, so that browsers may keep them for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use dipper_archive::digest::{Algorithm, Hasher};

use crate::http::refusal::Refusal;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const ASSETS: [Asset; 3] = [
    Asset {
        name: "console.css",
        content_type: "text/css; charset=utf-8",
        bytes: include_bytes!("../../assets/console.css"),
    },
    Asset {
        name: "htmx.min.js",
        content_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../assets/htmx.min.js"),
    },
    Asset { name: "dipper.svg", content_type: "image/svg+xml", bytes: include_bytes!("../../assets/dipper.svg") },
];

/// What tells this build's assets from those of others.
static EDITION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    ASSETS.iter().for_each(|asset| hasher.update(asset.bytes));
    let mut edition = hasher.finish().to_string();
    edition.truncate(12);
    edition
});

/// The path of an asset.
pub(super) fn path(base: &str, name: &str) -> String {
    format!("{base}/assets/{}/{name}", *EDITION)
}

/// Hands out an asset.
pub(super) async fn asset(Path((edition, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Refusal::not_found("there is no such file").into_response();
    };
    // A page of another edition, which an update has just replaced, gets what there is, and does not keep it.
    let keeping = if edition == *EDITION { "public, max-age=31536000, immutable" } else { "no-store" };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (CACHE_CONTROL, HeaderValue::from_static(keeping)),
    ];
    (headers, asset.bytes).into_response()
}
