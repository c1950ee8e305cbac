//! Orders of a part of a package, and what can be chosen from: folders, page by page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use dipper_archive::digest::{Algorithm, Hasher};
use dipper_core::db::orders::{FailureCode, Order, View};
use dipper_core::excerpt::Excerpt;
use dipper_core::intake::{FolderQuery, IntakeError, OrderDissemination, OrderRetrieval, OrderView, Portion};
use dipper_core::listing::{FolderCursor, FolderPage};
use dipper_core::order::OrderState;
use dipper_core::settings::Settings;

use super::area::{bag, md5, names, payload, unpacked};
use super::bench::{Bench, CLIENT, files_below};
use super::orders::fetch;
use crate::peers;
use crate::s3::S3Server;

fn chosen(files: &[&str], folders: &[&str]) -> Option<Excerpt> {
    let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    Some(Excerpt::new(owned(files), owned(folders)).unwrap())
}

fn version(number: u32) -> Portion {
    Portion { version: Some(number), ..Portion::default() }
}

async fn order(bench: &Bench, package_id: &str, portion: Portion) -> Result<OrderView, IntakeError> {
    let command =
        OrderDissemination { package_id: package_id.to_owned(), portion, priority: 50, rank: 50, dialect: "test" };
    bench.intake.order_dissemination(&bench.reader(CLIENT), command).await
}

async fn retrieve(bench: &Bench, package_id: &str, portion: Portion) -> Result<OrderView, IntakeError> {
    let command = OrderRetrieval { package_id: package_id.to_owned(), portion, dialect: "test" };
    bench.intake.retrieval_order(&bench.reader(CLIENT), command).await
}

/// Three versions: a bag, plain files, and a bag again.
async fn package(bench: &Bench) -> String {
    let first = bag(bench, "one", &[("letters/1.txt", "one"), ("letters/old/2.txt", "two"), ("photo.tif", "image")]);
    let package_id = bench.ingest(&first, "p").await.unwrap().package_id;
    bench.ingest(&bench.source("two", &[("letters/1.txt", b"changed"), ("extra", b"2")]), "p").await.unwrap();
    bench.ingest(&bag(bench, "three", &[("photo.tif", "sharper"), ("notes", "3")]), "p").await.unwrap();
    package_id
}

/// The files in a tar, below its one directory, which is judged to be a bag.
fn judged(bench: &Bench, name: &str, tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let place = bench.directory.path().join(format!("judged-{name}"));
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("it.tar"), tar).unwrap();
    assert!(Command::new("tar").arg("-xf").arg("it.tar").current_dir(&place).status().unwrap().success());
    std::fs::remove_file(place.join("it.tar")).unwrap();
    let top = name.strip_suffix(".tar").unwrap();
    assert_eq!(names(&place), [top]);
    let judged = Command::new(peers::tool("bagit.py")).arg("--validate").arg(place.join(top)).output().unwrap();
    assert!(judged.status.success(), "{}", peers::told(&judged));
    let relative = |path: PathBuf| path.strip_prefix(place.join(top)).unwrap().display().to_string();
    files_below(&place.join(top)).into_iter().map(|(path, bytes)| (relative(path), bytes)).collect()
}

/// What is fetched of a delivered order, under the name of its file.
async fn delivered(bench: &Bench, order: &Order) -> (String, BTreeMap<String, Vec<u8>>) {
    let view = bench.view(order).await;
    assert_eq!(view.order.state, OrderState::Delivered, "{:?}", view.order.failure);
    let file = view.delivery.as_ref().unwrap().files[0].clone();
    let tar = fetch(bench, &view, 0).await;
    assert_eq!((tar.len() as u64, md5(&tar)), (file.size_bytes, file.checksum.to_string()));
    (file.filename.clone(), judged(bench, &file.filename, &tar))
}

#[tokio::test]
async fn versions_surfaces_folders_and_files_are_delivered_by_link() {
    let bench = Bench::new().await;
    let package_id = package(&bench).await;
    let of = |version, view, excerpt| Portion { version, view, excerpt };
    let one = "letters/1.txt";
    let table = [
        (version(2), "p_v2.tar", 8, vec![("extra", "2"), (one, "changed")]),
        (
            of(Some(2), View::Surface, None),
            "p_v2_surface.tar",
            0,
            vec![("extra", "2"), (one, "changed"), ("letters/old/2.txt", "two"), ("photo.tif", "image")],
        ),
        (
            of(None, View::Surface, chosen(&["photo.tif"], &["letters/old"])),
            "p_surface_excerpt-",
            10,
            vec![("letters/old/2.txt", "two"), ("photo.tif", "sharper")],
        ),
        // What was payload stays payload under its path; with a tag file, everything keeps the path that it has.
        (
            of(Some(1), View::Version, chosen(&[], &["data/letters"])),
            "p_v1_letters-",
            6,
            vec![(one, "one"), ("letters/old/2.txt", "two")],
        ),
        (
            of(None, View::Version, chosen(&["notes.txt", "data/notes"], &[])),
            "p_excerpt-",
            9,
            vec![("data/notes", "3"), ("notes.txt", "of three")],
        ),
        (of(Some(2), View::Version, chosen(&["extra"], &[])), "p_v2_extra-", 1, vec![("extra", "2")]),
    ];
    let mut orders = Vec::new();
    for (portion, ..) in &table {
        orders.push(order(&bench, &package_id, portion.clone()).await.unwrap().order);
    }
    bench.work().await;
    for (order, (portion, name, bytes, expected)) in orders.iter().zip(table) {
        let (filename, files) = delivered(&bench, order).await;
        assert!(filename.starts_with(name), "{filename}");
        assert!(bytes == 0 || order.size_bytes == bytes, "{filename}: {}", order.size_bytes);
        let expected: BTreeMap<&str, &[u8]> =
            expected.into_iter().map(|(path, text)| (path, text.as_bytes())).collect();
        assert_eq!(payload(&files), expected, "{filename}");
        let info = String::from_utf8(files["bag-info.txt"].clone()).unwrap();
        let is_part = portion.excerpt.is_some();
        assert_eq!(info.contains("Internal-Sender-Description: chosen files of "), is_part, "{info}");
    }
    // An older version that is a bag comes back as it was deposited.
    let order = order(&bench, &package_id, version(1)).await.unwrap().order;
    bench.work().await;
    let (filename, files) = delivered(&bench, &order).await;
    assert_eq!((filename.as_str(), files["notes.txt"].as_slice()), ("p_v1.tar", b"of one".as_slice()));
    let told = bench.intake.order_excerpt(&bench.reader(CLIENT), &orders[3].id).await.unwrap().unwrap();
    assert_eq!(told.entries(), ["data/letters/"]);
    assert_eq!(bench.intake.order_excerpt(&bench.reader(CLIENT), &order.id).await.unwrap(), None);
    let events = bench.administration.event_list(Some(&orders[3].id), None, 100).await.unwrap();
    assert_eq!(events[0].detail, "chosen files of version 1: data/letters/");
}

#[tokio::test]
async fn chosen_files_lie_in_the_area_under_a_name_of_their_own() {
    let bench = Bench::new().await;
    let package_id = package(&bench).await;
    let letters = Portion { version: Some(1), view: View::Version, excerpt: chosen(&[], &["data/letters"]) };
    let photo = Portion { version: Some(3), view: View::Version, excerpt: chosen(&["data/photo.tif"], &[]) };
    let letters = retrieve(&bench, &package_id, letters).await.unwrap().order;
    let photo = retrieve(&bench, &package_id, photo).await.unwrap().order;
    bench.work().await;
    let name = letters.area_name.clone().unwrap();
    assert!(name.contains("_v1_letters-"), "{name}");
    // The newest version has no number in its name.
    assert!(!photo.area_name.clone().unwrap().contains("_v3"), "{:?}", photo.area_name);
    let expected = [("letters/1.txt", b"one".as_slice()), ("letters/old/2.txt", b"two")];
    assert_eq!(payload(&unpacked(&bench, &letters).await), expected.into());
    assert_eq!(payload(&unpacked(&bench, &photo).await), [("photo.tif", b"sharper".as_slice())].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn chosen_files_lie_in_the_store_of_deliveries_as_they_would_be_computed() {
    let server = S3Server::start();
    let bench = Bench::storing(Settings::default(), Some(server.settings("out"))).await;
    let package_id = package(&bench).await;
    let portion = Portion { version: Some(1), view: View::Version, excerpt: chosen(&[], &["data/letters"]) };
    let order = order(&bench, &package_id, portion).await.unwrap().order;
    bench.work().await;
    let view = bench.view(&order).await;
    let file = view.delivery.as_ref().unwrap().files[0].clone();
    let fetched = reqwest::get(&view.links[0]).await.unwrap().bytes().await.unwrap();
    assert_eq!((fetched.len() as u64, md5(&fetched)), (file.size_bytes, file.checksum.to_string()));
    assert_eq!(payload(&judged(&bench, &file.filename, &fetched)).len(), 2);
}

#[tokio::test]
async fn damage_outside_of_what_was_chosen_keeps_nobody_from_it() {
    let bench = Bench::new().await;
    let files: [(&str, &[u8]); 2] = [("good.txt", b"good"), ("bad.txt", b"will be damaged")];
    let package_id = bench.ingest(&bench.source("s", &files), "p").await.unwrap().package_id;
    std::fs::write(bench.content_file(b"will be damaged"), b"has been damaged").unwrap();
    let of = |path| Portion { excerpt: chosen(&[path], &[]), ..Portion::default() };
    let good = order(&bench, &package_id, of("good.txt")).await.unwrap().order;
    bench.work().await;
    assert_eq!(delivered(&bench, &good).await.1["data/good.txt"], b"good");
    let bad = order(&bench, &package_id, of("bad.txt")).await.unwrap().order;
    bench.work().await;
    bench.clock.advance(bench.installation.settings.backoff);
    bench.work().await;
    assert_eq!(bench.view(&bad).await.order.failure.unwrap().code, FailureCode::Fixity);
}

#[tokio::test]
async fn duplicates_are_orders_of_the_same_content() {
    let bench = Bench::new().await;
    let package_id = package(&bench).await;
    let letters = || Portion { version: Some(1), view: View::Version, excerpt: chosen(&[], &["data/letters"]) };
    let both = || chosen(&["data/letters/1.txt", "data/letters/old/2.txt"], &[]);
    let different = [
        Portion::default(),
        version(1),
        version(2),
        Portion { view: View::Surface, ..Portion::default() },
        letters(),
        Portion { excerpt: both(), ..letters() },
        Portion { version: Some(1), view: View::Surface, excerpt: chosen(&[], &["letters"]) },
    ];
    for portion in &different {
        order(&bench, &package_id, portion.clone()).await.unwrap();
        retrieve(&bench, &package_id, portion.clone()).await.unwrap();
    }
    // The newest version, by its number; everything, file by file; the same in another order.
    let everything = chosen(&["extra"], &["letters/"]);
    let same = [
        version(3),
        Portion { excerpt: everything, ..version(2) },
        Portion { excerpt: chosen(&["data/letters/old/2.txt", "data/letters/1.txt"], &[]), ..letters() },
    ];
    for portion in different.into_iter().chain(same) {
        let again = order(&bench, &package_id, portion.clone()).await;
        assert!(matches!(again, Err(IntakeError::AlreadyOrdered { .. })), "{portion:?}: {again:?}");
        let again = retrieve(&bench, &package_id, portion.clone()).await;
        assert!(matches!(again, Err(IntakeError::AlreadyOrdered { .. })), "{portion:?}: {again:?}");
    }
    // Whoever asks for the newest has it under way, whichever version that is by now.
    bench.ingest(&bench.source("four", &[("x", b"4")]), "p").await.unwrap();
    let again = order(&bench, &package_id, Portion::default()).await;
    assert!(matches!(again, Err(IntakeError::AlreadyOrdered { .. })), "{again:?}");
    order(&bench, &package_id, version(4)).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_cannot_be_ordered() {
    let bench = Bench::new().await;
    let package_id = package(&bench).await;
    let of = |version, files: &[&str], folders: &[&str]| Portion {
        version,
        view: View::Version,
        excerpt: chosen(files, folders),
    };
    let table = [
        (of(Some(1), &["data/letters/1.txt", "data/none"], &[]), "data/none"),
        (of(Some(1), &["data/letters"], &[]), "data/letters"),
        (of(Some(1), &[], &["data/photo.tif"]), "data/photo.tif/"),
        (of(Some(2), &[], &["data"]), "data/"),
        (of(None, &[], &["data/l"]), "data/l/"),
    ];
    for (portion, expected) in table {
        for refused in
            [order(&bench, &package_id, portion.clone()).await, retrieve(&bench, &package_id, portion.clone()).await]
        {
            assert!(matches!(&refused, Err(IntakeError::PathUnknown { path, .. }) if path == expected), "{refused:?}");
        }
    }
    let refused = order(&bench, &package_id, version(4)).await;
    assert!(matches!(refused, Err(IntakeError::VersionUnknown { version: 4, .. })), "{refused:?}");
}

async fn folder(bench: &Bench, package_id: &str, query: FolderQuery) -> Result<FolderPage, IntakeError> {
    bench.intake.package_folder(&bench.reader(CLIENT), package_id, &query).await
}

/// A page in short: folders with their counts and sizes, then files with their sizes.
fn told(page: &FolderPage) -> String {
    let mut text = format!("{}/{}:", page.file_count, page.size_bytes);
    for folder in &page.folders {
        write!(text, " {}/={}/{}", folder.name, folder.file_count, folder.size_bytes).unwrap();
    }
    for file in &page.files {
        write!(text, " {}={}", file.name, file.size_bytes.map_or("?".to_owned(), |size| size.to_string())).unwrap();
    }
    text
}

#[tokio::test]
async fn folders_are_listed_with_sizes_and_checksums() {
    let bench = Bench::new().await;
    let package_id = package(&bench).await;
    let of =
        |version, view, folder: &str| FolderQuery { version, view, folder: folder.to_owned(), after: None, limit: 100 };
    let table = [
        (of(Some(1), View::Version, ""), "6/"),
        (of(Some(1), View::Version, "data"), "3/11: letters/=2/6 photo.tif=5"),
        (of(Some(1), View::Version, "data/letters/"), "2/6: old/=1/3 1.txt=3"),
        (of(Some(2), View::Version, ""), "2/8: letters/=1/7 extra=1"),
        (of(None, View::Surface, ""), "5/19: letters/=2/10 extra=1 notes=1 photo.tif=7"),
        (of(None, View::Surface, "letters"), "2/10: old/=1/3 1.txt=7"),
    ];
    for (query, expected) in table {
        let page = folder(&bench, &package_id, query.clone()).await.unwrap();
        assert!(told(&page).starts_with(expected), "{query:?}: {}", told(&page));
        assert_eq!(page.next, None);
    }
    let page = folder(&bench, &package_id, of(None, View::Surface, "")).await.unwrap();
    let photo = &page.files[2];
    assert_eq!(photo.path, "photo.tif");
    let known = |algorithm| photo.checksums.iter().find(|(known, _)| *known == algorithm).unwrap().1.to_string();
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(b"sharper");
    assert_eq!(known(Algorithm::Sha512), hasher.finish().to_string());

    let missing = folder(&bench, &package_id, of(Some(1), View::Version, "letters")).await;
    assert!(matches!(missing, Err(IntakeError::PathUnknown { .. })), "{missing:?}");
    let missing = folder(&bench, &package_id, of(Some(9), View::Version, "")).await;
    assert!(matches!(missing, Err(IntakeError::VersionUnknown { .. })), "{missing:?}");
    let mut stranger = bench.reader("stranger");
    stranger.grants = [("other".to_owned(), dipper_core::Role::Read)].into_iter().collect();
    let refused = bench.intake.package_folder(&stranger, &package_id, &of(None, View::Version, "")).await;
    assert!(matches!(refused, Err(IntakeError::NotAllowed { .. })), "{refused:?}");
    // A file that is gone is listed, and nobody learns a size that is not known.
    std::fs::remove_file(bench.content_file(b"two")).unwrap();
    let bench = Bench {
        intake: dipper_core::intake::Intake::new(bench.installation.clone(), bench.intake.links().clone()),
        ..bench
    };
    let page = folder(&bench, &package_id, of(Some(1), View::Version, "data/letters/old")).await.unwrap();
    assert_eq!(told(&page), "1/0: 2.txt=?");
}

#[tokio::test]
async fn a_folder_is_listed_page_by_page() {
    const FILES: usize = 600;
    let bench = Bench::new().await;
    let source = bench.directory.path().join("many");
    for folder in ["a", "a-b", "b"] {
        std::fs::create_dir_all(source.join(folder)).unwrap();
        for number in 0..FILES / 6 {
            std::fs::write(source.join(folder).join(format!("{number:05}")), format!("{number}")).unwrap();
        }
    }
    for number in 0..FILES / 2 {
        std::fs::write(source.join(format!("f{number:05}")), "x").unwrap();
    }
    let package_id = bench.ingest(&source, "many").await.unwrap().package_id;
    for limit in [1, 2, 3, 4, 7, 1000, 10_000] {
        let (mut entries, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let query = FolderQuery { after, limit, ..FolderQuery::default() };
            let page = folder(&bench, &package_id, query).await.unwrap();
            assert!(page.folders.len() + page.files.len() <= limit as usize);
            assert_eq!(page.file_count, FILES as u64);
            entries.extend(page.folders.into_iter().map(|folder| folder.name + "/"));
            entries.extend(page.files.into_iter().map(|file| file.name));
            pages += 1;
            after = page.next;
            if after.is_none() || pages == 20 {
                break;
            }
        }
        let names = (0..FILES / 2).map(|number| format!("f{number:05}"));
        let all: Vec<String> = ["a/", "a-b/", "b/"].into_iter().map(str::to_owned).chain(names).collect();
        assert_eq!(entries, all[..all.len().min(20 * limit as usize)], "{limit}");
    }
    let query = FolderQuery { after: Some(FolderCursor::Folder("a".to_owned())), limit: 2, ..FolderQuery::default() };
    let page = folder(&bench, &package_id, query).await.unwrap();
    assert_eq!(page.folders.iter().map(|folder| folder.name.as_str()).collect::<Vec<_>>(), ["a-b", "b"]);
}
