//! How a package comes by its identifier and its URN. They are reserved before the version that records them is committed,
//! so an ingest that is begun again after a crash goes on with the same ones; the storage root is what keeps them.

use crate::db::identifiers::{self, Names};
use crate::db::{self, Database, DatabaseError, package_names, packages};
use crate::identifier;
use crate::installation::Installation;
use crate::register;
use crate::urn;

/// How many packages get identifiers in one transaction.
const NAMED_AT_A_TIME: u32 = 500;

/// Why a package cannot have the URN that its depositor gave it.
#[derive(Debug, thiserror::Error)]
pub enum NamingError {
    /// It is none.
    #[error("{urn:?} cannot be used as a URN: {problem}")]
    Urn {
        /// The text.
        urn: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Another package has it.
    #[error("the URN {0} belongs to another package already: a URN names one package")]
    Taken(String),
    /// The package has another one.
    #[error("the package has the URN {known}, which never changes, and this version names {urn}")]
    Other {
        /// The one that was given.
        urn: String,
        /// The one that the package has.
        known: String,
    },
    /// The catalogue failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Whether a package could have that URN. What is found now may be another thing later; nothing is reserved.
pub(crate) async fn check(installation: &Installation, ocfl_id: &str, wanted: Option<&str>) -> Result<(), NamingError> {
    let Some(wanted) = wanted else { return Ok(()) };
    let database = &installation.database;
    if let Some(problem) = urn::problem(wanted) {
        return Err(NamingError::Urn { urn: wanted.to_owned(), problem });
    }
    if let Some(Names { urn: Some(known), .. }) = identifiers::get(database, ocfl_id).await? {
        return same(&known, Some(wanted));
    }
    match identifiers::urn_holder(database, wanted).await? {
        Some(holder) if holder.is_alive && holder.ocfl_id != ocfl_id => Err(NamingError::Taken(wanted.to_owned())),
        _ => Ok(()),
    }
}

/// Reserves the names of a package that is about to be, or to get a version: those that it has, otherwise new ones, with
/// the URN of its depositor, or one of ours where a prefix for them is set.
pub(crate) async fn reserve(
    installation: &Installation,
    ocfl_id: &str,
    wanted: Option<&str>,
) -> Result<Names, NamingError> {
    check(installation, ocfl_id, wanted).await?;
    let Installation { database, settings, clock, .. } = installation;
    let make = |identifier: &str| settings.urn_prefix.as_deref().and_then(|prefix| urn::made(prefix, identifier));
    loop {
        let known = identifiers::get(database, ocfl_id).await?;
        let identifier = match known {
            Some(Names { identifier, urn: Some(known) }) => {
                same(&known, wanted)?;
                return Ok(Names { identifier, urn: Some(known) });
            }
            Some(Names { identifier, urn: None }) => {
                let Some(urn) = wanted.map(str::to_owned).or_else(|| make(&identifier)) else {
                    return Ok(Names { identifier, urn: None });
                };
                if !identifiers::urn_give(database, ocfl_id, &urn).await? {
                    make_room(installation, ocfl_id, &urn).await?;
                }
                continue;
            }
            None => {
                let series = identifier::series(&settings.node, clock.now());
                identifier::make(&series, identifiers::serial_next(database, &series).await?)
            }
        };
        let urn = wanted.map(str::to_owned).or_else(|| make(&identifier));
        let names = Names { identifier, urn };
        if identifiers::reserve(database, ocfl_id, &names).await? {
            return Ok(names);
        }
        // A serial number may have come back from a root that was indexed: then the next one is tried.
        if let Some(urn) = &names.urn {
            make_room(installation, ocfl_id, urn).await?;
        }
    }
}

/// Gives identifiers to the packages of a catalogue that knew none. Done once; whoever comes in between does the same.
pub(crate) async fn name_older(database: &Database, node: &str) -> Result<(), DatabaseError> {
    if db::installation::identifiers_given(database).await? {
        return Ok(());
    }
    loop {
        let unnamed = packages::unnamed(database, NAMED_AT_A_TIME).await?;
        if unnamed.is_empty() {
            return db::installation::identifiers_given_note(database).await;
        }
        let mut transaction = database.begin().await?;
        for (ocfl_id, created) in unnamed {
            let identifier = register::derived_identifier(&ocfl_id, node, created);
            identifiers::settle(&mut transaction, &ocfl_id, &Names { identifier, urn: None }, false).await?;
            package_names::put_of_object(&mut transaction, &ocfl_id).await?;
        }
        transaction.commit().await?;
    }
}

/// Takes a URN from a reservation that came to nothing; an error when somebody has it.
async fn make_room(installation: &Installation, ocfl_id: &str, urn: &str) -> Result<(), NamingError> {
    match identifiers::urn_holder(&installation.database, urn).await? {
        Some(holder) if holder.ocfl_id == ocfl_id => Ok(()),
        Some(holder) if holder.is_alive => Err(NamingError::Taken(urn.to_owned())),
        Some(holder) => Ok(identifiers::forget(&installation.database, &holder.ocfl_id).await?),
        None => Ok(()),
    }
}

/// The URN of a package never changes; whoever names it must name that one.
fn same(known: &str, wanted: Option<&str>) -> Result<(), NamingError> {
    match wanted {
        Some(wanted) if urn::key(wanted) != urn::key(known) => {
            Err(NamingError::Other { urn: wanted.to_owned(), known: known.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The one URN that a bag names as its `External-Identifier`, and a warning if there are several, of which none is taken
/// then.
pub(crate) fn urn_of_bag(info: &[(String, String)]) -> (Option<String>, Option<String>) {
    let is_urn = |(label, value): &&(String, String)| {
        label.eq_ignore_ascii_case("External-Identifier") && urn::is_claimed(value)
    };
    let named = info.iter().filter(is_urn);
    let mut urns: Vec<&str> = named.map(|(_, value)| value.as_str()).collect();
    urns.dedup_by_key(|urn| urn::key(urn));
    match urns.as_slice() {
        [] => (None, None),
        [urn] => (Some((*urn).to_owned()), None),
        several => {
            let several = several.join(", ");
            (None, Some(format!("bag-info.txt names several URNs ({several}), so none of them was taken: use --urn")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bag_names_one_urn_or_none() {
        let info = |values: &[&str]| -> Vec<(String, String)> {
            values.iter().map(|value| ("external-identifier".to_owned(), (*value).to_owned())).collect()
        };
        let one = "urn:nbn:de:hbz:6:1-31323";
        assert_eq!(urn_of_bag(&info(&["local 17"])), (None, None));
        assert_eq!(urn_of_bag(&info(&["local 17", one])), (Some(one.to_owned()), None));
        assert_eq!(urn_of_bag(&info(&[one, "URN:NBN:de:hbz:6:1-31323"])), (Some(one.to_owned()), None));
        assert!(matches!(urn_of_bag(&info(&[one, "urn:nbn:fi-fe1"])), (None, Some(_))));
        // What is no URN although it says so is for the check to refuse.
        assert_eq!(urn_of_bag(&info(&["urn:nbn:"])), (Some("urn:nbn:".to_owned()), None));
    }
}
