//! Events: the append-only record of what happened to orders and packages, in PREMIS terms.

use crate::db::orders::Order;
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::ids;
use crate::named::named;
use crate::order::{OrderKind, OrderState};
use crate::time::Timestamp;

/// What happens, besides that orders move ([`order_kind`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A version of a package was stored.
    PackageIngested,
    /// A package was found in the storage root.
    PackageIndexed,
    /// The storage root has nothing of a package.
    PackageMissing,
    /// Nothing of a package is left.
    PackageDeleted,
    /// Content was removed.
    ContentDeleted,
    /// Content was read and held against its digests.
    FixityCheck,
    /// Somebody asked for that.
    CheckAskedFor,
    /// A stored file was fetched without an order.
    FileFetched,
    /// A delivery was fetched from an area.
    DeliveryFetched,
    /// A client gave a delivery back.
    DeliveryReleased,
    /// An operator took a delivery back.
    DeliveryTakenBack,
    /// What was delivered is not there any more.
    DeliveryRemoved,
    /// What was delivered could not be removed.
    DeliveryNotRemoved,
    /// A delivery got no name in its area.
    DeliveryNotPlaced,
    /// A notice is sent once more.
    NoticeReplayed,
    /// An order that came to no good end was ordered again.
    OrderRepeated,
    /// An order that came to no good end needs nothing more.
    OrderDismissed,
    /// An operator ended an order.
    OrderWithdrawn,
    /// An operator gave an order another urgency.
    OrderMoved,
    /// A restore is kept longer.
    RestoreExtended,
    /// A restore was given back.
    RestoreReleased,
    /// A deletion was approved.
    DeletionApproved,
    /// A legal hold was set.
    HoldSet,
    /// A legal hold was lifted.
    HoldLifted,
    /// An account was added.
    AccountAdded,
    /// An account was given another password.
    AccountChanged,
    /// What was handed in was not taken.
    SubmissionRefused,
    /// A list that was handed in was answered.
    ListAnswered,
}

named!(
    EventKind, "kind of event":
    PackageIngested => "package ingested",
    PackageIndexed => "package indexed",
    PackageMissing => "package missing",
    PackageDeleted => "package deleted",
    ContentDeleted => "content deleted",
    FixityCheck => "fixity check",
    CheckAskedFor => "check asked for",
    FileFetched => "file fetched",
    DeliveryFetched => "delivery fetched",
    DeliveryReleased => "delivery released",
    DeliveryTakenBack => "delivery taken back",
    DeliveryRemoved => "delivery removed",
    DeliveryNotRemoved => "delivery not removed",
    DeliveryNotPlaced => "delivery not placed",
    NoticeReplayed => "notice replayed",
    OrderRepeated => "order repeated",
    OrderDismissed => "order dismissed",
    OrderWithdrawn => "order withdrawn by an operator",
    OrderMoved => "order given another urgency",
    RestoreExtended => "restore extended",
    RestoreReleased => "restore released",
    DeletionApproved => "deletion approved",
    HoldSet => "legal hold set",
    HoldLifted => "legal hold lifted",
    AccountAdded => "account added",
    AccountChanged => "account given a password",
    SubmissionRefused => "submission refused",
    ListAnswered => "list answered",
);

/// The kind of the event that an order moved to a state.
pub fn order_kind(kind: OrderKind, state: OrderState) -> String {
    let subject = match kind {
        OrderKind::Dissemination => "order",
        kind => kind.name(),
    };
    format!("{subject} {state}")
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its identifier; identifiers sort by time.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// What happened, such as `order delivered` or `fixity check`.
    pub kind: String,
    /// Whether it went well.
    pub success: bool,
    /// Who or what did it.
    pub agent: String,
    /// The order it concerns.
    pub order_id: Option<String>,
    /// The package it concerns.
    pub package_id: Option<String>,
    /// More about it, for a person to read.
    pub detail: String,
}

impl Event {
    /// An event that went well, of this program, with nothing more to say.
    pub fn new(kind: EventKind, at: Timestamp) -> Event {
        Event::of(kind.name().to_owned(), at)
    }

    /// An order moved to the state in which it is.
    pub fn moved(order: &Order) -> Event {
        Event {
            success: order.state != OrderState::Failed,
            order_id: Some(order.id.clone()),
            package_id: Some(order.package_id.clone()).filter(|id| !id.is_empty()),
            ..Event::of(order_kind(order.kind, order.state), order.updated)
        }
    }

    fn of(kind: String, at: Timestamp) -> Event {
        Event {
            id: ids::new_id(),
            at,
            kind,
            success: true,
            agent: concat!("dipper ", env!("CARGO_PKG_VERSION")).to_owned(),
            order_id: None,
            package_id: None,
            detail: String::new(),
        }
    }
}

/// Appends an event.
pub async fn insert(transaction: &mut Transaction, event: &Event) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO events (id, at, kind, outcome, agent, order_id, package_id, detail)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let statement = sql(insert)
        .bind(&event.id)
        .bind(event.at)
        .bind(&event.kind)
        .bind(if event.success { "success" } else { "failure" })
        .bind(&event.agent)
        .bind(event.order_id.clone())
        .bind(event.package_id.clone())
        .bind(&event.detail);
    transaction.execute(statement).await.map(|_| ())
}

/// The newest events, of one order or package where they are given, oldest first.
pub async fn list(
    database: &Database,
    order_id: Option<&str>,
    package_id: Option<&str>,
    limit: u32,
) -> Result<Vec<Event>, DatabaseError> {
    let mut text =
        "SELECT id, at, kind, outcome, agent, order_id, package_id, detail FROM events WHERE 1 = 1".to_owned();
    let mut values = Vec::new();
    for (column, wanted) in [("order_id", order_id), ("package_id", package_id)] {
        if let Some(wanted) = wanted {
            values.push(wanted);
            text.push_str(&format!(" AND {column} = ${}", values.len()));
        }
    }
    text.push_str(&format!(" ORDER BY id DESC LIMIT {limit}"));
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    let mut events: Vec<Event> = database.rows(statement).await?.iter().map(event).collect::<Result<_, _>>()?;
    events.reverse();
    Ok(events)
}

/// The events of a package, newest first: at most `limit` of them, older than the one with the identifier `before` where
/// that is given.
pub async fn of_package(
    database: &Database,
    package_id: &str,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Event>, DatabaseError> {
    let older = if before.is_some() { " AND id < $2" } else { "" };
    let text = format!(
        "SELECT id, at, kind, outcome, agent, order_id, package_id, detail FROM events
         WHERE package_id = $1{older} ORDER BY id DESC LIMIT {limit}"
    );
    let statement = [Some(package_id), before].into_iter().flatten().fold(Statement::assembled(text), Statement::bind);
    database.rows(statement).await?.iter().map(event).collect()
}

fn event(row: &Row) -> Result<Event, DatabaseError> {
    Ok(Event {
        id: row.text("id")?,
        at: row.time("at")?,
        kind: row.text("kind")?,
        success: row.text("outcome")? == "success",
        agent: row.text("agent")?,
        order_id: row.text_or_null("order_id")?,
        package_id: row.text_or_null("package_id")?,
        detail: row.text("detail")?,
    })
}
