//! `dipper fetch`: what an order delivered, as files.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use dipper_archive::publish;
use serde_json::{Value, json};

use super::ServerArguments;
use super::api::{Api, DeliveredFile, Dissemination};
use super::download::{Download, Fetched, safe_name};
use super::order::{WaitArguments, ended};
use crate::cli::bar;
use crate::cli::exit::{Exit, told};
use crate::cli::interrupt;
use crate::cli::output::{Output, size};

#[derive(Debug, Args)]
pub(crate) struct FetchArguments {
    /// The order, as `dipper order` tells it
    dissemination_id: String,
    /// A file, or a directory if it is one, ends in a slash, or several files were delivered [default: here, under the delivered names]
    #[arg(long, short, value_name = "FILE|DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    server: ServerArguments,
}

pub(crate) async fn run(arguments: FetchArguments, output: Output) -> anyhow::Result<()> {
    let api = arguments.server.api()?;
    let found = api.get(&arguments.dissemination_id).await?;
    let found = arguments.wait.follow(&api, found).await?;
    let found = deliverable(&api, found).await?;
    let targets = targets(arguments.output.as_deref(), &found.files)?;
    let interrupted = interrupt::watch("stopping")?;
    let fetched = tokio::select! {
        fetched = fetch_all(&api, &found, targets) => fetched?,
        () = interrupted.cancelled() => {
            let message = "interrupted: what came is kept, and the same command goes on from there";
            return Err(told(Exit::Interrupted, message));
        }
    };
    print(output, &found, &fetched)
}

/// The dissemination with files to fetch. Links that were given for a shorter time than the delivery is kept may be
/// gone while the delivery is not.
async fn deliverable(api: &Api, found: Dissemination) -> anyhow::Result<Dissemination> {
    if !found.is_finished() {
        let message = format!("order {} is {}: wait for it with --wait", found.dissemination_id, found.status);
        return Err(told(Exit::Again, message));
    }
    if !found.is_delivered() {
        return Err(ended(&found));
    }
    if found.files.is_empty() { api.renew_links(&found.dissemination_id).await } else { Ok(found) }
}

async fn fetch_all(api: &Api, found: &Dissemination, targets: Vec<PathBuf>) -> anyhow::Result<Vec<Fetched>> {
    let mut fetched = Vec::new();
    for (index, (file, target)) in found.files.iter().zip(targets).enumerate() {
        let bar = bar::bytes(file.filesize, target.file_name().unwrap_or_default().to_string_lossy());
        let download = Download::new(api, &found.dissemination_id, index, file, target, bar.clone())?;
        let done = download.run().await;
        bar.finish_and_clear();
        fetched.push(done?);
    }
    Ok(fetched)
}

/// Where each file goes. Makes the directory that was named.
pub(crate) fn targets(output: Option<&Path>, files: &[DeliveredFile]) -> anyhow::Result<Vec<PathBuf>> {
    let in_directory = |directory: &Path| -> anyhow::Result<Vec<PathBuf>> {
        let mut targets = Vec::new();
        for file in files {
            let target = directory.join(safe_name(&file.filename)?);
            if targets.contains(&target) {
                return Err(told(Exit::Failure, format!("the delivery holds two files named {:?}", file.filename)));
            }
            targets.push(target);
        }
        Ok(targets)
    };
    let Some(output) = output else {
        return in_directory(Path::new(""));
    };
    let ends_in_slash = output.as_os_str().as_encoded_bytes().ends_with(b"/");
    if output.is_dir() || ends_in_slash || files.len() > 1 {
        publish::create_directories(output).with_context(|| format!("{} cannot be made", output.display()))?;
        return in_directory(output);
    }
    Ok(vec![output.to_owned()])
}

fn print(output: Output, found: &Dissemination, fetched: &[Fetched]) -> anyhow::Result<()> {
    let mut text = String::new();
    let mut listed: Vec<Value> = Vec::new();
    for (file, fetched) in found.files.iter().zip(fetched) {
        let path = fetched.path.display().to_string();
        let how = match (fetched.was_here, fetched.resumed_from) {
            (true, _) => "was here already; verified".to_owned(),
            (false, 0) => "fetched and verified".to_owned(),
            (false, from) => format!("fetched from byte {from} on, and verified"),
        };
        let (algorithm, checksum) = (&file.checksum_algorithm, &file.checksum);
        text.push_str(&format!("{path}: {}, {algorithm} {checksum}, {how}\n", size(file.filesize)));
        listed.push(json!({
            "path": path,
            "bytes": file.filesize,
            "checksum": checksum,
            "checksumAlgorithm": algorithm,
            "resumedFrom": fetched.resumed_from,
            "wasHere": fetched.was_here,
        }));
    }
    let document = json!({
        "disseminationId": found.dissemination_id,
        "archiveId": found.archive_id,
        "files": listed,
    });
    output.result(&document, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<DeliveredFile> {
        let file = |name: &&str| DeliveredFile {
            download_url: "http://localhost/".to_owned(),
            filename: (*name).to_owned(),
            filesize: 1,
            checksum: "a".repeat(32),
            checksum_algorithm: "MD5".to_owned(),
        };
        names.iter().map(file).collect()
    }

    #[test]
    fn files_go_where_the_output_says() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let at = |name: &str| directory.path().join(name);
        let table = [
            (None, &["a"][..], vec![PathBuf::from("a")]),
            (Some(at("new")), &["a"], vec![at("new")]),
            (Some(at("new/")), &["a"], vec![at("new/a")]),
            (Some(directory.path().to_owned()), &["a"], vec![at("a")]),
            (Some(at("several")), &["a", "b"], vec![at("several/a"), at("several/b")]),
        ];
        for (output, names, expected) in table {
            assert_eq!(targets(output.as_deref(), &files(names))?, expected, "{output:?}");
        }
        assert!(targets(None, &files(&["a", "a"])).is_err());
        assert!(targets(None, &files(&["a", "../b"])).is_err());
        Ok(())
    }
}
