//! Finding packages by a part of a name, by state and by date: held against a model, page by page, and that nothing is
//! walked through that is not shown.

use dipper_core::caller::{Caller, Role};
use dipper_core::db::identifiers::{self, Names};
use dipper_core::db::package_search::{
    self, PackageCursor, PackageOrder, PackageSearch, among, bearing, dated, ending, naming, sieving, walking,
};
use dipper_core::db::packages::{self, Package, PackageState, Version};
use dipper_core::db::{Statement, sql};
use dipper_core::ids;
use dipper_core::time::Timestamp;

use super::ENGINE;
use super::bench::{Bench, CONTRACT};
use crate::Engine;

/// A package with the names by which it is found, in small letters.
struct Known {
    package: Package,
    names: Vec<String>,
}

/// Packages of three contracts, with names that begin alike, made at times of which some are the same.
async fn packages_of_three_contracts(bench: &Bench) -> Vec<Known> {
    let mut known = Vec::new();
    for (number, contract_id) in ["2d17", "other", "Third"].into_iter().cycle().take(75).enumerate() {
        bench.administration.contract_add(contract_id).await.unwrap();
        let object_id = format!("{}-{:02}", ["photo", "Photo", "film", "Ünlü"][number % 4], 75 - number);
        let ocfl_id = ids::ocfl_id(contract_id, &object_id);
        let identifier = format!("1-2026010{}{number}", number % 3);
        let urn = (number % 2 == 0).then(|| format!("URN:NBN:de:hbz:6:1-{}", number * 7));
        let container = (number % 3 != 0).then(|| format!("{}.ZIP", ["photo", "Box"][number % 2]));
        let state = [PackageState::Preserved, PackageState::Damaged, PackageState::Deleted]
            [usize::from(number % 9 == 0) + usize::from(number % 18 == 0)];
        let created = Timestamp(1_767_225_600_000_000 + (number as i64 / 4) * 1_000_000);
        let package = Package {
            id: ids::package_id(&ocfl_id),
            contract_id: contract_id.to_owned(),
            object_id: object_id.clone(),
            identifier: identifier.clone(),
            urn: urn.clone(),
            ocfl_id: ocfl_id.clone(),
            location: ocfl_id.clone(),
            state,
            reason: None,
            head: 1,
            size_bytes: 1,
            file_count: 1,
            created,
            updated: created,
            verified: None,
        };
        let version = Version {
            number: 1,
            label: None,
            container_name: container.clone(),
            size_bytes: 1,
            file_count: 1,
            created,
        };
        let mut transaction = bench.installation.database.begin().await.unwrap();
        let names = Names { identifier: identifier.clone(), urn: urn.clone() };
        identifiers::settle(&mut transaction, &ocfl_id, &names, true).await.unwrap();
        packages::put(&mut transaction, &package, &[version]).await.unwrap();
        transaction.commit().await.unwrap();
        let names = [Some(object_id), Some(identifier), urn, container].into_iter().flatten();
        known.push(Known { package, names: names.map(|name| name.to_ascii_lowercase()).collect() });
    }
    known
}

/// What a search has to give, as a person would do it.
fn expected<'a>(known: &'a [Known], contract_ids: &[&str], search: &PackageSearch) -> Vec<&'a Package> {
    let text = search.text.to_ascii_lowercase();
    let has_name = |known: &&Known| {
        text.is_empty()
            || known.names.iter().any(|name| if search.exact { *name == text } else { name.starts_with(&text) })
    };
    let mut found: Vec<&Package> = known.iter().filter(has_name).map(|known| &known.package).collect();
    found.retain(|package| {
        contract_ids.contains(&package.contract_id.as_str())
            && search.contract_id.as_ref().is_none_or(|id| *id == package.contract_id)
            && search.state.is_none_or(|state| state == package.state)
            && search.from.is_none_or(|from| package.created >= from)
            && search.until.is_none_or(|until| package.created < until)
    });
    found.sort_by(|one, other| match search.order {
        PackageOrder::Newest => (other.created, &other.id).cmp(&(one.created, &one.id)),
        PackageOrder::Name => (&one.object_id, &one.id).cmp(&(&other.object_id, &other.id)),
    });
    found
}

fn caller(grants: &[(&str, Role)]) -> Caller {
    let grants = grants.iter().map(|(contract_id, role)| ((*contract_id).to_owned(), *role)).collect();
    Caller { client_id: "somebody".to_owned(), grants, stored: false }
}

/// Every package that is found, over all pages.
async fn found(bench: &Bench, caller: &Caller, search: &PackageSearch) -> Vec<Package> {
    let (mut all, mut search) = (Vec::new(), search.clone());
    loop {
        let page = bench.intake.package_search(caller, &[Role::Read, Role::Operator], &search).await.unwrap();
        assert!(page.packages.len() <= search.limit as usize);
        all.extend(page.packages);
        match page.next {
            // As it comes back from a link of a page.
            Some(next) => search.after = Some(next.to_string().parse().unwrap()),
            None => return all,
        }
    }
}

#[tokio::test]
async fn every_search_gives_what_a_model_gives() {
    let bench = Bench::new().await;
    let known = packages_of_three_contracts(&bench).await;
    let texts = [
        "",
        "photo",
        "PHOTO-",
        "film-7",
        "1-20260101",
        "urn:nbn:DE:hbz:6:1-4",
        "box.zip",
        "box",
        "ünl",
        "Ünl",
        "x",
        "%",
    ];
    let times =
        [None, Some(Timestamp(1_767_225_600_000_000 + 5_000_000)), Some(Timestamp(1_767_225_600_000_000 + 12_000_000))];
    let somebody = caller(&[("2d17", Role::Read), ("other", Role::Operator), ("Third", Role::Write)]);
    let mut hits = 0;
    for text in texts {
        for (from, until) in [(None, None), (times[1], None), (None, times[2]), (times[1], times[2])] {
            for state in [None, Some(PackageState::Damaged)] {
                for order in [PackageOrder::Newest, PackageOrder::Name] {
                    for (exact, contract_id) in
                        [(false, None), (true, None), (false, Some("2d17")), (false, Some("Third"))]
                    {
                        let search = PackageSearch {
                            text: text.to_owned(),
                            exact,
                            contract_id: contract_id.map(str::to_owned),
                            state,
                            from,
                            until,
                            order,
                            after: None,
                            limit: 7,
                        };
                        let expected = expected(&known, &["2d17", "other"], &search);
                        let found = found(&bench, &somebody, &search).await;
                        hits += found.len();
                        assert!(found.iter().eq(expected.iter().copied()), "{search:?}: {found:?} {expected:?}");
                    }
                }
            }
        }
    }
    assert!(hits > 1000, "{hits}");
    let nobody = caller(&[("2d17", Role::Write)]);
    assert_eq!(found(&bench, &nobody, &PackageSearch { limit: 7, ..PackageSearch::default() }).await, []);
}

#[tokio::test]
async fn names_follow_the_package() {
    let bench = Bench::new().await;
    let source = bench.source("First.dir", &[("a", b"alpha")]);
    let first = bench.ingest(&source, "p").await.unwrap();
    let reader = caller(&[(CONTRACT, Role::Read)]);
    let count = async |text: &str| {
        let search = PackageSearch { text: text.to_owned(), exact: true, limit: 9, ..PackageSearch::default() };
        found(&bench, &reader, &search).await.len()
    };
    assert_eq!((count("P").await, count("first.dir").await, count(&first.identifier).await), (1, 1, 1));
    let source = bench.source("second.dir", &[("a", b"alpha"), ("b", b"beta")]);
    bench.ingest(&source, "p").await.unwrap();
    assert_eq!((count("first.dir").await, count("second.dir").await, count("third.dir").await), (1, 1, 0));
}

/// So many packages with names that begin alike are more than few.
async fn many(bench: &Bench, count: u32) {
    bench.administration.contract_add("many").await.unwrap();
    let packages = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000000000)
        INSERT INTO packages (id, contract_id, object_id, ocfl_id, location, state, head, size_bytes, file_count, created,
            updated)
        SELECT 'p' || (100000 + n), 'many', CASE n % 2 WHEN 0 THEN 'even-' ELSE 'odd-' END || (100000 + n), 'o' || n, 'l' || n,
            CASE n % 100 WHEN 0 THEN 'damaged' ELSE 'preserved' END, 1, 1, 1, n / 3, 0 FROM (SELECT n FROM numbers LIMIT ";
    let names = "INSERT INTO package_names (contract_id, name, package_id)
                 SELECT contract_id, object_id, id FROM packages WHERE contract_id = 'many'";
    let identifiers = "INSERT INTO identifiers (ocfl_id, identifier)
                       SELECT ocfl_id, 'i' || id FROM packages WHERE contract_id = 'many'";
    let statement = Statement::assembled(format!("{packages}{count}) AS counted"));
    bench.installation.database.execute(statement).await.unwrap();
    for statement in [names, identifiers] {
        bench.installation.database.execute(sql(statement)).await.unwrap();
    }
}

#[tokio::test]
async fn what_many_names_begin_with_is_found_by_walking() {
    let bench = Bench::new().await;
    many(&bench, 4500).await;
    let reader = caller(&[("many", Role::Read), (CONTRACT, Role::Read)]);
    let search =
        |text: &str, order| PackageSearch { text: text.to_owned(), order, limit: 400, ..PackageSearch::default() };
    for order in [PackageOrder::Newest, PackageOrder::Name] {
        let all = found(&bench, &reader, &search("", order)).await;
        assert_eq!(all.len(), 4500);
        let even = found(&bench, &reader, &search("EVEN", order)).await;
        assert!(even.iter().eq(all.iter().filter(|package| package.object_id.starts_with("even"))));
        let damaged = PackageSearch { state: Some(PackageState::Damaged), ..search("even", order) };
        assert_eq!(found(&bench, &reader, &damaged).await.len(), 45);
        let early = PackageSearch { until: Some(Timestamp(1000)), ..search("even", order) };
        let early = found(&bench, &reader, &early).await;
        assert!(early.iter().eq(even.iter().filter(|package| package.created < Timestamp(1000))));
        let dates = PackageSearch { until: Some(Timestamp(1400)), ..search("", order) };
        assert_eq!(found(&bench, &reader, &dates).await.len(), 4199);
    }
}

#[tokio::test]
async fn nothing_is_walked_through_that_is_not_shown() {
    let bench = Bench::new().await;
    many(&bench, 3000).await;
    let of = |order| PackageSearch { text: "even".to_owned(), order, ..PackageSearch::default() };
    let damaged = |order| PackageSearch { state: Some(PackageState::Damaged), ..of(order) };
    let dates = |order| PackageSearch { from: Some(Timestamp(1)), until: Some(Timestamp(5)), ..of(order) };
    let newest = PackageCursor::Newest { created: Timestamp(7), id: "p".to_owned() };
    let name = PackageCursor::Name { object_id: "p".to_owned(), id: "p".to_owned() };
    let contracts = ["many", "2d17"];
    let mut statements = vec![
        (naming(&contracts, &of(PackageOrder::Name), "LIMIT 9"), "package_names"),
        (naming(&contracts, &of(PackageOrder::Name), "LIMIT 1 OFFSET 9"), "package_names"),
        (dated(&contracts, &dates(PackageOrder::Name), "LIMIT 9"), "packages_by_"),
        (bearing(&["p", "q"], &of(PackageOrder::Name)), "package_names"),
        (among(&["p", "q"], &damaged(PackageOrder::Newest)), "packages"),
    ];
    let earlier = PackageCursor::Newest { created: Timestamp(3), id: "o".to_owned() };
    let later = PackageCursor::Name { object_id: "q".to_owned(), id: "q".to_owned() };
    for (order, after, end) in [(PackageOrder::Newest, &newest, &earlier), (PackageOrder::Name, &name, &later)] {
        for after in [None, Some(after)] {
            for search in [of(order), damaged(order), dates(order)] {
                let index = match (search.state, order) {
                    (Some(_), PackageOrder::Newest) => "packages_by_state_and_age",
                    (Some(_), PackageOrder::Name) => "packages_by_state_and_name",
                    (None, _) => "packages",
                };
                statements.push((walking(&contracts, &search, after, 50), index));
                statements.push((ending(&contracts, &search, after), index));
                statements.push((sieving(&contracts, &search, after, Some(end), 50), index));
                statements.push((sieving(&contracts, &search, after, None, 50), "package_names_by_package"));
                statements.push((sieving(&contracts, &search, after, Some(end), 50), "package_names_by_package"));
            }
        }
    }
    if let Some(database) = &bench.database {
        database.psql("ANALYZE");
    }
    for (statement, index) in statements {
        let plan = plan(&bench, &statement).await;
        let walks = ["SCAN packages", "SCAN package_names", "Seq Scan", "FOR ORDER BY", "Sort"];
        assert!(!walks.iter().any(|walk| plan.contains(walk)), "{}\n{plan}", statement.text());
        assert!(plan.contains(index), "{}\n{plan}", statement.text());
    }
    assert_eq!(
        package_search::find(&bench.installation.database, &[], &of(PackageOrder::Name)).await.unwrap().packages,
        []
    );
}

/// How the database goes about a statement.
pub(crate) async fn plan(bench: &Bench, statement: &Statement) -> String {
    if ENGINE == Engine::Sqlite {
        let explain = Statement::assembled(format!("EXPLAIN QUERY PLAN {}", statement.text()));
        let rows = bench.installation.database.rows(explain).await.unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
        return lines.join("\n");
    }
    let mut text = statement.text().to_owned();
    for number in (1..100).rev() {
        text = text.replace(&format!("${number}"), "'5'");
    }
    // Tables that hold little are read as a whole unless that is forbidden.
    bench.database.as_ref().unwrap().psql(&format!("SET enable_seqscan = off; EXPLAIN {text}"))
}
