//! How much there is of what, for the metrics. Every count and every oldest entry is read from an index alone, or from figures
//! that are kept.

use std::collections::BTreeMap;

use crate::db::checks::{self, Standing};
use crate::db::package_figures::StateCounts;
use crate::db::steps::StepKind;
use crate::db::{Database, DatabaseError, package_figures, sql};
use crate::time::Timestamp;

/// The states of steps that are not done.
pub(crate) const OPEN_STATES: [&str; 4] = ["ready", "waiting", "leased", "dead"];

/// The urgency of a step by its rank, which is 1 to 100: up to 33, up to 66, above.
pub(crate) const PRIORITIES: [&str; 3] = ["low", "normal", "high"];

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// By kind, state and priority: how many steps, and when the oldest was made.
    pub(crate) steps: BTreeMap<(&'static str, &'static str, &'static str), (u64, Timestamp)>,
    pub(crate) packages: StateCounts,
    pub(crate) never_verified: u64,
    pub(crate) oldest_verification: Option<Timestamp>,
    pub(crate) notices_pending: u64,
    pub(crate) oldest_notice: Option<Timestamp>,
    pub(crate) submissions_open: u64,
    pub(crate) oldest_submission: Option<Timestamp>,
    pub(crate) checks: Standing,
}

/// The unfinished steps by kind, state and priority.
const STEPS: &str =
    "SELECT kind, state, CASE WHEN rank <= 33 THEN 'low' WHEN rank <= 66 THEN 'normal' ELSE 'high' END AS priority,
         COUNT(*) AS n, MIN(created) AS oldest
     FROM steps WHERE state IN ('ready', 'waiting', 'leased', 'dead') GROUP BY 1, 2, 3";
/// The packages that were never verified.
const NEVER: &str = "SELECT COUNT(*) AS n FROM packages WHERE state = 'preserved' AND verified IS NULL";
/// The oldest verification.
const OLDEST: &str = "SELECT MIN(verified) AS oldest FROM packages WHERE state = 'preserved' AND verified IS NOT NULL";
/// The pending notices.
const NOTICES: &str = "SELECT COUNT(*) AS n, MIN(created) AS oldest FROM notices WHERE state = 'pending'";

/// The submissions that nothing has become of yet.
const SUBMISSIONS: &str =
    "SELECT COUNT(*) AS n, MIN(created) AS oldest FROM submissions WHERE state IN ('waiting', 'working')";

/// Reads all of it; what was read since `checked_since` counts as checked.
pub(crate) async fn read(database: &Database, checked_since: Timestamp) -> Result<Figures, DatabaseError> {
    let mut found = Figures { checks: checks::standing(database, checked_since).await?, ..Figures::default() };
    for row in database.rows(sql(STEPS)).await? {
        let kind: StepKind = row.parse("kind")?;
        let (state, priority) = (row.text("state")?, row.text("priority")?);
        let state = OPEN_STATES.into_iter().find(|known| *known == state).unwrap_or_default();
        let priority = PRIORITIES.into_iter().find(|known| *known == priority).unwrap_or_default();
        found.steps.insert((kind.name(), state, priority), (row.count("n")?, row.time("oldest")?));
    }
    found.packages = package_figures::by_state(database, None).await?;
    if let Some(row) = database.row(sql(NEVER)).await? {
        found.never_verified = row.count("n")?;
    }
    if let Some(row) = database.row(sql(OLDEST)).await? {
        found.oldest_verification = row.time_or_null("oldest")?;
    }
    if let Some(row) = database.row(sql(NOTICES)).await? {
        found.notices_pending = row.count("n")?;
        found.oldest_notice = row.time_or_null("oldest")?;
    }
    if let Some(row) = database.row(sql(SUBMISSIONS)).await? {
        found.submissions_open = row.count("n")?;
        found.oldest_submission = row.time_or_null("oldest")?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Place, Statement};

    #[tokio::test]
    async fn everything_is_read_from_an_index_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(&Place::File(directory.path().join("dipper.db"))).await.expect("opened");
        for query in [STEPS, NEVER, OLDEST, NOTICES, SUBMISSIONS, checks::SLOTS, checks::OLDEST] {
            let plan =
                database.rows(Statement::assembled(format!("EXPLAIN QUERY PLAN {query}"))).await.expect("a plan");
            let plan: Vec<String> = plan.iter().map(|row| row.text("detail").expect("text")).collect();
            assert!(plan[0].contains("COVERING INDEX"), "{query}: {plan:?}");
        }
    }

    #[tokio::test]
    async fn an_empty_catalogue_has_figures_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(&Place::File(directory.path().join("dipper.db"))).await.expect("opened");
        let found = read(&database, Timestamp(0)).await.expect("read");
        assert!(found.steps.is_empty() && found.packages == StateCounts::default());
        assert_eq!((found.notices_pending, found.oldest_notice, found.oldest_verification), (0, None, None));
    }
}
