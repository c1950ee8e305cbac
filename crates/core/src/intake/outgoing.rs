//! What lies in the outgoing directories of areas, for whoever may read their contracts.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use crate::caller::{Caller, Role};
use crate::db::area_files::{self, AreaFile};
use crate::db::deliveries::{self, Delivery, DeliveryFile};
use crate::intake::{Intake, IntakeError};
use crate::time::Timestamp;

/// Orders that are looked up at a time.
const BATCH: usize = 500;

/// A file in the outgoing directory of an area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingFile {
    /// The file.
    pub file: AreaFile,
    /// When it appeared.
    pub delivered: Timestamp,
    /// When it is removed, as things stand.
    pub expires: Timestamp,
    /// What is known of its bytes.
    pub content: Option<DeliveryFile>,
}

/// How full the area of a contract is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaUse {
    /// The contract.
    pub contract_id: String,
    /// How many bytes lie there, or have room reserved.
    pub used_bytes: u64,
    /// How many may lie there, if there is a bound.
    pub quota_bytes: Option<u64>,
}

/// A file in the outgoing directory of an area, open. What takes its name from now on is another.
#[derive(Debug)]
pub struct OpenedFile {
    /// The contract whose area it is in.
    pub contract_id: String,
    /// The file.
    pub file: File,
    /// When it was opened.
    pub opened: Timestamp,
}

/// Why a file is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// There is none of that name, as far as the caller may know.
    #[error("there is no file of this name, or it is kept no longer")]
    Unknown,
    /// It cannot be read now.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] crate::db::DatabaseError),
}

impl Intake {
    /// Everything that lies in the outgoing directories of the contracts that the caller may read, sorted by contract and
    /// name.
    pub async fn outgoing_list(&self, caller: &Caller) -> Result<Vec<OutgoingFile>, IntakeError> {
        let files = area_files::placed(&self.installation.database, &caller.grants.contracts(Role::Read), None).await?;
        self.outgoing_of(files).await
    }

    /// As [`Intake::outgoing_list`], at most `limit` files behind one, which is named by its contract and its name.
    pub async fn outgoing_page(
        &self,
        caller: &Caller,
        after: (&str, &str),
        limit: u32,
    ) -> Result<Vec<OutgoingFile>, IntakeError> {
        let contract_ids = caller.grants.contracts(Role::Read);
        let files = area_files::placed_after(&self.installation.database, &contract_ids, after, limit).await?;
        self.outgoing_of(files).await
    }

    /// How full the areas of the contracts are that the caller may read, sorted by contract.
    pub async fn area_use(&self, caller: &Caller) -> Result<Vec<AreaUse>, IntakeError> {
        let contract_ids = caller.grants.contracts(Role::Read);
        let uses = area_files::uses(&self.installation.database, &contract_ids).await?;
        let for_all = self.installation.settings.area.quota_bytes;
        let area_use = |(contract_id, used_bytes, quota): (String, u64, Option<u64>)| {
            let quota_bytes = Some(quota.unwrap_or(for_all)).filter(|bytes| *bytes > 0);
            AreaUse { contract_id, used_bytes, quota_bytes }
        };
        Ok(uses.into_iter().map(area_use).collect())
    }

    async fn outgoing_of(&self, files: Vec<AreaFile>) -> Result<Vec<OutgoingFile>, IntakeError> {
        let database = &self.installation.database;
        let ids: Vec<&str> = files.iter().map(|file| file.order_id.as_str()).collect();
        let mut deliveries: HashMap<String, Delivery> = HashMap::with_capacity(ids.len());
        for some in ids.chunks(BATCH) {
            let found = deliveries::of_orders(database, some).await?;
            deliveries.extend(found.into_iter().map(|delivery| (delivery.order_id.clone(), delivery)));
        }
        let area = &self.installation.settings.area;
        let listed = files.into_iter().filter_map(|file| {
            let delivered = file.placed?;
            let expires = match file.fetched {
                Some(fetched) => fetched.plus(area.kept_fetched),
                None => delivered.plus(area.kept),
            };
            let content = deliveries.remove(&file.order_id).and_then(|delivery| delivery.files.into_iter().next());
            Some(OutgoingFile { file, delivered, expires, content })
        });
        Ok(listed.collect())
    }

    /// Opens a file by its name. Names of packages are unique, and so are those of the files that are made of them.
    pub async fn outgoing_open(&self, caller: &Caller, name: &str) -> Result<OpenedFile, OutgoingError> {
        let contract_ids = caller.grants.contracts(Role::Read);
        let found = area_files::placed(&self.installation.database, &contract_ids, Some(name)).await?.pop();
        let contract_id = found.ok_or(OutgoingError::Unknown)?.contract_id;
        let opened = self.installation.clock.now();
        let (areas, contract, name) = (self.installation.areas.clone(), contract_id.clone(), name.to_owned());
        // The name is one that the catalogue has, so it leads nowhere else.
        let opening = tokio::task::spawn_blocking(move || File::open(areas.ensure(&contract)?.outgoing().join(name)));
        let opening = opening.await.map_err(|error| OutgoingError::Io(contract_id.clone(), io::Error::other(error)))?;
        match opening {
            Ok(file) => Ok(OpenedFile { contract_id, file, opened }),
            // It is removed before the catalogue says so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OutgoingError::Unknown),
            Err(error) => Err(OutgoingError::Io(contract_id, error)),
        }
    }
}
