//! A statement with its values, and the rows that it gives.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Decode, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, Type};

use crate::db::DatabaseError;
use crate::time::Timestamp;

/// A value that a statement carries; each knows its type even when it is absent.
#[derive(Clone, Debug)]
pub enum Value {
    /// BIGINT.
    Integer(Option<i64>),
    /// TEXT.
    Text(Option<String>),
    /// BLOB, in PostgreSQL BYTEA.
    Blob(Option<Vec<u8>>),
}

macro_rules! value_from {
    ($($type:ty, $value:ident => $variant:ident $expression:expr;)*) => {
        $(
            impl From<$type> for Value {
                fn from($value: $type) -> Value {
                    Value::$variant(Some($expression))
                }
            }
            impl From<Option<$type>> for Value {
                fn from(value: Option<$type>) -> Value {
                    Value::$variant(value.map(|$value| $expression))
                }
            }
        )*
    };
}

value_from! {
    i64, value => Integer value;
    u32, value => Integer i64::from(value);
    u64, value => Integer i64::try_from(value).unwrap_or(i64::MAX);
    bool, value => Integer i64::from(value);
    Timestamp, value => Integer value.0;
    &str, value => Text value.to_owned();
    &String, value => Text value.clone();
    String, value => Text value;
    Vec<u8>, value => Blob value;
}

/// A statement and the values of its parameters.
#[derive(Clone, Debug)]
pub struct Statement {
    text: SqlStr,
    values: Vec<Value>,
    lock: Option<&'static str>,
}

/// Where a lock is put into a statement that does not end with the rows that it locks. SQLite takes it for a comment.
const LOCK_MARK: &str = "/* lock */";

/// Behind the name of a table, with the name of an index and ` */`: SQLite reads the table by that index. It does not know how
/// many rows have the same value, and takes the shorter of two indexes where the longer one leaves out most. PostgreSQL, which
/// does know, takes it for a comment.
const INDEX_MARK: &str = "/* INDEXED BY ";

/// The text with its marks of indexes as SQLite understands them.
fn indexed(text: SqlStr) -> SqlStr {
    let Some((before, marked)) = text.as_str().split_once(INDEX_MARK) else { return text };
    let mut told = before.to_owned();
    for part in marked.split(INDEX_MARK) {
        let (index, rest) = part.split_once(" */").unwrap_or((part, ""));
        told.push_str(&format!("INDEXED BY {index}{rest}"));
    }
    AssertSqlSafe(told).into_sql_str()
}

/// A statement that is written out in the source.
pub fn sql(text: &'static str) -> Statement {
    Statement { text: text.into_sql_str(), values: Vec::new(), lock: None }
}

impl Statement {
    /// A statement that is put together from texts of the source, such as filters that may be absent. The caller
    /// answers for it that no value is in it.
    pub fn assembled(text: String) -> Statement {
        Statement { text: AssertSqlSafe(text).into_sql_str(), values: Vec::new(), lock: None }
    }

    /// The text, with the numbers of the parameters in it.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// The value of the next parameter.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Statement {
        self.values.push(value.into());
        self
    }

    /// Keeps the rows that are read from being changed by others until the transaction ends, so that what is decided
    /// on them still holds then. Waits for those who change them now.
    ///
    /// The lock is put where the statement says `/* lock */`, otherwise at its end. SQLite needs none: it has one
    /// writer at a time.
    #[must_use]
    pub fn locking(self) -> Statement {
        self.with_lock("FOR UPDATE")
    }

    /// As [`Statement::locking`], but passes over rows that somebody else has locked. Many can take from one queue so,
    /// without waiting for each other.
    #[must_use]
    pub fn skipping_locked(self) -> Statement {
        self.with_lock("FOR UPDATE SKIP LOCKED")
    }

    /// Keeps the rows that are read from being removed until the transaction ends; others may change what is in them.
    #[must_use]
    pub fn keeping(self) -> Statement {
        self.with_lock("FOR KEY SHARE")
    }

    fn with_lock(mut self, lock: &'static str) -> Statement {
        self.lock = Some(lock);
        self
    }

    pub(super) fn into_sqlite(self) -> Query<'static, Sqlite, SqliteArguments> {
        self.values.into_iter().fold(sqlx::query(indexed(self.text)), |query, value| match value {
            Value::Integer(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Blob(value) => query.bind(value),
        })
    }

    pub(super) fn into_postgres(self) -> Query<'static, Postgres, PgArguments> {
        let text = match self.lock {
            None => self.text,
            Some(lock) if self.text.as_str().contains(LOCK_MARK) => {
                AssertSqlSafe(self.text.as_str().replace(LOCK_MARK, lock)).into_sql_str()
            }
            Some(lock) => AssertSqlSafe(format!("{} {lock}", self.text.as_str())).into_sql_str(),
        };
        self.values.into_iter().fold(sqlx::query(text), |query, value| match value {
            Value::Integer(value) => query.bind(value),
            // PostgreSQL's texts hold every character but this one. Whoever asks for a name with it finds nothing.
            Value::Text(Some(value)) if value.contains('\0') => query.bind(value.replace('\0', "\u{fffd}")),
            Value::Text(value) => query.bind(value),
            Value::Blob(value) => query.bind(value),
        })
    }
}

/// A row of a result; columns are read by their names.
#[derive(Debug)]
pub struct Row(Inner);

#[derive(Debug)]
enum Inner {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Row {
        Row(Inner::Sqlite(row))
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Row {
        Row(Inner::Postgres(row))
    }
}

impl Row {
    fn get<T>(&self, column: &str) -> Result<T, DatabaseError>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(match &self.0 {
            Inner::Sqlite(row) => row.try_get(column)?,
            Inner::Postgres(row) => row.try_get(column)?,
        })
    }

    /// An integer. PostgreSQL's sums of them are something else: `CAST(SUM(n) AS BIGINT)`.
    pub fn integer(&self, column: &str) -> Result<i64, DatabaseError> {
        self.get(column)
    }

    /// An integer, or nothing.
    pub fn integer_or_null(&self, column: &str) -> Result<Option<i64>, DatabaseError> {
        self.get(column)
    }

    /// An integer that counts something and so is not negative.
    pub fn count(&self, column: &str) -> Result<u64, DatabaseError> {
        let value = self.integer(column)?;
        u64::try_from(value).map_err(|_| unexpected(column, format!("{value} is negative")))
    }

    /// A version number and the like.
    pub fn number(&self, column: &str) -> Result<u32, DatabaseError> {
        let value = self.integer(column)?;
        u32::try_from(value).map_err(|_| unexpected(column, format!("{value} is out of range")))
    }

    /// A time.
    pub fn time(&self, column: &str) -> Result<Timestamp, DatabaseError> {
        self.integer(column).map(Timestamp)
    }

    /// A time, or nothing.
    pub fn time_or_null(&self, column: &str) -> Result<Option<Timestamp>, DatabaseError> {
        Ok(self.integer_or_null(column)?.map(Timestamp))
    }

    /// A text.
    pub fn text(&self, column: &str) -> Result<String, DatabaseError> {
        self.get(column)
    }

    /// A text, or nothing.
    pub fn text_or_null(&self, column: &str) -> Result<Option<String>, DatabaseError> {
        self.get(column)
    }

    /// A text that names one of a set.
    pub fn parse<T: std::str::FromStr<Err = String>>(&self, column: &str) -> Result<T, DatabaseError> {
        self.text(column)?.parse().map_err(|message| unexpected(column, message))
    }

    /// Bytes.
    pub fn blob(&self, column: &str) -> Result<Vec<u8>, DatabaseError> {
        self.get(column)
    }

    /// Bytes, or nothing.
    pub fn blob_or_null(&self, column: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.get(column)
    }
}

fn unexpected(column: &str, message: String) -> DatabaseError {
    DatabaseError::Value { column: column.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use sqlx::Execute as _;

    use super::*;

    #[test]
    fn a_lock_stands_where_the_statement_says_and_only_in_postgresql() {
        let text = "UPDATE t SET a = 1 WHERE id = (SELECT id FROM t LIMIT 1 /* lock */) RETURNING id";
        let locked = "UPDATE t SET a = 1 WHERE id = (SELECT id FROM t LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id";
        assert_eq!(sql(text).skipping_locked().into_postgres().sql().as_str(), locked);
        assert_eq!(sql(text).skipping_locked().into_sqlite().sql().as_str(), text);
        let table = [
            (sql("SELECT 1"), "SELECT 1"),
            (sql("SELECT 1").locking(), "SELECT 1 FOR UPDATE"),
            (sql("SELECT 1").keeping(), "SELECT 1 FOR KEY SHARE"),
        ];
        for (statement, expected) in table {
            assert_eq!(statement.clone().into_postgres().sql().as_str(), expected);
            assert_eq!(statement.into_sqlite().sql().as_str(), "SELECT 1");
        }
    }
}
