//! Orders.

use crate::db::packages::any_of;
use crate::db::{Database, DatabaseError, Row, Statement, Transaction, sql};
use crate::named::named;
use crate::order::OrderState;
use crate::time::Timestamp;

/// What a client asked for, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its identifier.
    pub id: String,
    /// The language of the contract in which it was asked for, such as `dps`.
    pub dialect: String,
    /// The contract of the package.
    pub contract_id: String,
    /// Who asked.
    pub client_id: String,
    /// Whether the client's grants are Dipper's own records.
    pub client_stored: bool,
    /// The package.
    pub package_id: String,
    /// The depositor's name for the package.
    pub object_id: String,
    /// Which version of it: the newest at the time of the order.
    pub version: u32,
    /// The sizes of that version's files, added up.
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

/// Why an order ended without a delivery, in words that its client may read.
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
}

named!(
    FailureCode, "reason of an order":
    Fixity => "fixity",
    System => "system",
    NotPreserved => "not_preserved",
    NotAllowed => "not_allowed",
    Cancelled => "cancelled",
);

/// Which orders a list holds.
#[derive(Clone, Debug, Default)]
pub struct OrderFilter {
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

const KIND_DISSEMINATION: &str = "dissemination";
const COLUMNS: &str = "id, dialect, contract_id, client_id, client_stored, package_id, object_id, version, size_bytes, \
                       state, priority, rank, created, updated, delivered, failure_code, failure_message";

/// Writes a new order. An unfinished one of the same client for the same package makes it a duplicate.
pub async fn insert(transaction: &mut Transaction, order: &Order) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO orders (id, kind, dialect, contract_id, client_id, client_stored, package_id, object_id,
                      version, size_bytes, state, finished, priority, rank, created, updated)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    let statement = sql(insert)
        .bind(&order.id)
        .bind(KIND_DISSEMINATION)
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
        .bind(order.updated);
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

/// An order by its identifier.
pub async fn get(database: &Database, id: &str) -> Result<Option<Order>, DatabaseError> {
    database.row(by_id(id)).await?.as_ref().map(order).transpose()
}

/// An order inside a transaction, locked, so that it moves for nobody else until the end of that.
pub async fn get_locked(transaction: &mut Transaction, id: &str) -> Result<Option<Order>, DatabaseError> {
    transaction.row(by_id(id).locking()).await?.as_ref().map(order).transpose()
}

/// The unfinished order of a client for a package, if there is one.
pub async fn unfinished(
    database: &Database,
    client_id: &str,
    package_id: &str,
) -> Result<Option<Order>, DatabaseError> {
    let text =
        format!("SELECT {COLUMNS} FROM orders WHERE client_id = $1 AND package_id = $2 AND kind = $3 AND finished = 0");
    let query = Statement::assembled(text).bind(client_id).bind(package_id).bind(KIND_DISSEMINATION);
    database.row(query).await?.as_ref().map(order).transpose()
}

/// The orders on some contracts that pass a filter, newest first.
pub async fn list(
    database: &Database,
    contract_ids: &[&str],
    filter: &OrderFilter,
) -> Result<Vec<Order>, DatabaseError> {
    let mut text = format!("SELECT {COLUMNS} FROM orders WHERE 1 = 1");
    let mut values: Vec<&str> = Vec::new();
    text.push_str(&any_of("contract_id", contract_ids, &mut values));
    let equal =
        [("contract_id", &filter.contract_id), ("package_id", &filter.package_id), ("dialect", &filter.dialect)];
    for (column, wanted) in equal {
        if let Some(wanted) = wanted {
            text.push_str(&any_of(column, &[wanted.as_str()], &mut values));
        }
    }
    if let Some(states) = &filter.states {
        let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
        text.push_str(&any_of("state", &names, &mut values));
    }
    if let Some(before) = &filter.before {
        values.push(before);
        text.push_str(&format!(" AND id < ${}", values.len()));
    }
    text.push_str(&format!(" ORDER BY id DESC LIMIT {}", filter.limit));
    let statement = values.into_iter().fold(Statement::assembled(text), Statement::bind);
    database.rows(statement).await?.iter().map(order).collect()
}

fn by_id(id: &str) -> Statement {
    Statement::assembled(format!("SELECT {COLUMNS} FROM orders WHERE id = $1")).bind(id)
}

fn order(row: &Row) -> Result<Order, DatabaseError> {
    let failure = match row.text_or_null("failure_code")? {
        Some(_) => Some(Failure { code: row.parse("failure_code")?, message: row.text("failure_message")? }),
        None => None,
    };
    Ok(Order {
        id: row.text("id")?,
        dialect: row.text("dialect")?,
        contract_id: row.text("contract_id")?,
        client_id: row.text("client_id")?,
        client_stored: row.integer("client_stored")? != 0,
        package_id: row.text("package_id")?,
        object_id: row.text("object_id")?,
        version: row.number("version")?,
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
