//! Lists: files in which a contract asks about many packages at once. Who reads them is handed in, because what they look
//! like is a matter of the contract's language.

use futures_util::future::BoxFuture;

/// A list that was handed in.
#[derive(Debug)]
pub struct List<'a> {
    /// The contract in whose area it was left.
    pub contract_id: &'a str,
    /// Its file name.
    pub name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// Why a list has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be used. The text is for whoever sent it.
    #[error("{0}")]
    Refused(String),
    /// Something failed that may pass.
    #[error("{0}")]
    Passing(String),
}

/// Reads lists, does what they ask for, and writes the answer.
pub trait ListReader: std::fmt::Debug + Send + Sync {
    /// Whether a file of this name is a list.
    fn takes(&self, name: &str) -> bool;

    /// The longest list that is read, in bytes.
    fn longest_bytes(&self) -> u64;

    /// What the list becomes: the file that appears under its name in the outgoing directory. A list that is answered again
    /// after a crash does nothing twice.
    fn answer<'a>(&'a self, list: List<'a>) -> BoxFuture<'a, Result<Vec<u8>, ListError>>;
}
