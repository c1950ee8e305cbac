//! How good a state is: the class that colours the word for it, the same on every page.

use dipper_core::order::OrderState;

/// Of an order.
pub(super) fn of_order(state: OrderState) -> &'static str {
    match state {
        OrderState::Delivered | OrderState::Stored | OrderState::Deleted => "good",
        OrderState::Failed | OrderState::Rejected => "bad",
        OrderState::Held | OrderState::Recalling => "warn",
        OrderState::Received
        | OrderState::Queued
        | OrderState::Pulling
        | OrderState::Verifying
        | OrderState::Storing
        | OrderState::Deleting
        | OrderState::Delivering
        | OrderState::Cancelled => "",
    }
}
