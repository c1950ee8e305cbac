//! The state machine of an order: pure, and the only place that decides which state follows which.

use crate::named::named;

/// What is asked for with an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderKind {
    /// A package is to be handed out.
    #[default]
    Dissemination,
    /// Files that a depositor keeps ready are to become a version of a package.
    Deposit,
    /// Files are to be made available to their depositor, as they are stored.
    Restore,
    /// Files or packages are to be removed for good.
    Deletion,
}

named!(
    OrderKind, "kind of order":
    Dissemination => "dissemination",
    Deposit => "deposit",
    Restore => "restore",
    Deletion => "deletion",
);

/// Where an order stands. An order never goes back; which states it passes through, its kind says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderState {
    /// Accepted and stored.
    Received,
    /// Put off: it can be withdrawn for a while, or somebody has to approve it.
    Held,
    /// Admitted to the queue.
    Queued,
    /// Its content is being brought within reach (from cold storage, if it lies there).
    Recalling,
    /// Its files are being fetched from their depositor.
    Pulling,
    /// Every byte is being read and checked.
    Verifying,
    /// All files are there and were right; the version is being made.
    Storing,
    /// Content is being removed.
    Deleting,
    /// The delivery is being published.
    Delivering,
    /// What was asked for can be fetched.
    Delivered,
    /// The version is part of the archive.
    Stored,
    /// The content is gone.
    Deleted,
    /// Given up after an error of ours, of the storage, or of the depositor.
    Failed,
    /// No longer allowed when its turn came.
    Rejected,
    /// Withdrawn by the client.
    Cancelled,
}

/// What happened to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// It has to wait for its time, or for an approval.
    PutOff,
    /// The queue has taken it.
    Admitted,
    /// Its content is being brought within reach.
    RecallStarted,
    /// Its files are being fetched from their depositor.
    PullStarted,
    /// The verifying read has begun.
    VerificationStarted,
    /// All files are there; the version is being made.
    StoringStarted,
    /// Content is being removed from now on.
    DeletionStarted,
    /// Everything matched; the delivery is being published.
    DeliveryStarted,
    /// What was asked for can be fetched.
    Delivered,
    /// The version is part of the archive.
    Stored,
    /// The content is gone.
    Deleted,
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
#[error("a {kind} that is {state} cannot be {signal:?}")]
pub struct Refused {
    /// The kind of the order.
    pub kind: OrderKind,
    /// The state of the order.
    pub state: OrderState,
    /// The signal that came.
    pub signal: Signal,
}

/// The one function that owns every change of state.
pub fn transition(kind: OrderKind, state: OrderState, signal: Signal) -> Result<Transition, Refused> {
    let refused = Err(Refused { kind, state, signal });
    let path = kind.path();
    let position = |wanted: OrderState| path.iter().position(|known| *known == wanted);
    let target = signal.target();
    let (Some(stands), false) = (position(state), state.is_finished()) else {
        return refused;
    };
    match position(target) {
        Some(goal) if goal <= stands => Ok(Transition::Stay),
        Some(goal) if path.get(stands + 1..goal).is_some_and(|between| between.iter().all(may_be_left_out)) => {
            Ok(Transition::To(target))
        }
        Some(_) => refused,
        None if signal == Signal::Cancelled && is_past_withdrawal(state) => refused,
        None if matches!(signal, Signal::Failed | Signal::Rejected | Signal::Cancelled) => Ok(Transition::To(target)),
        None => refused,
    }
}

/// Not every deletion is put off.
fn may_be_left_out(state: &OrderState) -> bool {
    *state == OrderState::Held
}

/// Whether what is stored may be changing already.
fn is_past_withdrawal(state: OrderState) -> bool {
    matches!(state, OrderState::Storing | OrderState::Deleting)
}

named!(
    OrderState, "state of an order":
    Received => "received",
    Held => "held",
    Queued => "queued",
    Recalling => "recalling",
    Pulling => "pulling",
    Verifying => "verifying",
    Storing => "storing",
    Deleting => "deleting",
    Delivering => "delivering",
    Delivered => "delivered",
    Stored => "stored",
    Deleted => "deleted",
    Failed => "failed",
    Rejected => "rejected",
    Cancelled => "cancelled",
);

impl OrderState {
    /// Whether nothing can follow.
    pub fn is_finished(self) -> bool {
        self >= OrderState::Delivered
    }

    /// Whether what was asked for has come about.
    pub fn is_success(self) -> bool {
        matches!(self, OrderState::Delivered | OrderState::Stored | OrderState::Deleted)
    }
}

impl OrderKind {
    /// The states of an order that comes to a good end.
    pub fn path(self) -> &'static [OrderState] {
        use OrderState as S;
        match self {
            OrderKind::Dissemination => {
                &[S::Received, S::Queued, S::Recalling, S::Verifying, S::Delivering, S::Delivered]
            }
            OrderKind::Deposit => &[S::Received, S::Queued, S::Pulling, S::Storing, S::Stored],
            OrderKind::Restore => &[S::Received, S::Queued, S::Recalling, S::Verifying, S::Delivered],
            OrderKind::Deletion => &[S::Received, S::Held, S::Queued, S::Deleting, S::Deleted],
        }
    }

    /// Every state that an order of this kind can have.
    pub fn states(self) -> impl Iterator<Item = OrderState> {
        const ENDS: [OrderState; 3] = [OrderState::Failed, OrderState::Rejected, OrderState::Cancelled];
        self.path().iter().copied().chain(ENDS)
    }
}

impl Signal {
    /// Where it leads.
    fn target(self) -> OrderState {
        match self {
            Signal::PutOff => OrderState::Held,
            Signal::Admitted => OrderState::Queued,
            Signal::RecallStarted => OrderState::Recalling,
            Signal::PullStarted => OrderState::Pulling,
            Signal::VerificationStarted => OrderState::Verifying,
            Signal::StoringStarted => OrderState::Storing,
            Signal::DeletionStarted => OrderState::Deleting,
            Signal::DeliveryStarted => OrderState::Delivering,
            Signal::Delivered => OrderState::Delivered,
            Signal::Stored => OrderState::Stored,
            Signal::Deleted => OrderState::Deleted,
            Signal::Failed => OrderState::Failed,
            Signal::Rejected => OrderState::Rejected,
            Signal::Cancelled => OrderState::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNALS: [Signal; 14] = [
        Signal::PutOff,
        Signal::Admitted,
        Signal::RecallStarted,
        Signal::PullStarted,
        Signal::VerificationStarted,
        Signal::StoringStarted,
        Signal::DeletionStarted,
        Signal::DeliveryStarted,
        Signal::Delivered,
        Signal::Stored,
        Signal::Deleted,
        Signal::Failed,
        Signal::Rejected,
        Signal::Cancelled,
    ];

    const NEVER: &str = "..............";

    fn row_of(kind: OrderKind, state: OrderState) -> &'static str {
        use OrderState as S;
        match (kind, state) {
            (OrderKind::Dissemination, S::Received) => ".>.........xxx",
            (OrderKind::Dissemination, S::Queued) => ".=>........xxx",
            (OrderKind::Dissemination, S::Recalling) => ".==.>......xxx",
            (OrderKind::Dissemination, S::Verifying) => ".==.=..>...xxx",
            (OrderKind::Dissemination, S::Delivering) => ".==.=..=>..xxx",
            (OrderKind::Deposit, S::Received) => ".>.........xxx",
            (OrderKind::Deposit, S::Queued) => ".=.>.......xxx",
            (OrderKind::Deposit, S::Pulling) => ".=.=.>.....xxx",
            (OrderKind::Deposit, S::Storing) => ".=.=.=...>.xx.",
            (OrderKind::Restore, S::Received) => ".>.........xxx",
            (OrderKind::Restore, S::Queued) => ".=>........xxx",
            (OrderKind::Restore, S::Recalling) => ".==.>......xxx",
            (OrderKind::Restore, S::Verifying) => ".==.=...>..xxx",
            (OrderKind::Deletion, S::Received) => ">>.........xxx",
            (OrderKind::Deletion, S::Held) => "=>.........xxx",
            (OrderKind::Deletion, S::Queued) => "==....>....xxx",
            (OrderKind::Deletion, S::Deleting) => "==....=...>xx.",
            // It has ended, or orders of this kind never come there.
            _ => NEVER,
        }
    }

    /// One row a kind and state, one letter a signal: `>` moves on, `=` stays, `x` ends it, `.` is refused.
    #[test]
    fn all_kinds_states_and_signals() {
        for &kind in OrderKind::ALL {
            for &state in OrderState::ALL {
                let row = row_of(kind, state);
                for (signal, letter) in SIGNALS.into_iter().zip(row.chars()) {
                    let found = match transition(kind, state, signal) {
                        Ok(Transition::Stay) => '=',
                        Ok(Transition::To(next)) if next.is_finished() && !next.is_success() => 'x',
                        Ok(Transition::To(_)) => '>',
                        Err(refused) => {
                            assert_eq!(refused, Refused { kind, state, signal });
                            '.'
                        }
                    };
                    assert_eq!(found, letter, "{kind} {state} {signal:?}");
                }
                let passes = kind.states().any(|known| known == state);
                assert_eq!(row != NEVER, passes && !state.is_finished(), "{kind} {state}");
            }
        }
    }

    #[test]
    fn an_order_only_moves_forward_and_comes_to_one_good_end() {
        for &kind in OrderKind::ALL {
            let path = kind.path();
            assert!(path.is_sorted() && path.iter().filter(|state| state.is_finished()).count() == 1, "{kind}");
            assert!(path.last().is_some_and(|last| last.is_success()), "{kind}");
            for &state in OrderState::ALL {
                for signal in SIGNALS {
                    if let Ok(Transition::To(next)) = transition(kind, state, signal) {
                        assert!(next > state && kind.states().any(|known| known == next), "{kind} {state} {signal:?}");
                    }
                }
            }
        }
        for state in OrderState::ALL {
            assert_eq!(state.name().parse(), Ok(*state));
        }
    }
}
