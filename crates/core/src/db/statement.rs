//! A statement with its values, and the rows that it gives.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr, SqlStr, Sqlite};

use crate::db::DatabaseError;
use crate::time::Timestamp;

/// A value that a statement carries; each knows its type even when it is absent.
#[derive(Clone, Debug)]
pub enum Value {
    /// BIGINT.
    Integer(Option<i64>),
    /// TEXT.
    Text(Option<String>),
    /// BLOB.
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
#[derive(Debug)]
pub struct Statement {
    text: SqlStr,
    values: Vec<Value>,
}

/// A statement that is written out in the source.
pub fn sql(text: &'static str) -> Statement {
    Statement { text: text.into_sql_str(), values: Vec::new() }
}

impl Statement {
    /// A statement that is put together from texts of the source, such as filters that may be absent. The caller
    /// answers for it that no value is in it.
    pub fn assembled(text: String) -> Statement {
        Statement { text: AssertSqlSafe(text).into_sql_str(), values: Vec::new() }
    }

    /// The value of the next parameter.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Statement {
        self.values.push(value.into());
        self
    }

    pub(super) fn into_query(self) -> Query<'static, Sqlite, SqliteArguments> {
        let mut query = sqlx::query(self.text);
        for value in self.values {
            query = match value {
                Value::Integer(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Blob(value) => query.bind(value),
            };
        }
        query
    }
}

/// A row of a result; columns are read by their names.
#[derive(Debug)]
pub struct Row {
    inner: SqliteRow,
}

impl Row {
    pub(super) fn new(inner: SqliteRow) -> Row {
        Row { inner }
    }

    /// An integer.
    pub fn integer(&self, column: &str) -> Result<i64, DatabaseError> {
        Ok(self.inner.try_get(column)?)
    }

    /// An integer, or nothing.
    pub fn integer_or_null(&self, column: &str) -> Result<Option<i64>, DatabaseError> {
        Ok(self.inner.try_get(column)?)
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
        Ok(self.inner.try_get(column)?)
    }

    /// A text, or nothing.
    pub fn text_or_null(&self, column: &str) -> Result<Option<String>, DatabaseError> {
        Ok(self.inner.try_get(column)?)
    }

    /// A text that names one of a set.
    pub fn parse<T: std::str::FromStr<Err = String>>(&self, column: &str) -> Result<T, DatabaseError> {
        self.text(column)?.parse().map_err(|message| unexpected(column, message))
    }

    /// Bytes.
    pub fn blob(&self, column: &str) -> Result<Vec<u8>, DatabaseError> {
        Ok(self.inner.try_get(column)?)
    }

    /// Bytes, or nothing.
    pub fn blob_or_null(&self, column: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        Ok(self.inner.try_get(column)?)
    }
}

fn unexpected(column: &str, message: String) -> DatabaseError {
    DatabaseError::Value { column: column.to_owned(), message }
}
