//! Packages in the storage root and the catalogue, written here byte by byte as OCFL 1.1 says, independently of the
//! code under test.

use std::path::PathBuf;

use dipper_archive::digest::{Algorithm, Hasher};
use dipper_archive::publish;
use dipper_core::db::identifiers::Names;
use dipper_core::db::packages::{self, Package, PackageState, Version};
use dipper_core::db::{contracts, identifiers};
use dipper_core::time::Timestamp;
use dipper_core::{identifier, ids};
use serde_json::{Map, json};

use super::support::Server;

/// A package that a test made.
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) content: PathBuf,
}

pub(crate) fn hex(algorithm: Algorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish().to_string()
}

impl Server {
    /// Stores a package with one version.
    pub(crate) async fn package(&self, contract_id: &str, object_id: &str, files: &[(&str, &[u8])]) -> Stored {
        let ocfl_id = ids::ocfl_id(contract_id, object_id);
        let location = self.installation.archive.layout().expect("a layout").object_path(&ocfl_id).expect("a path");
        let root = self.installation.data.archive().join(&location);
        let content = root.join("v1/content");
        let (mut manifest, mut state) = (Map::new(), Map::new());
        for (path, bytes) in files {
            let target = content.join(path);
            publish::create_directories(target.parent().expect("a directory")).expect("made");
            publish::write_file(&target, bytes).expect("written");
            let digest = hex(Algorithm::Sha512, bytes);
            for (map, path) in [(&mut manifest, format!("v1/content/{path}")), (&mut state, (*path).to_owned())] {
                let paths = map.entry(digest.clone()).or_insert_with(|| json!([]));
                paths.as_array_mut().expect("an array").push(path.into());
            }
        }
        let inventory = json!({
            "id": ocfl_id,
            "type": "https://ocfl.io/1.1/spec/#inventory",
            "digestAlgorithm": "sha512",
            "head": "v1",
            "manifest": manifest,
            "versions": { "v1": {
                "created": "2026-01-31T12:00:00Z",
                "message": "Deposited",
                "user": { "name": "test" },
                "state": state,
            } },
        });
        let inventory = inventory.to_string().into_bytes();
        let sidecar = format!("{} inventory.json\n", hex(Algorithm::Sha512, &inventory));
        for directory in [root.join("v1"), root.clone()] {
            publish::write_file(&directory.join("inventory.json"), &inventory).expect("written");
            publish::write_file(&directory.join("inventory.json.sha512"), sidecar.as_bytes()).expect("written");
        }
        publish::write_file(&root.join("0=ocfl_object_1.1"), b"ocfl_object_1.1\n").expect("written");
        let id = self.catalogue(contract_id, object_id, ocfl_id, location, files).await;
        Stored { id, content }
    }

    async fn catalogue(
        &self,
        contract_id: &str,
        object_id: &str,
        ocfl_id: String,
        location: String,
        files: &[(&str, &[u8])],
    ) -> String {
        let now = Timestamp::now();
        let (size_bytes, file_count) = (files.iter().map(|(_, bytes)| bytes.len() as u64).sum(), files.len() as u64);
        let package = Package {
            id: ids::package_id(&ocfl_id),
            contract_id: contract_id.to_owned(),
            object_id: object_id.to_owned(),
            identifier: identifier::make(&identifier::series("1", now), identifier::derived_serial(&ocfl_id, 0)),
            urn: None,
            ocfl_id,
            location,
            state: PackageState::Preserved,
            reason: None,
            head: 1,
            size_bytes,
            file_count,
            created: now,
            updated: now,
            verified: None,
        };
        let version = Version { number: 1, label: None, container_name: None, size_bytes, file_count, created: now };
        let mut transaction = self.database().begin().await.expect("begun");
        contracts::add(&mut transaction, contract_id, now).await.expect("added");
        let names = Names { identifier: package.identifier.clone(), urn: None };
        identifiers::settle(&mut transaction, &package.ocfl_id, &names, true).await.expect("named");
        packages::put(&mut transaction, &package, &[version]).await.expect("stored");
        transaction.commit().await.expect("committed");
        package.id
    }

    /// A package that the catalogue knows, and nobody opens.
    pub(crate) async fn listed_package(&self, contract_id: &str, object_id: &str) {
        let ocfl_id = ids::ocfl_id(contract_id, object_id);
        let location = format!("nowhere/{ocfl_id}");
        self.catalogue(contract_id, object_id, ocfl_id, location, &[("a", b"alpha")]).await;
    }

    /// A small package with three files.
    pub(crate) async fn small_package(&self, contract_id: &str, object_id: &str) -> Stored {
        let files: [(&str, &[u8]); 3] =
            [("METS.xml", b"<mets/>"), ("representations/r1/a.txt", b"alpha"), ("representations/r1/b.txt", b"beta")];
        self.package(contract_id, object_id, &files).await
    }

    /// Marks a package.
    pub(crate) async fn package_state(&self, id: &str, state: PackageState, reason: &str) {
        let mut transaction = self.database().begin().await.expect("begun");
        let reason = Some(reason.to_owned());
        packages::state_set(&mut transaction, id, state, reason, Timestamp::now()).await.expect("set");
        transaction.commit().await.expect("committed");
    }
}

impl Stored {
    /// Changes one bit of a stored file, as a failing disk does.
    pub(crate) fn flip(&self, path: &str, position: usize) {
        let path = self.content.join(path);
        let mut bytes = std::fs::read(&path).expect("read");
        bytes[position] ^= 1;
        publish::write_file(&path, &bytes).expect("written");
    }
}
