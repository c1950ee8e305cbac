//! Inventories written and read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use dipper_archive::digest::{Algorithm, Digest, Hasher};
use dipper_archive::ocfl::inventory::InventoryBuilder;
use dipper_archive::ocfl::{Inventory, SpecVersion, User, VersionNumber, VersionRecord};
use proptest::prelude::*;

fn digest(algorithm: Algorithm, seed: u8) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(&[seed]);
    hasher.finish()
}

fn record(message: Option<String>, name: Option<String>) -> VersionRecord {
    let user = name.filter(|name| !name.is_empty()).map(|name| User { name, address: None });
    VersionRecord { created: "2026-01-31T08:00:00Z".to_owned(), message, user }
}

prop_compose! {
    /// Versions as maps of file names to contents, of which there are few, so that many are the same.
    fn histories()(versions in prop::collection::vec(
        (prop::collection::btree_map("[^/\u{0}.]{1,12}", 0_u8..20, 0..12), any::<Option<String>>(), any::<Option<String>>()),
        1..5,
    )) -> Vec<(BTreeMap<String, u8>, Option<String>, Option<String>)> {
        versions
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(history in histories(), id in "[a-z]{1,5}:.{1,20}", old in any::<bool>()) {
        let mut builder = InventoryBuilder::new(&id);
        let algorithm = if old { Algorithm::Sha256 } else { Algorithm::Sha512 };
        builder.declare(if old { SpecVersion::V1_0 } else { SpecVersion::V1_1 }, algorithm, old.then_some("data"));
        let directory = if old { "data" } else { "content" };
        let mut seen = std::collections::BTreeSet::new();
        for (index, (files, message, name)) in history.iter().enumerate() {
            let number = VersionNumber::new(index as u32 + 1);
            for (path, seed) in files {
                if seen.insert(*seed) {
                    let content = format!("{number}/{directory}/{path}");
                    builder.add_content(digest(algorithm, *seed), content.as_str());
                    builder.add_fixity(Algorithm::Md5, content.as_str(), digest(Algorithm::Md5, *seed));
                }
            }
            let state = files.iter().map(|(path, seed)| (Arc::from(path.as_str()), digest(algorithm, *seed)));
            builder.add_version(number, record(message.clone(), name.clone()), state.collect());
        }
        let inventory = builder.finish().unwrap();
        let json = inventory.to_json();
        let read = Inventory::read(&json);
        prop_assert_eq!(read.as_ref(), Ok(&inventory));
        let read = read.unwrap();
        prop_assert_eq!(read.to_json(), json);
        prop_assert_eq!(InventoryBuilder::after(&read).finish().unwrap(), inventory);
        for (index, (files, message, _)) in history.iter().enumerate() {
            let number = index as u32 + 1;
            let found: BTreeMap<_, _> = read.files(number).map(|file| (file.logical_path.to_owned(), *file.digest)).collect();
            let expected = files.iter().map(|(path, seed)| (path.clone(), digest(algorithm, *seed))).collect();
            prop_assert_eq!(found, expected);
            prop_assert!(read.files(number).is_sorted_by(|one, two| one.logical_path < two.logical_path));
            prop_assert_eq!(read.version(number).unwrap().message(), message.as_deref());
            for file in read.files(number) {
                prop_assert!(read.content_paths(file.digest).any(|path| path == file.content_path));
                prop_assert!(read.fixity_of(Algorithm::Md5, file.content_path).is_some());
            }
        }
    }

    #[test]
    fn no_bytes_bring_the_reader_down(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..2000) {
        let _ = Inventory::parse(&bytes);
        let whole = br#"{"id":"urn:a","type":"https://ocfl.io/1.1/spec/#inventory","digestAlgorithm":"sha512","head":"v1","manifest":{},"versions":{"v1":{"created":"2026-01-31T08:00:00Z","state":{}}}}"#;
        let cut = cut.min(whole.len() - 1);
        prop_assert!(Inventory::read(&whole[..cut]).is_err());
    }
}
