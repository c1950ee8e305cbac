//! Refusals as problem details (RFC 9457), with the parts of the request that are at fault.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use super::refusal::{Part, Refusal, Shape};

/// `{"type":"…","title":"…","status":422,"detail":"…","errors":[…]}`.
pub const PROBLEM: Shape = Shape { content_type: "application/problem+json", body };

/// Why a request is not carried out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "urn:dipper:problem:not-as-stored", "title": "Not as stored", "status": 422,
    "detail": "a part of the request cannot be carried out, so nothing was begun",
    "errors": [{"filegroup": "fg-1", "file": "a/b.tif", "detail": "the stored file has another md5 checksum"}]
}))]
pub struct Problem {
    /// What kind of problem it is, for programs; `about:blank` where the status says it all.
    pub r#type: String,
    /// The same for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong, and what to do.
    pub detail: String,
    /// What else helps, such as the identifier of what is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The parts of the request that are at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemPart>,
}

/// A part of the request that is at fault.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemPart {
    /// The filegroup.
    pub filegroup: String,
    /// The file, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What is wrong with it.
    pub detail: String,
}

/// What every route that asks for credentials may answer instead.
#[derive(Debug, IntoResponses)]
pub enum Refused {
    /// The request is not well-formed.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// No credentials, or wrong ones.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The client has not the role, or came in plain http.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// It took too long.
    #[response(status = 408, content_type = "application/problem+json")]
    Timeout(Problem),
    /// Too many requests, or too many failed attempts to sign in.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// The server failed.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// The archive is busy, or has no room left; `Retry-After` says when to come back.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// What a route with a body may answer besides.
#[derive(Debug, IntoResponses)]
pub enum RefusedBody {
    /// The body is too long.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// What is asked for cannot be; `errors` names each part that is at fault.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(Problem),
}

fn body(refusal: &Refusal) -> Vec<u8> {
    serde_json::to_vec(&problem(refusal)).unwrap_or_default()
}

fn problem(refusal: &Refusal) -> Problem {
    let reason = refusal.status.canonical_reason().unwrap_or("Error");
    let is_plain = refusal.code == reason.to_uppercase().replace([' ', '-'], "_");
    let (r#type, title) = if is_plain {
        ("about:blank".to_owned(), reason.to_owned())
    } else {
        let words = refusal.code.to_lowercase().replace('_', " ");
        let (first, rest) = words.split_at(words.len().min(1));
        (format!("urn:dipper:problem:{}", words.replace(' ', "-")), first.to_uppercase() + rest)
    };
    let part = |part: &Part| ProblemPart {
        filegroup: part.filegroup.clone(),
        file: part.file.clone(),
        detail: part.message.clone(),
    };
    Problem {
        r#type,
        title,
        status: refusal.status.as_u16(),
        detail: refusal.message.clone(),
        instance: refusal.details.clone(),
        errors: refusal.parts.iter().map(part).collect(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn refusals_become_problems() {
        let text = |refusal: &Refusal| String::from_utf8(body(refusal)).expect("UTF-8");
        assert_eq!(
            text(&Refusal::not_found("there is no such filegroup")),
            r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"there is no such filegroup"}"#
        );
        let part = |file: Option<&str>| Part {
            filegroup: "fg".to_owned(),
            file: file.map(str::to_owned),
            message: "is wrong".to_owned(),
        };
        let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "NOT_AS_STORED", "nothing was begun");
        assert_eq!(
            text(&refusal.parts(vec![part(None), part(Some("a/b"))])),
            r#"{"type":"urn:dipper:problem:not-as-stored","title":"Not as stored","status":422,"detail":"nothing was begun","errors":[{"filegroup":"fg","detail":"is wrong"},{"filegroup":"fg","file":"a/b","detail":"is wrong"}]}"#
        );
    }
}
