//! What webhooks receive (Standard Webhooks 1.0; the core signs and sends).

use dipper_core::notify::{NoticeFacts, NoticeRenderer};
use dipper_core::order::OrderState;

use super::mapping;
use super::wire::{NoticeBody, NoticeData};

pub(super) struct Renderer;

impl NoticeRenderer for Renderer {
    fn render(&self, facts: &NoticeFacts<'_>) -> Option<Vec<u8>> {
        let order = facts.order;
        let (kind, files) = match order.state {
            OrderState::Delivered => ("dissemination.delivered", Some(mapping::files(facts.delivery?, facts.links))),
            OrderState::Failed => ("dissemination.failed", None),
            OrderState::Rejected | OrderState::Cancelled => ("dissemination.rejected", None),
            OrderState::Received
            | OrderState::Queued
            | OrderState::Recalling
            | OrderState::Verifying
            | OrderState::Delivering
            // Orders of other kinds.
            | OrderState::Held
            | OrderState::Pulling
            | OrderState::Storing
            | OrderState::Deleting
            | OrderState::Stored
            | OrderState::Deleted => return None,
        };
        let body = NoticeBody {
            r#type: kind,
            timestamp: facts.created.to_string(),
            data: NoticeData {
                archive_id: order.package_id.clone(),
                dissemination_id: order.id.clone(),
                object_id: order.object_id.clone(),
                client_id: order.client_id.clone(),
                contract_id: order.contract_id.clone(),
                sum_size_in_bytes: order.size_bytes,
                files,
                reason: order.failure.as_ref().map(|failure| failure.message.clone()),
            },
        };
        serde_json::to_vec(&body).ok()
    }
}
