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
const LOOKED_AT: u32 = 20_000;
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
        found = up_to_few(database, contract_ids, |some, part| naming(some, search, part)).await?;
    }
    if found.is_none() && by_range {
        found = up_to_few(database, contract_ids, |some, part| dated(some, search, part)).await?;
    }
    Ok(found)
}

/// The packages that a statement gives for some contracts at a time, unless they are more than few.
async fn up_to_few(
    database: &Database,
    contract_ids: &[&str],
    statement: impl Fn(&[&str], &str) -> Statement,
) -> Result<Option<BTreeSet<String>>, DatabaseError> {
    let (mut found, mut rows) = (BTreeSet::new(), 0);
    // Whether there are too many of one contract is asked first, so that they need not be read to be counted.
    for some in contract_ids.chunks(CONTRACTS_AT_A_TIME) {
        if !database.rows(statement(some, &format!("LIMIT 1 OFFSET {FEW}"))).await?.is_empty() {
            return Ok(None);
        }
    }
    for some in contract_ids.chunks(CONTRACTS_AT_A_TIME) {
        let page = database.rows(statement(some, &format!("LIMIT {}", FEW + 1))).await?;
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
    let page = u32::try_from(limit).unwrap_or(STRETCH).saturating_add(1);
    if !is_sieved(search) {
        let mut found = stretch_of(database, contract_ids, |some| walking(some, search, after.as_ref(), page)).await?;
        sort(&mut found, search.order);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| last.cursor(search.order));
        return Ok((found, next));
    }
    let mut found: Vec<Place> = Vec::new();
    let mut looked_at = 0;
    loop {
        // The nearest of the places at which the stretches of the contracts end: before it, nothing is left out.
        let mut ends = stretch_of(database, contract_ids, |some| ending(some, search, after.as_ref())).await?;
        sort(&mut ends, search.order);
        let end = ends.first().map(|end| end.cursor(search.order));
        let between = |some: &[&str]| sieving(some, search, after.as_ref(), end.as_ref(), page);
        let mut places = stretch_of(database, contract_ids, between).await?;
        sort(&mut places, search.order);
        found.extend(places);
        if found.len() > limit {
            found.truncate(limit);
            let next = found.last().map(|last| last.cursor(search.order));
            return Ok((found, next));
        }
        let Some(end) = end else { return Ok((found, None)) };
        looked_at += STRETCH;
        *after = Some(end);
        if looked_at >= LOOKED_AT {
            return Ok((found, after.take()));
        }
    }
}

/// Whether some of what is walked over is not looked for.
fn is_sieved(search: &PackageSearch) -> bool {
    !search.text.is_empty() || (search.order == PackageOrder::Name && (search.from.is_some() || search.until.is_some()))
}

/// The places that a statement gives for some contracts at a time.
async fn stretch_of(
    database: &Database,
    contract_ids: &[&str],
    statement: impl Fn(&[&str]) -> Statement,
) -> Result<Vec<Place>, DatabaseError> {
    let mut places = Vec::new();
    for some in contract_ids.chunks(CONTRACTS_AT_A_TIME) {
        for row in &database.rows(statement(some)).await? {
            places.push(Place::of(row)?);
        }
    }
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
        self.dates_of("created", from, until);
    }

    fn dates_of(&mut self, created: &str, from: Option<Timestamp>, until: Option<Timestamp>) {
        if let Some(from) = from {
            self.bind(&format!(" AND {created} >= $n"), from);
        }
        if let Some(until) = until {
            self.bind(&format!(" AND {created} < $n"), until);
        }
    }

    /// The packages of a contract behind a place, and up to another.
    fn stretch(
        &mut self,
        contract_id: &str,
        search: &PackageSearch,
        after: Option<&PackageCursor>,
        end: Option<&PackageCursor>,
    ) {
        self.add("SELECT id, object_id, created FROM packages");
        self.add(match (search.state, search.order) {
            (None, _) => "",
            (Some(_), PackageOrder::Newest) => " /* INDEXED BY packages_by_state_and_age */",
            (Some(_), PackageOrder::Name) => " /* INDEXED BY packages_by_state_and_name */",
        });
        self.bind(" WHERE contract_id = $n", contract_id);
        if let Some(state) = search.state {
            self.bind(" AND state = $n", state.name());
        }
        // The first column of a place is told twice: the planner takes one bound of an index for itself.
        match search.order {
            PackageOrder::Newest => {
                let behind = match after {
                    Some(PackageCursor::Newest { created, .. }) => Some(Timestamp(created.0.saturating_add(1))),
                    _ => None,
                };
                let from = match end {
                    Some(PackageCursor::Newest { created, .. }) => Some(*created),
                    _ => None,
                };
                self.dates(search.from.into_iter().chain(from).max(), search.until.into_iter().chain(behind).min());
            }
            // Within a contract no two packages have the same name.
            PackageOrder::Name => {
                if let Some(PackageCursor::Name { object_id, .. }) = after {
                    self.bind(" AND object_id >= $n", object_id);
                }
                if let Some(PackageCursor::Name { object_id, .. }) = end {
                    self.bind(" AND object_id <= $n", object_id);
                }
            }
        }
        let (behind, up_to) = if search.order == PackageOrder::Newest { ("<", ">=") } else { (">", "<=") };
        for (place, sign) in [(after, behind), (end, up_to)] {
            match place {
                Some(PackageCursor::Newest { created, id }) => {
                    self.bind(&format!(" AND (created, id) {sign} ($n"), *created);
                    self.bind(", $n)", id);
                }
                Some(PackageCursor::Name { object_id, id }) => {
                    self.bind(&format!(" AND (object_id, id) {sign} ($n"), object_id);
                    self.bind(", $n)", id);
                }
                None => {}
            }
        }
    }

    fn order(&mut self, order: PackageOrder) {
        self.add(match order {
            PackageOrder::Newest => " ORDER BY created DESC, id DESC",
            PackageOrder::Name => " ORDER BY object_id",
        });
    }

    fn statement(self) -> Statement {
        self.values.into_iter().fold(Statement::assembled(self.text), Statement::bind)
    }
}

/// The packages of some contracts that have a name, such a part of those of each. A test looks at its plan.
pub fn naming(contract_ids: &[&str], search: &PackageSearch, part: &str) -> Statement {
    Writing::for_each(contract_ids, |writing, contract_id| {
        writing.bind("SELECT package_id AS id FROM package_names WHERE contract_id = $n", contract_id);
        writing.name_range(search);
        writing.add(&format!(" {part}"));
    })
}

/// The packages of some contracts that were made in a time, such a part of those of each. A test looks at its plan.
pub fn dated(contract_ids: &[&str], search: &PackageSearch, part: &str) -> Statement {
    Writing::for_each(contract_ids, |writing, contract_id| {
        writing.bind("SELECT id FROM packages WHERE contract_id = $n", contract_id);
        writing.dates(search.from, search.until);
        writing.add(&format!(" {part}"));
    })
}

/// The next packages of some contracts behind a place, as many of each as are wanted of all. A test looks at its plan.
pub fn walking(contract_ids: &[&str], search: &PackageSearch, after: Option<&PackageCursor>, limit: u32) -> Statement {
    Writing::for_each(contract_ids, |writing, contract_id| {
        writing.stretch(contract_id, search, after, None);
        writing.order(search.order);
        writing.add(&format!(" LIMIT {limit}"));
    })
}

/// The last package of a stretch of each of some contracts behind a place, where there is so much behind it. A test looks at
/// its plan.
pub fn ending(contract_ids: &[&str], search: &PackageSearch, after: Option<&PackageCursor>) -> Statement {
    Writing::for_each(contract_ids, |writing, contract_id| {
        writing.stretch(contract_id, search, after, None);
        writing.order(search.order);
        writing.add(&format!(" LIMIT 1 OFFSET {}", STRETCH - 1));
    })
}

/// Those packages of some contracts between two places that have the name, and were made in the time, that is looked for. A
/// test looks at its plan.
pub fn sieving(
    contract_ids: &[&str],
    search: &PackageSearch,
    after: Option<&PackageCursor>,
    end: Option<&PackageCursor>,
    limit: u32,
) -> Statement {
    Writing::for_each(contract_ids, |writing, contract_id| {
        writing.stretch(contract_id, search, after, end);
        if search.order == PackageOrder::Name {
            // An expression, so that the index of names is read and not that of times.
            writing.dates_of("created + 0", search.from, search.until);
        }
        if !search.text.is_empty() {
            // A value, not a condition: the planner is not to begin with all packages of that name.
            writing.add(" AND COALESCE((SELECT 1 FROM package_names WHERE package_id = packages.id");
            writing.name_range(search);
            writing.add(" LIMIT 1), 0) = 1");
        }
        writing.order(search.order);
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
    writing.dates_of("created + 0", search.from, search.until);
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
