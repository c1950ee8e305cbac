//! Refusals in the words and the shapes of the contract: one where the status is asked for, one for retrievals.

use axum::http::StatusCode;
use dipper_core::intake::IntakeError;

use super::wire::{RetrievalAnswer, StatusError, Success};
use crate::http::refusal::{Refusal, Shape};

/// `{"status":"not found","statusInt":404}`, with what was wrong where that says more.
pub(super) const STATUS: Shape = Shape { content_type: "application/json", body: status_body };
/// `{"success":"false","msg":"…"}`.
pub(super) const RETRIEVAL: Shape = Shape { content_type: "application/json", body: retrieval_body };

/// Of an object that is not there. The service writes this one without a message.
const OBJECT_NOT_FOUND: &str = "OBJECT_NOT_FOUND";

fn status_body(refusal: &Refusal) -> Vec<u8> {
    let status = refusal.status.canonical_reason().unwrap_or("error").to_lowercase();
    let msg = (refusal.code != OBJECT_NOT_FOUND).then(|| refusal.message.clone());
    let answer = StatusError { status, status_int: refusal.status.as_u16(), msg };
    serde_json::to_vec(&answer).unwrap_or_default()
}

fn retrieval_body(refusal: &Refusal) -> Vec<u8> {
    let answer = RetrievalAnswer { success: Success::False, msg: Some(refusal.message.clone()) };
    serde_json::to_vec(&answer).unwrap_or_default()
}

/// 404 for an object.
pub(super) fn object_not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, OBJECT_NOT_FOUND, "there is no such object")
}

/// What is no answer to the question: the archive could not look.
pub(super) fn failure(error: IntakeError) -> Refusal {
    match error {
        IntakeError::Database(error) => {
            tracing::error!(%error, "a request failed");
            Refusal::database(&error)
        }
        error => {
            tracing::error!(%error, "a request failed");
            Refusal::internal()
        }
    }
}

/// What becomes of an order that the core did not take: an answer that says why, or a failure.
pub(super) fn not_ordered(error: IntakeError) -> Result<RetrievalAnswer, Refusal> {
    let message = error.to_string();
    let refused = |msg: &str| Ok(RetrievalAnswer { success: Success::False, msg: Some(msg.to_owned()) });
    match error {
        // It is under way, which is all that was asked for.
        IntakeError::AlreadyOrdered { .. } => Ok(RetrievalAnswer { success: Success::True, msg: None }),
        // It went between the search and the order.
        IntakeError::NotAllowed { .. } | IntakeError::PackageUnknown(_) => refused("there is no such object"),
        IntakeError::VersionUnknown { version, .. } => refused(&format!("the object has no version {version}")),
        IntakeError::NotPreserved { .. } => {
            refused("the object is not handed out before it has been checked: ask the operator of the archive")
        }
        IntakeError::PathUnknown { .. }
        | IntakeError::OrderUnknown(_)
        | IntakeError::NotDelivered { .. }
        | IntakeError::Gone(_) => refused(&message),
        error @ (IntakeError::Archive(_) | IntakeError::Store(_) | IntakeError::Database(_)) => Err(failure(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_the_shapes_of_the_service() {
        let text = |body: Vec<u8>| String::from_utf8(body).expect("UTF-8");
        assert_eq!(text(status_body(&object_not_found())), r#"{"status":"not found","statusInt":404}"#);
        let wrong = Refusal::bad_request("name an object");
        assert_eq!(text(status_body(&wrong)), r#"{"status":"bad request","statusInt":400,"msg":"name an object"}"#);
        assert_eq!(text(retrieval_body(&wrong)), r#"{"success":"false","msg":"name an object"}"#);
    }

    #[test]
    fn what_is_under_way_is_a_success() {
        let queued = not_ordered(IntakeError::AlreadyOrdered { existing: "x".to_owned() }).expect("an answer");
        assert_eq!(serde_json::to_string(&queued).expect("JSON"), r#"{"success":"true"}"#);
        let unknown = not_ordered(IntakeError::PackageUnknown("secret".to_owned())).expect("an answer");
        let text = serde_json::to_string(&unknown).expect("JSON");
        assert_eq!(text, r#"{"success":"false","msg":"there is no such object"}"#);
    }
}
