//! The pages that show the description of the interfaces.

use serde_json::json;

use super::drive;
use crate::support::Server;

#[tokio::test]
async fn the_description_is_shown_without_asking_anybody_else() {
    let server = Server::start(&[]).await;
    drive(&server, "description", json!({})).await;
}
