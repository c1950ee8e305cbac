//! Orders.

use crate::db::packages::{IDS_AT_A_TIME, any_of};
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::named::named;
pub use crate::order::OrderKind;
use crate::order::OrderState;
use crate::time::Timestamp;

/// What a client asked for, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its identifier.
    pub id: String,
    /// What is asked for.
    pub kind: OrderKind,
    /// The language of the contract in which it was asked for, such as `dps`.
    pub dialect: String,
    /// The contract of the package.
    pub contract_id: String,
    /// Who asked.
    pub client_id: String,
    /// Whether the client's grants are Dipper's own records.
    pub client_stored: bool,
    /// The package; of a deposit the one that it will be. Empty where an order concerns several.
    pub package_id: String,
    /// The depositor's name for the package. Empty where an order concerns several.
    pub object_id: String,
    /// Which version of it: the newest at the time of the order, unless another one was chosen; 0 of a deposit, and
    /// where an order concerns several packages.
    pub version: u32,
    /// The version that was asked for by its number; `None` where the newest was, whichever that is.
    pub named_version: Option<u32>,
    /// What of the package is delivered.
    pub view: View,
    /// The fingerprint of the files and folders that were chosen, if not all is delivered.
    pub excerpt: Option<String>,
    /// Where it is delivered.
    pub channel: Channel,
    /// The file name under which it will lie in the area of the contract, if it is delivered there.
    pub area_name: Option<String>,
    /// The sizes of the files, added up, as far as they are known.
    pub size_bytes: u64,
    /// Where it stands.
    pub state: OrderState,
    /// The urgency as the client gave it.
    pub priority: i64,
    /// The urgency as the queue sees it: higher goes first.
    pub rank: i64,
    /// When it was accepted.
    pub created: Timestamp,
    /// When its state last changed.
    pub updated: Timestamp,
    /// When it was delivered.
    pub delivered: Option<Timestamp>,
    /// Why it failed or was rejected.
    pub failure: Option<Failure>,
}

/// Where an order is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Under links.
    Link,
    /// As a file in the outgoing directory of the contract's area.
    Area,
}

named!(Channel, "channel": Link => "link", Area => "area");

/// What of a package is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// The files of one version.
    #[default]
    Version,
    /// The latest version of every file, over all versions up to that of the order: what deltas add up to.
    Surface,
}

named!(View, "view of a package": Version => "version", Surface => "surface");

/// Why an order did not come to its good end, in words that its client may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of reason.
    pub code: FailureCode,
    /// What happened, and what to do.
    pub message: String,
}

/// The kinds of reasons for which orders end without a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCode {
    /// Stored content does not match its digest, or is not there.
    Fixity,
    /// The storage or another part of the system failed, again and again.
    System,
    /// The package is not preserved any more.
    NotPreserved,
    /// The client may not read the package any more.
    NotAllowed,
    /// The client withdrew the order.
    Cancelled,
    /// The contract's area has no room for it.
    AreaFull,
    /// The depositor's gateway does not give what it should, or nothing at all.
    Gateway,
    /// What was fetched is not what was promised, or is at odds with what is stored.
    Mismatch,
    /// A legal hold keeps what was to be deleted.
    LegalHold,
}

named!(
    FailureCode, "reason of an order":
    Fixity => "fixity",
    System => "system",
    NotPreserved => "not_preserved",
    NotAllowed => "not_allowed",
    Cancelled => "cancelled",
    AreaFull => "area_full",
    Gateway => "gateway",
    Mismatch => "mismatch",
    LegalHold => "legal_hold",
);

/// Which orders a list holds.
#[derive(Clone, Debug, Default)]
pub struct OrderFilter {
    /// Of this kind alone.
    pub kind: OrderKind,
    /// Of one contract alone.
    pub contract_id: Option<String>,
    /// Of one package alone.
    pub package_id: Option<String>,
    /// In one of these states alone.
    pub states: Option<Vec<OrderState>>,
    /// Asked for in one dialect alone.
    pub dialect: Option<String>,
    /// Older than the order with this identifier.
    pub before: Option<String>,
    /// How many at the most.
    pub limit: u32,
}

/// So many lists are read with one statement.
const LISTS_AT_A_TIME: usize = 100;

const COLUMNS: &str = "id, kind, dialect, contract_id, client_id, client_stored, package_id, object_id, version, size_bytes, \
                       state, priority, rank, created, updated, delivered, failure_code, failure_message, \
                       channel, view, area_name, named_version, excerpt";

/// Writes a new order. An unfinished one makes a dissemination a duplicate: by link, of the same client, who asked in the same
/// dialect for the same of the package; in an area, of anybody for the same content.
pub async fn insert(transaction: &mut Transaction, order: &Order) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO orders (id, kind, dialect, contract_id, client_id, client_stored, package_id, object_id,
                      version, size_bytes, state, finished, priority, rank, created, updated, channel, view,
                      area_name, named_version, excerpt)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                      $21)";
    let statement = sql(insert)
        .bind(&order.id)
        .bind(order.kind.name())
        .bind(&order.dialect)
        .bind(&order.contract_id)
        .bind(&order.client_id)
        .bind(order.client_stored)
        .bind(&order.package_id)
        .bind(&order.object_id)
        .bind(order.version)
        .bind(order.size_bytes)
        .bind(order.state.name())
        .bind(order.state.is_finished())
        .bind(order.priority)
        .bind(order.rank)
        .bind(order.created)
        .bind(order.updated)
        .bind(order.channel.name())
        .bind(order.view.name())
        .bind(order.area_name.clone())
        .bind(order.named_version.unwrap_or(0))
        .bind(order.excerpt.as_deref().unwrap_or_default());
    transaction.execute(statement).await.map(|_| ())
}

/// Writes what changes in an order's life, provided that it still is in the state `before`; `false` otherwise.
pub async fn update(transaction: &mut Transaction, order: &Order, before: OrderState) -> Result<bool, DatabaseError> {
    let update = "UPDATE orders SET state = $1, finished = $2, updated = $3, delivered = $4, failure_code = $5,
                      failure_message = $6
                  WHERE id = $7 AND state = $8";
    let statement = sql(update)
        .bind(order.state.name())
        .bind(order.state.is_finished())
        .bind(order.updated)
        .bind(order.delivered)
        .bind(order.failure.as_ref().map(|failure| failure.code.name()))
        .bind(order.failure.as_ref().map(|failure| failure.message.clone()))
        .bind(&order.id)
        .bind(before.name());
    Ok(transaction.execute(statement).await? == 1)
}

/// Gives an order that is under way another urgency.
pub async fn rank_set(transaction: &mut Transaction, id: &str, rank: i64) -> Result<bool, DatabaseError> {
    let update = sql("UPDATE orders SET rank = $1 WHERE id = $2 AND finished = 0");
    Ok(transaction.execute(update.bind(rank).bind(id)).await? == 1)
}

/// An order by its identifier.
pub async fn get(database: &Database, id: &str) -> Result<Option<Order>, DatabaseError> {
    database.row(by_id(id)).await?.as_ref().map(order).transpose()
}

/// An order inside a transaction, locked, so that it moves for nobody else until the end of that.
pub async fn get_locked(transaction: &mut Transaction, id: &str) -> Result<Option<Order>, DatabaseError> {
    transaction.row(by_id(id).locking()).await?.as_ref().map(order).transpose()
}

/// The orders of a kind for a package, the oldest first.
pub async fn of_package(database: &Database, package_id: &str, kind: OrderKind) -> Result<Vec<String>, DatabaseError> {
    let query =
        "SELECT id FROM orders WHERE package_id = $1 AND kind = $2 AND state NOT IN ('failed', 'rejected', 'cancelled')
                 ORDER BY id";
    let rows = database.rows(sql(query).bind(package_id).bind(kind.name())).await?;
    rows.iter().map(|row| row.text("id")).collect()
}

/// The unfinished order that makes this dissemination a duplicate, if there is one.
pub async fn unfinished(database: &Database, wanted: &Order) -> Result<Option<Order>, DatabaseError> {
    let query = match wanted.channel {
        Channel::Link => {
            let text = format!(
                "SELECT {COLUMNS} FROM orders
                 WHERE client_id = $1 AND package_id = $2 AND kind = 'dissemination' AND finished = 0 AND channel = 'link'
                     AND dialect = $7 AND view = $3 AND excerpt = $4 AND (named_version = $5 OR version = $6)"
            );
            Statement::assembled(text)
                .bind(&wanted.client_id)
                .bind(&wanted.package_id)
                .bind(wanted.view.name())
                .bind(wanted.excerpt.as_deref().unwrap_or_default())
                .bind(wanted.named_version.unwrap_or(0))
                .bind(wanted.version)
                .bind(&wanted.dialect)
        }
        Channel::Area => {
            let text = format!(
                "SELECT {COLUMNS} FROM orders
                 WHERE package_id = $1 AND version = $2 AND view = $3 AND excerpt = $4 AND kind = 'dissemination'
                     AND finished = 0 AND channel = 'area'"
            );
            Statement::assembled(text)
                .bind(&wanted.package_id)
                .bind(wanted.version)
                .bind(wanted.view.name())
                .bind(wanted.excerpt.as_deref().unwrap_or_default())
        }
    };
    database.row(query).await?.as_ref().map(order).transpose()
}

/// What is to be told of the dissemination of some packages: orders that are under way, and of each channel the last one that failed, unless a
/// later one was delivered. Sorted by identifier.
pub async fn work(database: &Database, package_ids: &[&str]) -> Result<Vec<Order>, DatabaseError> {
    let mut found = Vec::new();
    for some in package_ids.chunks(IDS_AT_A_TIME) {
        let mut values = Vec::with_capacity(some.len());
        let chosen = any_of("package_id", some, &mut values);
        let text = format!(
            "SELECT {COLUMNS} FROM orders WHERE finished = 0 AND kind = 'dissemination'{chosen}
             UNION ALL
             SELECT {COLUMNS} FROM orders WHERE state = 'failed' AND kind = 'dissemination'{chosen}
                 AND NOT EXISTS (SELECT 1 FROM orders later
                                 WHERE later.package_id = orders.package_id AND later.id > orders.id
                                     AND later.kind = orders.kind
                                     AND later.channel = orders.channel AND later.state IN ('failed', 'delivered'))
             ORDER BY id"
        );
        let rows = database.rows(values.into_iter().fold(Statement::assembled(text), Statement::bind)).await?;
        for row in &rows {
            found.push(order(row)?);
        }
    }
    Ok(found)
}

/// The orders on some contracts that pass a filter, newest first.
pub async fn list(
    database: &Database,
    contract_ids: &[&str],
    filter: &OrderFilter,
) -> Result<Vec<Order>, DatabaseError> {
    let wanted = |id: &&&str| filter.contract_id.as_deref().is_none_or(|wanted| wanted == **id);
    let contract_ids: Vec<&str> = contract_ids.iter().filter(wanted).copied().collect();
    let states = filter.states.as_ref().map(|states| states.iter().map(|state| Some(state.name())).collect());
    let states: Vec<Option<&str>> = states.unwrap_or_else(|| vec![None]);
    let each: Vec<(&str, Option<&str>)> =
        contract_ids.iter().flat_map(|id| states.iter().map(move |state| (*id, *state))).collect();
    let mut found: Vec<Order> = Vec::new();
    for some in each.chunks(LISTS_AT_A_TIME) {
        for row in &database.rows(listing(some, filter)).await? {
            found.push(order(row)?);
        }
    }
    found.sort_by(|one, other| other.id.cmp(&one.id));
    found.truncate(filter.limit as usize);
    Ok(found)
}

/// The first orders of each of some contracts, in a state where one is named, each list read in the order of its index. A
/// test looks at its plan.
pub fn listing(lists: &[(&str, Option<&str>)], filter: &OrderFilter) -> Statement {
    let (mut parts, mut values) = (Vec::with_capacity(lists.len()), Vec::new());
    // A package has few orders: then the condition is an expression, so that nobody begins with all orders of the contract.
    let of_contract = if filter.package_id.is_some() { "COALESCE(contract_id, '')" } else { "contract_id" };
    for (number, (contract_id, state)) in lists.iter().enumerate() {
        let mut text = format!("SELECT {COLUMNS} FROM orders WHERE 1 = 1");
        let equal = [
            (of_contract, Some(*contract_id)),
            ("kind", Some(filter.kind.name())),
            ("state", *state),
            ("package_id", filter.package_id.as_deref()),
            ("dialect", filter.dialect.as_deref()),
        ];
        let equal = equal.into_iter().filter_map(|(column, wanted)| Some((format!("{column} ="), wanted?)));
        let before = filter.before.as_deref().map(|before| ("id <".to_owned(), before));
        for (condition, wanted) in equal.chain(before) {
            values.push(wanted);
            text.push_str(&format!(" AND {condition} ${}", values.len()));
        }
        parts.push(format!("SELECT * FROM ({text} ORDER BY id DESC LIMIT {}) AS l{number}", filter.limit));
    }
    let text = format!("{} ORDER BY id DESC LIMIT {}", parts.join(" UNION ALL "), filter.limit);
    values.into_iter().fold(Statement::assembled(text), Statement::bind)
}

/// The columns of an order, where they are read together with those of other tables.
pub(super) fn columns() -> String {
    let columns: Vec<String> = COLUMNS.split(", ").map(|column| format!("orders.{}", column.trim())).collect();
    columns.join(", ")
}

fn by_id(id: &str) -> Statement {
    Statement::assembled(format!("SELECT {COLUMNS} FROM orders WHERE id = $1")).bind(id)
}

/// The order in a row.
pub(super) fn order(row: &Row) -> Result<Order, DatabaseError> {
    let failure = match row.text_or_null("failure_code")? {
        Some(_) => Some(Failure { code: row.parse("failure_code")?, message: row.text("failure_message")? }),
        None => None,
    };
    Ok(Order {
        id: row.text("id")?,
        kind: row.parse("kind")?,
        dialect: row.text("dialect")?,
        contract_id: row.text("contract_id")?,
        client_id: row.text("client_id")?,
        client_stored: row.integer("client_stored")? != 0,
        package_id: row.text("package_id")?,
        object_id: row.text("object_id")?,
        version: row.number("version")?,
        named_version: Some(row.number("named_version")?).filter(|number| *number > 0),
        excerpt: Some(row.text("excerpt")?).filter(|fingerprint| !fingerprint.is_empty()),
        view: row.parse("view")?,
        channel: row.parse("channel")?,
        area_name: row.text_or_null("area_name")?,
        size_bytes: row.count("size_bytes")?,
        state: row.parse("state")?,
        priority: row.integer("priority")?,
        rank: row.integer("rank")?,
        created: row.time("created")?,
        updated: row.time("updated")?,
        delivered: row.time_or_null("delivered")?,
        failure,
    })
}
