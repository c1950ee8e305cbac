//! The state machine of an order: pure, and the only place that decides which state follows which.

use crate::named::named;

/// Where an order stands. The order of the variants is the order in which a client sees them; an order never goes
/// back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderState {
    /// Accepted and stored.
    Received,
    /// Admitted to the queue.
    Queued,
    /// Its content is being brought within reach (from cold storage, if it lies there).
    Recalling,
    /// Every byte is being read and checked.
    Verifying,
    /// The delivery is being published.
    Delivering,
    /// The delivery can be fetched.
    Delivered,
    /// Given up after an error of ours or of the storage.
    Failed,
    /// No longer allowed when its turn came.
    Rejected,
    /// Withdrawn by the client.
    Cancelled,
}

/// What happened to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The queue has taken it.
    Admitted,
    /// Its content is being brought within reach.
    RecallStarted,
    /// The verifying read has begun.
    VerificationStarted,
    /// Everything matched; the delivery is being published.
    DeliveryStarted,
    /// The delivery can be fetched.
    Delivered,
    /// No further attempt will be made.
    Failed,
    /// It is no longer allowed.
    Rejected,
    /// The client withdrew it.
    Cancelled,
}

/// What a signal does to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// The order moves on.
    To(OrderState),
    /// A step is being repeated after a crash or an error: the order was there before.
    Stay,
}

/// A signal that does not fit the state; for a worker it means that somebody else ended the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {state} cannot be {signal:?}")]
pub struct Refused {
    /// The state of the order.
    pub state: OrderState,
    /// The signal that came.
    pub signal: Signal,
}

/// The one function that owns every change of state.
pub fn transition(state: OrderState, signal: Signal) -> Result<Transition, Refused> {
    use OrderState as S;
    let refused = Err(Refused { state, signal });
    if state.is_finished() {
        return refused;
    }
    let (before, target) = match signal {
        Signal::Admitted => (S::Received, S::Queued),
        Signal::RecallStarted => (S::Queued, S::Recalling),
        Signal::VerificationStarted => (S::Recalling, S::Verifying),
        Signal::DeliveryStarted => (S::Verifying, S::Delivering),
        Signal::Delivered => (S::Delivering, S::Delivered),
        Signal::Failed => return Ok(Transition::To(S::Failed)),
        Signal::Rejected => return Ok(Transition::To(S::Rejected)),
        Signal::Cancelled => return Ok(Transition::To(S::Cancelled)),
    };
    if state == before {
        Ok(Transition::To(target))
    } else if state >= target {
        Ok(Transition::Stay)
    } else {
        refused
    }
}

named!(
    OrderState, "state of an order":
    Received => "received",
    Queued => "queued",
    Recalling => "recalling",
    Verifying => "verifying",
    Delivering => "delivering",
    Delivered => "delivered",
    Failed => "failed",
    Rejected => "rejected",
    Cancelled => "cancelled",
);

impl OrderState {
    /// Whether nothing can follow.
    pub fn is_finished(self) -> bool {
        self >= OrderState::Delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNALS: [Signal; 8] = [
        Signal::Admitted,
        Signal::RecallStarted,
        Signal::VerificationStarted,
        Signal::DeliveryStarted,
        Signal::Delivered,
        Signal::Failed,
        Signal::Rejected,
        Signal::Cancelled,
    ];

    /// One row a state, one letter a signal: `>` moves on, `=` stays, `x` ends it, `.` is refused.
    #[test]
    fn all_pairs() {
        let table = [
            (OrderState::Received, ">....xxx"),
            (OrderState::Queued, "=>...xxx"),
            (OrderState::Recalling, "==>..xxx"),
            (OrderState::Verifying, "===>.xxx"),
            (OrderState::Delivering, "====>xxx"),
            (OrderState::Delivered, "........"),
            (OrderState::Failed, "........"),
            (OrderState::Rejected, "........"),
            (OrderState::Cancelled, "........"),
        ];
        for (state, row) in table {
            for (signal, letter) in SIGNALS.into_iter().zip(row.chars()) {
                let found = match transition(state, signal) {
                    Ok(Transition::Stay) => '=',
                    Ok(Transition::To(next)) if next > OrderState::Delivered => 'x',
                    Ok(Transition::To(_)) => '>',
                    Err(refused) => {
                        assert_eq!(refused, Refused { state, signal });
                        '.'
                    }
                };
                assert_eq!(found, letter, "{state} {signal:?}");
            }
        }
    }

    #[test]
    fn a_state_only_moves_forward_and_by_one() {
        for &state in OrderState::ALL {
            for signal in SIGNALS {
                if let Ok(Transition::To(next)) = transition(state, signal) {
                    assert!(next > state, "{state} {signal:?}");
                    assert!(next as u8 == state as u8 + 1 || next > OrderState::Delivered, "{state} {signal:?}");
                }
            }
            assert_eq!(state.name().parse(), Ok(state));
        }
    }
}
