//! Finding packages by a part of a name, by state and by date, in pages, as quickly among a million as among ten.
//!
//! A text that few names begin with gives its packages from the index of names; they are filtered and sorted then. Where
//! many begin with it, the list of all packages is walked in the wanted order instead, a bounded stretch for each page, and
//! each package of it is looked at: a page may be short then although there is more. No statement reads more than it
//! returns, whatever is asked for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use crate::db::packages::{self, IDS_AT_A_TIME, Package, PackageState};
use crate::db::{Database, DatabaseError, Row, Statement, Value, package_names};
use crate::named::named;
use crate::time::Timestamp;

/// So many names are taken for few.
const FEW: usize = 2000;
/// So many packages are looked at in one go, and so many for one page.
const STRETCH: u32 = 500;
const LOOKED_AT: usize = 20_000;
/// So many contracts are asked for in one statement.
const CONTRACTS_AT_A_TIME: usize = 50;
/// Stands behind every name that begins with what is before it.
const LAST: char = '\u{10ffff}';

/// In which order packages are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PackageOrder {
    /// Those that were made last first.
    #[default]
    Newest,
    /// By the depositor's names.
    Name,
}

named!(PackageOrder, "order of packages": Newest => "newest", Name => "name");

/// Which packages are looked for: those to which all of it applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageSearch {
    /// What the identifier, the URN, the depositor's name or the file name of a container begins with, whatever the case of
    /// the letters A to Z. Nothing: all packages.
    pub text: String,
    /// Whether the text has to be the whole name.
    pub exact: bool,
    /// Of this contract alone.
    pub contract_id: Option<String>,
    /// In this state alone.
    pub state: Option<PackageState>,
    /// Whose first version was made at this time or later.
    pub from: Option<Timestamp>,
    /// Whose first version was made before this time.
    pub until: Option<Timestamp>,
    /// In which order.
    pub order: PackageOrder,
    /// Behind this place.
    pub after: Option<PackageCursor>,
    /// How many at the most.
    pub limit: u32,
}

/// A page of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackagePage {
    /// The packages.
    pub packages: Vec<Package>,
    /// Where the next page begins; nothing when there is no more.
    pub next: Option<PackageCursor>,
}

/// A place in a list of packages: behind the package that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageCursor {
    /// In a list by age.
    Newest {
        /// When the package was made.
        created: Timestamp,
        /// Its identifier.
        id: String,
    },
    /// In a list by name.
    Name {
        /// The depositor's name for it.
        object_id: String,
        /// Its identifier.
        id: String,
    },
}

/// Such as `n1767225600000000.ab12` and `aab12.photos 2024`.
impl fmt::Display for PackageCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackageCursor::Newest { created, id } => write!(formatter, "n{}.{id}", created.0),
            PackageCursor::Name { object_id, id } => write!(formatter, "a{id}.{object_id}"),
        }
    }
}

impl FromStr for PackageCursor {
    type Err = String;

    fn from_str(text: &str) -> Result<PackageCursor, String> {
        let parse = || {
            let (one, other) = text.get(1..)?.split_once('.')?;
            match text.get(..1)? {
                "n" => Some(PackageCursor::Newest { created: Timestamp(one.parse().ok()?), id: other.to_owned() }),
                "a" => Some(PackageCursor::Name { object_id: other.to_owned(), id: one.to_owned() }),
                _ => None,
            }
        };
        parse()
            .ok_or_else(|| format!("{text:?} is no place in a list of packages: give what an earlier page ended with"))
    }
}

/// What is read of a package until it is known to be on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    id: String,
    object_id: String,
    created: Timestamp,
}

impl Place {
    fn of(row: &Row) -> Result<Place, DatabaseError> {
        Ok(Place { id: row.text("id")?, object_id: row.text("object_id")?, created: row.time("created")? })
    }

    fn cursor(&self, order: PackageOrder) -> PackageCursor {
        let id = self.id.clone();
        match order {
            PackageOrder::Newest => PackageCursor::Newest { created: self.created, id },
            PackageOrder::Name => PackageCursor::Name { object_id: self.object_id.clone(), id },
        }
    }

    fn is_behind(&self, cursor: &PackageCursor) -> bool {
        match cursor {
            PackageCursor::Newest { created, id } => (self.created, &self.id) < (*created, id),
            PackageCursor::Name { object_id, id } => (&self.object_id, &self.id) > (object_id, id),
        }
    }
}

fn sort(places: &mut [Place], order: PackageOrder) {
    places.sort_by(|one, other| match order {
        PackageOrder::Newest => (other.created, &other.id).cmp(&(one.created, &one.id)),
        PackageOrder::Name => (&one.object_id, &one.id).cmp(&(&other.object_id, &other.id)),
    });
}

/// The packages of some contracts that are looked for. A cursor of another order is none.
pub async fn find(
    database: &Database,
    contract_ids: &[&str],
    search: &PackageSearch,
) -> Result<PackagePage, DatabaseError> {
    let mut contract_ids = contract_ids.to_vec();
    if let Some(wanted) = &search.contract_id {
        contract_ids.retain(|id| id == wanted);
    }
    let mut after = search.after.clone().filter(|after| match after {
        PackageCursor::Newest { .. } => search.order == PackageOrder::Newest,
        PackageCursor::Name { .. } => search.order == PackageOrder::Name,
    });
    let limit = search.limit.max(1) as usize;
    let (places, next) = match few(database, &contract_ids, search).await? {
        Some(ids) => {
            let mut places = chosen(database, &contract_ids, search, &ids).await?;
            places.retain(|place| after.as_ref().is_none_or(|after| place.is_behind(after)));
            sort(&mut places, search.order);
            let more = places.len() > limit;
            places.truncate(limit);
            let next = places.last().filter(|_| more).map(|last| last.cursor(search.order));
            (places, next)
        }
        None => walk(database, &contract_ids, search, &mut after, limit).await?,
    };
    Ok(PackagePage { packages: load(database, &places).await?, next })
}

/// The packages among which those that are looked for are to be found, if they are few.
async fn few(
    database: &Database,
    contract_ids: &[&str],
    search: &PackageSearch,
) -> Result<Option<BTreeSet<String>>, DatabaseError> {
    let by_range = search.order == PackageOrder::Name && (search.from.is_some() || search.until.is_some());
    let mut found = None;
    if !search.text.is_empty() {
        found = up_to_few(database, contract_ids, |some| naming(some, search)).await?;
    }
    if found.is_none() && by_range {
        found = up_to_few(database, contract_ids, |some| dated(some, search)).await?;
    }
    Ok(found)
}

/// The packages that a statement gives for some contracts at a time, unless they are more than few.
async fn up_to_few(
    database: &Database,
    contract_ids: &[&str],
    statement: impl Fn(&[&str]) -> Statement,
) -> Result<Option<BTreeSet<String>>, DatabaseError> {
    let (mut found, mut rows) = (BTreeSet::new(), 0);
    for some in contract_ids.chunks(CONTRACTS_AT_A_TIME) {
        let page = database.rows(statement(some)).await?;
        rows += page.len();
        if rows > FEW {
            return Ok(None);
        }
        for row in &page {
            found.insert(row.text("id")?);
        }
    }
    Ok(Some(found))
}

/// Goes through the list of all packages from a place on, and gives those that are looked for; and where to go on.
async fn walk(
    database: &Database,
    contract_ids: &[&str],
    search: &PackageSearch,
    after: &mut Option<PackageCursor>,
    limit: usize,
) -> Result<(Vec<Place>, Option<PackageCursor>), DatabaseError> {
    let is_sieved = !search.text.is_empty()
        || (search.order == PackageOrder::Name && (search.from.is_some() || search.until.is_some()));
    let stretch = if is_sieved { STRETCH } else { u32::try_from(limit).unwrap_or(STRETCH).saturating_add(1) };
    let mut found: Vec<Place> = Vec::new();
    let mut looked_at = 0;
    loop {
        let places = stretch_of(database, contract_ids, search, after.as_ref(), stretch).await?;
        let is_last = places.len() < stretch as usize;
        looked_at += places.len();
        *after = places.last().map(|last| last.cursor(search.order)).or(after.take());
        found.extend(if is_sieved { sieved(database, search, places).await? } else { places });
        if found.len() > limit {
            found.truncate(limit);
            let next = found.last().map(|last| last.cursor(search.order));
            return Ok((found, next));
        }
        if is_last {
            return Ok((found, None));
        }
        if looked_at >= LOOKED_AT {
            return Ok((found, after.take()));
        }
    }
}

/// The next packages of the list of all contracts together.
async fn stretch_of(
    database: &Database,
    contract_ids: &[&str],
    search: &PackageSearch,
    after: Option<&PackageCursor>,
    limit: u32,
) -> Result<Vec<Place>, DatabaseError> {
    let mut places = Vec::new();
    for some in contract_ids.chunks(CONTRACTS_AT_A_TIME) {
        let rows = database.rows(walking(some, search, after, limit)).await?;
        for row in &rows {
            places.push(Place::of(row)?);
        }
    }
    sort(&mut places, search.order);
    places.truncate(limit as usize);
    Ok(places)
}

/// Those of some packages that have the name, and were made in the time, that is looked for.
async fn sieved(
    database: &Database,
    search: &PackageSearch,
    mut places: Vec<Place>,
) -> Result<Vec<Place>, DatabaseError> {
    places.retain(|place| {
        search.from.is_none_or(|from| place.created >= from) && search.until.is_none_or(|until| place.created < until)
    });
    if search.text.is_empty() {
        return Ok(places);
    }
    let mut named = HashSet::with_capacity(places.len());
    for some in places.chunks(IDS_AT_A_TIME) {
        let ids: Vec<&str> = some.iter().map(|place| place.id.as_str()).collect();
        for row in database.rows(bearing(&ids, search)).await? {
            named.insert(row.text("id")?);
        }
    }
    places.retain(|place| named.contains(&place.id));
    Ok(places)
}

/// Those of some packages to which the filters apply.
async fn chosen(
    database: &Database,
    contract_ids: &[&str],
    search: &PackageSearch,
    ids: &BTreeSet<String>,
) -> Result<Vec<Place>, DatabaseError> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let contract_ids: HashSet<&str> = contract_ids.iter().copied().collect();
    let mut places = Vec::new();
    for some in ids.chunks(IDS_AT_A_TIME) {
        for row in database.rows(among(some, search)).await? {
            if contract_ids.contains(row.text("contract_id")?.as_str()) {
                places.push(Place::of(&row)?);
            }
        }
    }
    // They may have come from the time in which they were made: then their names are still to be looked at.
    sieved(database, search, places).await
}

async fn load(database: &Database, places: &[Place]) -> Result<Vec<Package>, DatabaseError> {
    let ids: Vec<&str> = places.iter().map(|place| place.id.as_str()).collect();
    let found = packages::get_all(database, &ids).await?;
    let mut found: HashMap<String, Package> = found.into_iter().map(|package| (package.id.clone(), package)).collect();
    Ok(places.iter().filter_map(|place| found.remove(&place.id)).collect())
}

/// A statement with its values.
#[derive(Default)]
struct Writing {
    text: String,
    values: Vec<Value>,
}

impl Writing {
    fn add(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// `text` with the number of the value's parameter in the place of `$n`.
    fn bind(&mut self, text: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        let parameter = format!("${}", self.values.len());
        self.text.push_str(&text.replace("$n", &parameter));
    }

    /// The same statement for each of some contracts, all their rows together.
    fn for_each(contract_ids: &[&str], mut write: impl FnMut(&mut Writing, &str)) -> Statement {
        let mut writing = Writing::default();
        if contract_ids.is_empty() {
            writing.add("SELECT id, object_id, created FROM packages WHERE 1 = 0");
        }
        for (number, contract_id) in contract_ids.iter().enumerate() {
            writing.add(if number == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" });
            write(&mut writing, contract_id);
            writing.add(&format!(") AS c{number}"));
        }
        writing.statement()
    }

    fn name_range(&mut self, search: &PackageSearch) {
        let key = package_names::key(&search.text);
        if search.exact {
            self.bind(" AND name = $n", key);
        } else {
            self.bind(" AND name >= $n", key.as_str());
            self.bind(" AND name < $n", format!("{key}{LAST}"));
        }
    }

    fn dates(&mut self, from: Option<Timestamp>, until: Option<Timestamp>) {
        if let Some(from) = from {
            self.bind(" AND created >= $n", from);
        }
        if let Some(until) = until {
            self.bind(" AND created < $n", until);
        }
    }

    fn statement(self) -> Statement {
        self.values.into_iter().fold(Statement::assembled(self.text), Statement::bind)
    }
}

/// The packages of some contracts that have a name, until they are too many. A test looks at its plan.
pub fn naming(contract_ids: &[&str], search: &PackageSearch) -> Statement {
    Writing::for_each(contract_ids, |writing, contract_id| {
        writing.bind("SELECT package_id AS id FROM package_names WHERE contract_id = $n", contract_id);
        writing.name_range(search);
        writing.add(&format!(" LIMIT {}", FEW + 1));
    })
}

/// The packages of some contracts that were made in a time, until they are too many. A test looks at its plan.
pub fn dated(contract_ids: &[&str], search: &PackageSearch) -> Statement {
    Writing::for_each(contract_ids, |writing, contract_id| {
        writing.bind("SELECT id FROM packages WHERE contract_id = $n", contract_id);
        writing.dates(search.from, search.until);
        writing.add(&format!(" LIMIT {}", FEW + 1));
    })
}

/// The next packages of some contracts behind a place, as many of each as are wanted of all. A test looks at its plan.
pub fn walking(contract_ids: &[&str], search: &PackageSearch, after: Option<&PackageCursor>, limit: u32) -> Statement {
    Writing::for_each(contract_ids, |writing, contract_id| {
        writing.bind("SELECT id, object_id, created FROM packages WHERE contract_id = $n", contract_id);
        if let Some(state) = search.state {
            writing.bind(" AND state = $n", state.name());
        }
        match search.order {
            PackageOrder::Newest => {
                // The time of the place is told twice: the planner takes one bound of an index for itself.
                let behind = match after {
                    Some(PackageCursor::Newest { created, .. }) => Some(Timestamp(created.0.saturating_add(1))),
                    _ => None,
                };
                let until = search.until.into_iter().chain(behind).min();
                writing.dates(search.from, until);
                if let Some(PackageCursor::Newest { created, id }) = after {
                    writing.bind(" AND (created, id) < ($n", *created);
                    writing.bind(", $n)", id);
                }
                writing.add(" ORDER BY created DESC, id DESC");
            }
            // Within a contract no two packages have the same name.
            PackageOrder::Name => {
                if let Some(PackageCursor::Name { object_id, id }) = after {
                    writing.bind(" AND object_id >= $n", object_id);
                    writing.bind(" AND (object_id, id) > ($n", object_id);
                    writing.bind(", $n)", id);
                }
                writing.add(" ORDER BY object_id");
            }
        }
        writing.add(&format!(" LIMIT {limit}"));
    })
}

/// Those of some packages that have a name. A test looks at its plan.
pub fn bearing(ids: &[&str], search: &PackageSearch) -> Statement {
    let mut writing = Writing::default();
    writing.add("SELECT DISTINCT package_id AS id FROM package_names WHERE package_id IN (");
    for (number, id) in ids.iter().enumerate() {
        writing.bind(if number == 0 { "$n" } else { ", $n" }, *id);
    }
    writing.add(")");
    writing.name_range(search);
    writing.statement()
}

/// Those of some packages to which the filters apply. A test looks at its plan.
pub fn among(ids: &[&str], search: &PackageSearch) -> Statement {
    let mut writing = Writing::default();
    writing.add("SELECT id, object_id, created, contract_id FROM packages WHERE id IN (");
    for (number, id) in ids.iter().enumerate() {
        writing.bind(if number == 0 { "$n" } else { ", $n" }, *id);
    }
    writing.add(")");
    // The packages are known: no index of states or times is to be taken for them.
    if let Some(state) = search.state {
        writing.bind(" AND COALESCE(state, '') = $n", state.name());
    }
    if let Some(from) = search.from {
        writing.bind(" AND created + 0 >= $n", from);
    }
    if let Some(until) = search.until {
        writing.bind(" AND created + 0 < $n", until);
    }
    writing.statement()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_and_read_again() {
        let places = [
            PackageCursor::Newest { created: Timestamp(-5), id: "ab".to_owned() },
            PackageCursor::Name { object_id: "a.b.c \u{e9}".to_owned(), id: "ab".to_owned() },
        ];
        for place in places {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for wrong in ["", "n", "n.", "nx.ab", "x1.ab", "\u{e9}1.a"] {
            assert!(wrong.parse::<PackageCursor>().is_err(), "{wrong}");
        }
    }
}
