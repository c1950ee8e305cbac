//! `dipper events` and `dipper queue`: what happened, and what is waiting.

use std::time::Duration;

use clap::Args;
use dipper_core::db::events::Event;
use dipper_core::db::recalls::RecallUnderWay;
use dipper_core::db::steps::HeldStep;
use dipper_core::time::Timestamp;
use serde_json::{Value, json};

use super::local::{LocalArguments, Missing};
use super::output::{Output, Table, time_short};

#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    #[command(flatten)]
    local: LocalArguments,
    /// Of this order alone
    #[arg(long, value_name = "ORDER_ID")]
    order: Option<String>,
    /// Of this package alone
    #[arg(long, value_name = "ARCHIVE_ID")]
    package: Option<String>,
    /// How many of the newest at the most
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

pub(crate) async fn events(arguments: EventsArguments, output: Output) -> anyhow::Result<()> {
    let administration = arguments.local.administration(Missing::Refuse).await?;
    let (order, package) = (arguments.order.as_deref(), arguments.package.as_deref());
    let events = administration.event_list(order, package, arguments.limit).await?;
    let mut table = Table::new(&["at", "what", "result", "by", "order", "package", "more"]);
    for event in &events {
        let result = if event.success { "ok" } else { "failed" };
        let order = event.order_id.as_deref().unwrap_or("-");
        let package = event.package_id.as_deref().unwrap_or("-");
        let at = time_short(event.at);
        table.row(&[&at, &event.kind, &result, &event.agent, &order, &package, &event.detail]);
    }
    let listed: Vec<_> = events.iter().map(event_json).collect();
    output.result(&json!({ "events": listed }), &table.text("no events"))
}

fn event_json(event: &Event) -> Value {
    json!({
        "eventId": event.id,
        "at": event.at.to_string(),
        "kind": event.kind,
        "success": event.success,
        "agent": event.agent,
        "orderId": event.order_id,
        "archiveId": event.package_id,
        "detail": event.detail,
    })
}

#[derive(Debug, Args)]
pub(crate) struct QueueArguments {
    #[command(flatten)]
    local: LocalArguments,
    /// How many of the steps that are held, and of the recalls, at the most
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

pub(crate) async fn queue(arguments: QueueArguments, output: Output) -> anyhow::Result<()> {
    let administration = arguments.local.administration(Missing::Refuse).await?;
    let counts = administration.step_counts().await?;
    let held = administration.step_held(arguments.limit).await?;
    let recalls = administration.recall_under_way(arguments.limit).await?;
    let now = Timestamp::now();
    let mut table = Table::new(&["steps", "how many", "oldest"]);
    let mut listed = Vec::new();
    for step in &counts {
        let oldest = now.since(step.oldest);
        table.row(&[&step.state, &step.count, &age(oldest)]);
        listed.push(json!({ "state": step.state, "count": step.count, "oldestSeconds": oldest.as_secs() }));
    }
    let mut text = table.text("nothing is waiting");
    if !held.is_empty() {
        text.push('\n');
        text.push_str(&held_text(&held, now));
    }
    if !recalls.is_empty() {
        text.push('\n');
        text.push_str(&recalls_text(&recalls, now));
    }
    let held: Vec<_> = held.iter().map(|step| held_json(step, now)).collect();
    let recalls: Vec<_> = recalls.iter().map(|recall| recall_json(recall, now)).collect();
    output.result(&json!({ "steps": listed, "held": held, "recalls": recalls }), &text)
}

/// Who holds what, and for how long.
fn held_text(held: &[HeldStep], now: Timestamp) -> String {
    let mut table = Table::new(&["held by", "step", "since", "lease", "attempt", "contract", "order"]);
    for step in held {
        let left = step.lease_until.since(now);
        // A holder that reports keeps its lease ahead of the time.
        let lease = if left.is_zero() { "run out".to_owned() } else { age(left) };
        let since = age(now.since(step.claimed));
        table.row(&[&step.holder, &step.kind, &since, &lease, &step.attempt, &step.contract_id, &step.order_id]);
    }
    table.text("")
}

fn held_json(step: &HeldStep, now: Timestamp) -> Value {
    json!({
        "holder": step.holder,
        "kind": step.kind.name(),
        "orderId": step.order_id,
        "contractId": step.contract_id,
        "sizeBytes": step.size_bytes,
        "attempt": step.attempt,
        "heldSeconds": now.since(step.claimed).as_secs(),
        "leaseUntil": step.lease_until.to_string(),
    })
}

/// What is being brought back from cold storage, and for how many orders.
fn recalls_text(recalls: &[RecallUnderWay], now: Timestamp) -> String {
    let mut table = Table::new(&["recalled package", "version", "tier", "since", "looked at", "orders", "contract"]);
    for recall in recalls {
        let (since, looked_at) = (age(now.since(recall.requested)), age(now.since(recall.checked)));
        let tier = recall.tier.name();
        table.row(&[
            &recall.package_id,
            &recall.version,
            &tier,
            &since,
            &format!("{looked_at} ago"),
            &recall.orders,
            &recall.contract_id,
        ]);
    }
    table.text("")
}

fn recall_json(recall: &RecallUnderWay, now: Timestamp) -> Value {
    json!({
        "archiveId": recall.package_id,
        "version": recall.version,
        "contractId": recall.contract_id,
        "tier": recall.tier.name(),
        "requested": recall.requested.to_string(),
        "requestedSeconds": now.since(recall.requested).as_secs(),
        "checked": recall.checked.to_string(),
        "orders": recall.orders,
    })
}

/// A duration as people tell it: its two greatest units.
pub(crate) fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units() {
        let table = [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")];
        for (seconds, text) in table {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
