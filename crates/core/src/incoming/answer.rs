//! The answer to a list: a file in the outgoing directory, under the list's own name. It counts for the quota, and is removed
//! like what was ordered.

use std::io;
use std::path::Path;
use std::sync::Arc;

use dipper_archive::publish;
use tracing::info;

use super::agent;
use super::list::{List, ListError, ListReader};
use super::pickup::{PickupError, blocking, clear};
use super::report::Refusal;
use super::work::{Ended, Job};
use crate::db::area_files::{self, AreaFile};
use crate::db::events::{Event, EventKind};
use crate::db::submissions::{self, Outcome, Submission, SubmissionState};
use crate::db::{Transaction, contracts, events};
use crate::installation::Installation;

/// What becomes of an answer.
enum Placed {
    Here,
    NoRoom { quota_bytes: u64 },
    Left,
}

impl Job {
    /// Has the list answered, and puts the answer where its sender finds it.
    pub(super) async fn answer(&self, reader: &Arc<dyn ListReader>) -> Result<Ended, PickupError> {
        let Submission { id, contract_id, name, stamp, .. } = &self.submission;
        let longest = reader.longest_bytes();
        if stamp.size_bytes > longest {
            let problem = format!("{name} has {} bytes, and lists of up to {longest} bytes are read", stamp.size_bytes);
            return self.refuse(&Refusal::new(problem, "Divide the list into several files.")).await;
        }
        let file = self.shelf.file();
        let bytes = blocking(move || std::fs::read(file)).await?;
        let answer = match reader.answer(List { contract_id, name, bytes: &bytes }).await {
            Ok(answer) => answer,
            Err(ListError::Refused(problem)) => {
                return self.refuse(&Refusal::new(problem, "Correct the file, and send it again.")).await;
            }
            Err(ListError::Passing(reason)) => return self.postpone(&reason).await,
        };
        if self.halt.is_cancelled() {
            return Ok(Ended::Left);
        }
        match self.place(answer).await? {
            Placed::Left => Ok(Ended::Left),
            Placed::NoRoom { quota_bytes } => {
                let problem =
                    format!("the answer has no room in the outgoing directory, which may hold {quota_bytes} bytes");
                let remedy = "Fetch what lies there; it is removed some time later. Then send the list again.";
                self.refuse(&Refusal::new(problem, remedy)).await
            }
            Placed::Here => {
                info!(submission_id = %id, %contract_id, %name, "list answered");
                clear(&self.installation.database, &self.submission, self.shelf.clone()).await?;
                Ok(Ended::Answered)
            }
        }
    }

    /// Before the rename nothing is visible, and after it the file is whole. If the transaction that holds the rename does
    /// not come about, the list is answered and the answer renamed once more.
    async fn place(&self, answer: Vec<u8>) -> Result<Placed, PickupError> {
        let Installation { database, clock, settings, areas, .. } = self.installation.as_ref();
        let Submission { id, contract_id, name, .. } = &self.submission;
        let size_bytes = answer.len() as u64;
        let staged = areas.staging().join(format!("{id}.list"));
        let staging = staged.clone();
        blocking(move || stage(&staging, &answer)).await?;
        let now = clock.now();
        let mut transaction = database.begin().await?;
        contracts::lock(&mut transaction, contract_id).await?;
        let quota = contracts::quota(&mut transaction, contract_id).await?.unwrap_or(settings.area.quota_bytes);
        let file = AreaFile {
            order_id: id.clone(),
            contract_id: contract_id.clone(),
            name: name.clone(),
            // A later answer always takes the place of an earlier one.
            version: 1,
            size_bytes,
            reserved: now,
            placed: None,
            fetched: None,
            removed: None,
        };
        if let Err(full) = area_files::reserve(&mut transaction, &file, quota).await? {
            drop(transaction);
            blocking(move || publish::discard_staged(&staged)).await?;
            return Ok(Placed::NoRoom { quota_bytes: full.quota_bytes });
        }
        area_files::place(&mut transaction, id, contract_id, name, file.version, now).await?;
        let outcome = Outcome { state: SubmissionState::Answered, reason: None, package: None };
        if !submissions::end(&mut transaction, id, &self.holder, &outcome, now).await? {
            return Ok(Placed::Left);
        }
        self.record(&mut transaction).await?;
        let (areas, contract_id, name) = (areas.clone(), contract_id.clone(), name.clone());
        blocking(move || publish::replace(&staged, &areas.ensure(&contract_id)?.outgoing().join(name))).await?;
        transaction.commit().await?;
        Ok(Placed::Here)
    }

    async fn record(&self, transaction: &mut Transaction) -> Result<(), PickupError> {
        let Submission { contract_id, path, .. } = &self.submission;
        let mut event = Event::new(EventKind::ListAnswered, self.installation.clock.now());
        event.agent = agent(contract_id);
        event.detail.clone_from(path);
        Ok(events::insert(transaction, &event).await?)
    }
}

fn stage(path: &Path, bytes: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), publish::create_closed_directories)?;
    publish::write_file(path, bytes)
}
