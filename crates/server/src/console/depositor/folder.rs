//! What lies in a package, folder by folder, and the form to order a part of it.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use dipper_core::db::orders::View;
use dipper_core::excerpt::{Excerpt, ExcerptError};
use dipper_core::intake::{FolderQuery, MOST_BYTES};
use dipper_core::listing::{FileEntry, FolderCursor, FolderEntry, FolderPage};

use super::{number, ordering, query, refused, view};
use crate::app::App;
use crate::console::frame::{Frame, Note, page};
use crate::console::visit::{Act, Visit};
use crate::console::words::Words;
use crate::http::input::Parameters;
use crate::http::refusal::Refusal;
use crate::signin::Read;

/// Folders and files on a page.
const PAGE: u32 = 200;

#[derive(Template)]
#[template(path = "console/depositor/folder.html")]
struct FolderTemplate {
    frame: Frame,
    id: String,
    object_id: String,
    /// The version that was asked for by its number, empty for the newest.
    version: String,
    view: &'static str,
    is_surface: bool,
    /// The versions to choose from.
    versions: Vec<(u32, bool)>,
    /// The path of the folder, with `/` at its end; empty at the top.
    folder: String,
    /// The way to it, from the top on.
    above: Vec<Above>,
    files_told: String,
    size_told: String,
    folders: Vec<FolderRow>,
    files: Vec<FileRow>,
    /// Where the next page begins, and the query that leads there.
    next: Option<(String, String)>,
    /// Whether this is not the first page.
    is_later: bool,
    is_preserved: bool,
    /// What is ticked and does not stand on this page, each with the name of its field.
    elsewhere: Vec<(&'static str, String)>,
    elsewhere_told: String,
}

/// The folder, or one above it.
struct Above {
    name: String,
    /// Empty at the top.
    path: String,
    address: String,
}

struct FolderRow {
    name: String,
    path: String,
    is_ticked: bool,
    address: String,
    files: String,
    size: String,
}

struct FileRow {
    name: String,
    path: String,
    is_ticked: bool,
    /// Where it is fetched by itself; nothing where it is not handed out.
    fetch: Option<String>,
    size: String,
    bytes: String,
    checksums: Vec<(&'static str, String)>,
}

/// Which folder of which version.
struct Asked {
    id: String,
    version: Option<u32>,
    view: View,
    /// Without `/` at its end.
    folder: String,
}

impl Asked {
    fn address(&self, folder: &str, after: &str) -> String {
        let version = self.version.map(|number| number.to_string()).unwrap_or_default();
        let view = if self.view == View::Version { "" } else { self.view.name() };
        query(&[("version", &version), ("view", view), ("folder", folder), ("after", after)])
    }

    /// The path of something in the folder.
    fn below(&self, name: &str) -> String {
        if self.folder.is_empty() { name.to_owned() } else { format!("{}/{name}", self.folder) }
    }

    fn above(&self, words: Words) -> Vec<Above> {
        let mut above =
            vec![Above { name: words.text("folder-top"), path: String::new(), address: self.address("", "") }];
        let mut path = String::new();
        for name in self.folder.split('/').filter(|name| !name.is_empty()) {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(name);
            above.push(Above { name: name.to_owned(), path: path.clone(), address: self.address(&path, "") });
        }
        above
    }

    fn folder_row(&self, words: Words, entry: FolderEntry, ticks: &mut Ticks) -> FolderRow {
        let path = self.below(&entry.name);
        FolderRow {
            is_ticked: ticks.folders.remove(&path),
            address: self.address(&path, ""),
            files: words.with("folder-files", "count", entry.file_count),
            size: words.size(&entry.size_bytes),
            name: entry.name,
            path,
        }
    }

    fn file_row(&self, words: Words, entry: FileEntry, ticks: &mut Ticks) -> FileRow {
        let missing = || words.text("folder-missing");
        let version = self.version.map(|number| number.to_string()).unwrap_or_default();
        let view = if self.view == View::Version { "" } else { self.view.name() };
        let can_be_fetched = entry.size_bytes.is_some_and(|bytes| bytes <= MOST_BYTES);
        FileRow {
            is_ticked: ticks.files.remove(&entry.path),
            fetch: can_be_fetched.then(|| query(&[("version", &version), ("view", view), ("path", &entry.path)])),
            size: entry.size_bytes.as_ref().map_or_else(missing, |bytes| words.size(bytes)),
            bytes: entry.size_bytes.as_ref().map(|bytes| words.bytes(bytes)).unwrap_or_default(),
            checksums: entry.checksums.iter().map(|(kind, digest)| (kind.name(), digest.to_string())).collect(),
            name: entry.name,
            path: entry.path,
        }
    }
}

/// What is ticked: on the page that a form came from, and on those before it.
#[derive(Default)]
struct Ticks {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

/// A page of a folder.
pub(in crate::console) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    visit: Visit<Read>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    leaf(&app, &visit, id, &parameters, Ticks::default()).await
}

/// Another page of a folder, or another folder, with what is ticked on this one and others. Nothing is changed by it; it is a
/// form that is posted because no address has room for so many paths.
pub(in crate::console) async fn turn(
    State(app): State<App>,
    Path(id): Path<String>,
    act: Act<Read>,
) -> Result<Response, Refusal> {
    let Act { visit, form } = act;
    let named = |name| form.all(name).map(str::to_owned).collect::<BTreeSet<String>>();
    let ticks = Ticks { files: named("file"), folders: named("directory") };
    match Excerpt::new(ticks.files.iter().cloned(), ticks.folders.iter().cloned()) {
        Ok(_) | Err(ExcerptError::Nothing) => leaf(&app, &visit, id, &form, ticks).await,
        Err(ExcerptError::TooMuch) => Ok(visit.go(&ordering::back(&id, &form)?, Note::failed("ordering-too-much", ""))),
        Err(error @ ExcerptError::Path(_)) => Err(Refusal::bad_request(error.to_string())),
    }
}

async fn leaf(
    app: &App,
    visit: &Visit<Read>,
    id: String,
    parameters: &Parameters,
    mut ticks: Ticks,
) -> Result<Response, Refusal> {
    let (words, intake) = (visit.words, app.intake());
    // The folder that is gone to, `/` for the top, comes before the one that the form stands in.
    let (into, after) = (parameters.one("into")?, parameters.one("after")?);
    let folder = into.or(parameters.one("folder")?).unwrap_or_default().trim_matches('/').to_owned();
    let asked =
        Asked { version: number(parameters.one("version")?)?, view: view(parameters.one("view")?)?, folder, id };
    let (package, versions) = intake.package_get(&visit.caller, &asked.id).await.map_err(refused)?;
    let wanted = FolderQuery {
        version: asked.version,
        view: asked.view,
        folder: asked.folder.clone(),
        after: after.filter(|_| into.is_none()).map(cursor).transpose()?,
        limit: PAGE,
    };
    let FolderPage { folders, files, file_count, size_bytes, next } =
        intake.package_folder(&visit.caller, &asked.id, &wanted).await.map_err(refused)?;
    let title = match asked.folder.rsplit('/').next() {
        Some(name) if !name.is_empty() => {
            words.with_two("folder-title-in", "name", name, "package", &*package.object_id)
        }
        _ => words.with("folder-title", "package", package.object_id.as_str()),
    };
    let folders: Vec<FolderRow> = folders.into_iter().map(|entry| asked.folder_row(words, entry, &mut ticks)).collect();
    let files: Vec<FileRow> = files.into_iter().map(|entry| asked.file_row(words, entry, &mut ticks)).collect();
    // Those that stand on this page are taken out.
    let elsewhere = ticks.folders.into_iter().map(|path| ("directory", path));
    let elsewhere: Vec<_> = elsewhere.chain(ticks.files.into_iter().map(|path| ("file", path))).collect();
    Ok(page(&FolderTemplate {
        frame: visit.frame_titled(title),
        version: asked.version.map(|number| number.to_string()).unwrap_or_default(),
        view: asked.view.name(),
        is_surface: asked.view == View::Surface,
        versions: versions.iter().rev().map(|known| (known.number, asked.version == Some(known.number))).collect(),
        folder: asked.folder.clone(),
        above: asked.above(words),
        files_told: words.with("folder-files", "count", file_count),
        size_told: words.size(&size_bytes),
        folders,
        files,
        next: next.map(|next| (written(&next), asked.address(&asked.folder, &written(&next)))),
        is_later: wanted.after.is_some(),
        is_preserved: package.state == dipper_core::db::packages::PackageState::Preserved,
        elsewhere_told: words.with("folder-elsewhere", "count", elsewhere.len()),
        elsewhere,
        object_id: package.object_id,
        id: asked.id,
    }))
}

fn written(cursor: &FolderCursor) -> String {
    match cursor {
        FolderCursor::Folder(name) => format!("d{name}"),
        FolderCursor::File(name) => format!("f{name}"),
    }
}

fn cursor(text: &str) -> Result<FolderCursor, Refusal> {
    let folder = text.strip_prefix('d').map(|name| FolderCursor::Folder(name.to_owned()));
    let cursor = folder.or_else(|| text.strip_prefix('f').map(|name| FolderCursor::File(name.to_owned())));
    cursor.ok_or_else(|| Refusal::bad_request("the parameter `after` is what the page before leads to"))
}
