//! `dipper events`: what happened.

use std::time::Duration;

use clap::Args;
use dipper_core::db::events::Event;
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
