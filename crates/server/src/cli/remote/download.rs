//! Fetching one delivered file through its link, however often the connection breaks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use dipper_archive::digest::{Algorithm, Digest};
use indicatif::ProgressBar;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use tokio::sync::mpsc;
use url::Url;

use super::api::{Api, DeliveredFile, unreachable};
use super::part::{Expected, Part, is_file};
use super::patience::{Patience, is_passing, retry_after};
use crate::cli::exit::{Exit, told};
use crate::cli::output::plain;

/// How often a fetch is tried that brings nothing new.
const ATTEMPTS: u32 = 8;
/// Pieces that have arrived and are not written yet.
const PIECES_AHEAD: usize = 32;

/// How a file came to be here.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// From which byte on it was fetched; what was before had been fetched earlier.
    pub(crate) resumed_from: u64,
    /// It was here already, and nothing was fetched.
    pub(crate) was_here: bool,
}

/// How one request ended.
enum Attempt {
    /// All bytes are there.
    Complete,
    /// It broke off, or did not begin, for a reason that may pass.
    Broken { error: anyhow::Error, asked: Option<Duration> },
    /// The link is not accepted any more.
    LinkExpired(StatusCode),
    /// What is here does not fit what the server has.
    BeginAnew,
}

/// A file of a delivery, and where it is to go.
pub(crate) struct Download<'a> {
    api: &'a Api,
    dissemination_id: &'a str,
    /// Which of the delivery's files.
    index: usize,
    link: Url,
    target: PathBuf,
    expected: Expected,
    bar: ProgressBar,
}

impl<'a> Download<'a> {
    /// The file with number `index` of a delivery, to be written to `target`.
    pub(crate) fn new(
        api: &'a Api,
        dissemination_id: &'a str,
        index: usize,
        file: &DeliveredFile,
        target: PathBuf,
        bar: ProgressBar,
    ) -> anyhow::Result<Download<'a>> {
        let (expected, link) = (expected(file)?, link(file)?);
        Ok(Download { api, dissemination_id, index, link, target, expected, bar })
    }

    /// Fetches the file, verifies it, and gives it its name.
    pub(crate) async fn run(mut self) -> anyhow::Result<Fetched> {
        if self.is_here().await? {
            return Ok(Fetched { path: self.target, resumed_from: 0, was_here: true });
        }
        let (target, expected) = (self.target.clone(), self.expected.clone());
        let mut part = blocking(move || Part::open(&target, expected)).await??;
        let mut resumed_from = part.offset();
        loop {
            part = self.bring(part).await?;
            if part.is_right() {
                blocking(move || part.publish()).await??;
                return Ok(Fetched { path: self.target, resumed_from, was_here: false });
            }
            if resumed_from == 0 {
                part.discard()?;
                let name = self.target.display();
                let message = format!("{name}: what came does not match its checksum, and was removed");
                return Err(told(Exit::Damage, message));
            }
            // The beginning may have been damaged here, since it was fetched: it gets no second chance.
            resumed_from = 0;
            part.restart()?;
        }
    }

    /// Whether the file is here already. Another file of that name is not overwritten.
    async fn is_here(&self) -> anyhow::Result<bool> {
        if std::fs::symlink_metadata(&self.target).is_err() {
            return Ok(false);
        }
        let (target, expected) = (self.target.clone(), self.expected.clone());
        let name = self.target.display();
        match blocking(move || is_file(&target, &expected)).await? {
            Ok(true) => Ok(true),
            Ok(false) => Err(told(Exit::Conflict, format!("{name} exists with other content: move it away first"))),
            Err(error) => Err(error).with_context(|| format!("{name} exists and cannot be read")),
        }
    }

    /// Brings what is missing.
    async fn bring(&mut self, mut part: Part) -> anyhow::Result<Part> {
        let mut patience = Patience::new(ATTEMPTS);
        let mut renewed = false;
        while part.missing() > 0 {
            let before = part.offset();
            self.bar.set_position(before);
            let (returned, attempt) = self.attempt(part).await?;
            part = returned;
            if part.offset() > before {
                patience.renew();
                renewed = false;
            }
            match attempt {
                Attempt::Complete => {}
                Attempt::BeginAnew => part.restart()?,
                Attempt::LinkExpired(status) => {
                    if renewed {
                        let message = format!("the link was refused with {status}, and so was a new one");
                        return Err(told(Exit::NotAllowed, message));
                    }
                    renewed = true;
                    self.renew_link().await?;
                }
                Attempt::Broken { error, asked } => match patience.wait(asked) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(error.context(self.kept(&part))),
                },
            }
        }
        self.bar.set_position(part.offset());
        Ok(part)
    }

    fn kept(&self, part: &Part) -> String {
        let (name, offset) = (self.target.display(), part.offset());
        format!("{name}: {offset} of {} bytes are kept, and the same command goes on from there", self.expected.len)
    }

    async fn renew_link(&mut self) -> anyhow::Result<()> {
        let renewed = self.api.renew_links(self.dissemination_id).await.context("the link is not accepted any more")?;
        let file = renewed
            .files
            .get(self.index)
            .filter(|file| expected(file).is_ok_and(|expected| expected.checksum == self.expected.checksum));
        let Some(file) = file else {
            return Err(told(Exit::Conflict, "the delivery holds other files than before: order the package again"));
        };
        self.link = link(file)?;
        Ok(())
    }

    /// One request, from the first byte that is missing.
    async fn attempt(&self, mut part: Part) -> anyhow::Result<(Part, Attempt)> {
        let mut request = self.api.http().get(self.link.clone());
        if part.offset() > 0 {
            request = request.header(RANGE, format!("bytes={}-", part.offset()));
            request = part.etag().into_iter().fold(request, |request, etag| request.header(IF_RANGE, etag));
        }
        let response = match request.send().await.map_err(reqwest::Error::without_url) {
            Ok(response) => response,
            Err(error) => return Ok((part, Attempt::Broken { error: unreachable(error), asked: None })),
        };
        let status = response.status();
        match status {
            StatusCode::OK if part.offset() > 0 => part.restart()?,
            StatusCode::OK => {}
            StatusCode::PARTIAL_CONTENT => self.check_range(&part, response.headers())?,
            StatusCode::RANGE_NOT_SATISFIABLE if part.offset() > 0 => return Ok((part, Attempt::BeginAnew)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Ok((part, Attempt::LinkExpired(status)));
            }
            _ if is_passing(status) => {
                let error = told(Exit::Again, format!("the server answered {status}"));
                return Ok((part, Attempt::Broken { error, asked: retry_after(&response) }));
            }
            _ => return Err(told(Exit::Failure, format!("the server answered {status} to the link"))),
        }
        part.note_etag(strong_etag(response.headers()))?;
        self.receive(part, response).await
    }

    /// An answer with another part than the one that was asked for would make a wrong file.
    fn check_range(&self, part: &Part, headers: &HeaderMap) -> anyhow::Result<()> {
        let found = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let last = self.expected.len.saturating_sub(1);
        let wanted = format!("bytes {}-{last}/{}", part.offset(), self.expected.len);
        if found == wanted {
            return Ok(());
        }
        let message = format!("the server answered with {:?} where {wanted:?} was asked for", plain(found));
        Err(told(Exit::Damage, message))
    }

    /// Writes and hashes on a thread of its own while the next bytes arrive.
    async fn receive(&self, mut part: Part, mut response: Response) -> anyhow::Result<(Part, Attempt)> {
        let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES_AHEAD);
        let mut missing = part.missing();
        let name = self.target.display().to_string();
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(piece) = pieces.blocking_recv() {
                part.append(&piece).with_context(|| format!("{name} cannot be written"))?;
            }
            anyhow::Ok(part)
        });
        let ended = loop {
            match response.chunk().await {
                Ok(Some(piece)) if piece.len() as u64 > missing => break Ok(true),
                Ok(Some(piece)) => {
                    missing -= piece.len() as u64;
                    self.bar.inc(piece.len() as u64);
                    // The writer is gone when it failed; its error is told below.
                    if sender.send(piece).await.is_err() {
                        break Ok(false);
                    }
                }
                Ok(None) => break Ok(false),
                Err(error) => break Err(error.without_url()),
            }
        };
        drop(sender);
        let part = writing.await.context("the writing thread ended in a panic")??;
        let attempt = match ended {
            Ok(true) => {
                let message = format!("{}: more came than {} bytes", self.target.display(), self.expected.len);
                return Err(told(Exit::Damage, message));
            }
            Ok(false) if part.missing() == 0 => Attempt::Complete,
            Ok(false) => Attempt::Broken { error: told(Exit::Again, "the answer ended early"), asked: None },
            Err(_) if part.missing() == 0 => Attempt::Complete,
            Err(error) => Attempt::Broken { error: unreachable(error), asked: None },
        };
        Ok((part, attempt))
    }
}

/// What a delivered file must be, by what the server says of it.
fn expected(file: &DeliveredFile) -> anyhow::Result<Expected> {
    let told_name = &file.checksum_algorithm;
    let name = told_name.to_ascii_lowercase();
    let squeezed = name.strip_prefix("sha-").map_or_else(|| name.clone(), |bits| format!("sha{bits}"));
    let algorithm = Algorithm::from_name(&squeezed)
        .with_context(|| format!("{} has a checksum of an unknown kind: {told_name:?}", file.filename))?;
    let checksum = Digest::parse(algorithm, &file.checksum)
        .with_context(|| format!("{} has a checksum that is none", file.filename))?;
    Ok(Expected { len: file.filesize, algorithm, checksum })
}

/// The link, which is a credential: no error shows it.
fn link(file: &DeliveredFile) -> anyhow::Result<Url> {
    Url::parse(&file.download_url).with_context(|| format!("{} has a link that is none", file.filename))
}

/// A strong entity tag: a weak one does not promise the same bytes, and must not stand in `If-Range`.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(ETAG)?.to_str().ok()?;
    etag.starts_with('"').then(|| etag.to_owned())
}

/// The name under which a delivered file is saved: a plain name, or nothing. A server must not choose a path.
pub(crate) fn safe_name(name: &str) -> anyhow::Result<&Path> {
    let bad = name.is_empty()
        || name.starts_with('.')
        || name.len() > 240
        || name.contains(['/', '\\'])
        || name.chars().any(char::is_control);
    if bad {
        Err(told(Exit::Failure, format!("the server names a file {name:?}: name another with --output")))
    } else {
        Ok(Path::new(name))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a thread ended in a panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", ".", "..", "../a", "/etc/passwd", "a/b", "a\\b", ".bashrc", "a\nb", &"x".repeat(241)] {
            assert!(safe_name(name).is_err(), "{name:?}");
        }
        assert!(safe_name("digifoto 1 – blåbær.tar").is_ok());
    }

    #[test]
    fn checksums_are_read_by_their_names_on_the_wire() {
        let file = |algorithm: &str, checksum: String| DeliveredFile {
            download_url: "http://localhost/".to_owned(),
            filename: "a".to_owned(),
            filesize: 1,
            checksum,
            checksum_algorithm: algorithm.to_owned(),
        };
        let table = [("MD5", 32), ("md5", 32), ("SHA-1", 40), ("SHA-256", 64), ("sha512", 128), ("BLAKE2b-160", 40)];
        for (name, len) in table {
            assert!(expected(&file(name, "a".repeat(len))).is_ok(), "{name}");
            assert!(expected(&file(name, "a".repeat(len - 2))).is_err(), "{name}");
        }
        assert!(expected(&file("CRC32", "a".repeat(8))).is_err());
    }
}
