//! `dipper queue`: what is waiting, and what an operator can do about an order.

use clap::{Args, Subcommand};
use dipper_core::db::recalls::RecallUnderWay;
use dipper_core::db::steps::HeldStep;
use dipper_core::order::OrderState;
use dipper_core::oversight::acts;
use dipper_core::time::Timestamp;
use dipper_core::wake;
use serde_json::{Value, json};

use super::deletion::Operator;
use super::local::{LocalArguments, Missing};
use super::look::age;
use super::output::{Output, Table};

#[derive(Debug, Args)]
pub(crate) struct QueueArguments {
    #[command(flatten)]
    local: LocalArguments,
    /// How many of the steps that are held, and of the recalls, at the most
    #[arg(long, default_value_t = 100)]
    limit: u32,
    #[command(subcommand)]
    act: Option<Act>,
}

/// What is to be done about an order.
#[derive(Debug, Subcommand)]
enum Act {
    /// Order again what failed or was rejected, for the client that ordered it
    Retry {
        /// The order
        order: String,
        #[command(flatten)]
        operator: Operator,
    },
    /// Have an order that failed or was rejected told of no more: it needs nothing more
    Dismiss {
        /// The order
        order: String,
        #[command(flatten)]
        operator: Operator,
    },
    /// Withdraw an order that is under way, or take back what was delivered for it
    Cancel {
        /// The order
        order: String,
        #[command(flatten)]
        operator: Operator,
    },
    /// Give an order that is under way another urgency
    Priority {
        /// The order
        order: String,
        /// The urgency, from 1 to 100
        #[arg(value_parser = clap::value_parser!(i64).range(1..=100))]
        priority: i64,
        #[command(flatten)]
        operator: Operator,
    },
}

pub(crate) async fn run(arguments: QueueArguments, output: Output) -> anyhow::Result<()> {
    match arguments.act {
        Some(act) => steer(&arguments.local, act, output).await,
        None => show(&arguments.local, arguments.limit, output).await,
    }
}

async fn steer(local: &LocalArguments, act: Act, output: Output) -> anyhow::Result<()> {
    let installation = local.open(Missing::Refuse).await?;
    let (document, text) = match act {
        Act::Retry { order, operator } => {
            let new = acts::retry(&installation, &operator.agent()?, &order).await?;
            (json!({ "repeated": order, "orderId": new }), format!("order {new} takes the place of {order}\n"))
        }
        Act::Dismiss { order, operator } => {
            acts::dismiss(&installation, &operator.agent()?, &order).await?;
            (json!({ "orderId": order, "dismissed": true }), format!("order {order} is told of no more\n"))
        }
        Act::Cancel { order, operator } => {
            let state = acts::cancel(&installation, &operator.agent()?, &order).await?;
            let what = if state == OrderState::Delivered { "the delivery was taken back" } else { "withdrawn" };
            (json!({ "orderId": order, "state": state.name() }), format!("order {order}: {what}\n"))
        }
        Act::Priority { order, priority, operator } => {
            acts::priority_set(&installation, &operator.agent()?, &order, priority).await?;
            let text = format!("order {order} has the urgency {priority}\n");
            (json!({ "orderId": order, "priority": priority }), text)
        }
    };
    wake::tell_others(&installation).await;
    output.result(&document, &text)
}

async fn show(local: &LocalArguments, limit: u32, output: Output) -> anyhow::Result<()> {
    let administration = local.administration(Missing::Refuse).await?;
    let counts = administration.step_counts().await?;
    let held = administration.step_held(limit).await?;
    let recalls = administration.recall_under_way(limit).await?;
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
