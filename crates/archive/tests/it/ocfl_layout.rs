//! Storage layouts: the examples that each extension publishes, ids without a place, and configurations.
use std::sync::Arc;

use dipper_archive::digest::Algorithm;
use dipper_archive::ocfl::layout::{HashedTuples, OmitPrefixTuples};
use dipper_archive::ocfl::{Layout, StorageRoot};
use dipper_archive::storage::LocalStorage;
use proptest::prelude::*;

fn hashed(algorithm: Algorithm, size: usize, count: usize, short_object_root: bool) -> Layout {
    Layout::Hashed { tuples: HashedTuples { algorithm, size, count }, short_object_root }
}

fn hash_and_id(algorithm: Algorithm, size: usize, count: usize) -> Layout {
    Layout::HashAndId(HashedTuples { algorithm, size, count })
}

fn flat_omit(delimiter: &str) -> Layout {
    Layout::FlatOmitPrefix { delimiter: delimiter.to_owned() }
}

fn tuple_omit(delimiter: &str, size: usize, count: usize, pad_right: bool, reverse: bool) -> Layout {
    Layout::TupleOmitPrefix(OmitPrefixTuples { delimiter: delimiter.to_owned(), size, count, pad_right, reverse })
}

fn layouts() -> Vec<Layout> {
    vec![
        Layout::FlatDirect,
        hash_and_id(Algorithm::Sha256, 3, 3),
        hash_and_id(Algorithm::Md5, 2, 15),
        Layout::default(),
        hashed(Algorithm::Md5, 2, 15, true),
        hashed(Algorithm::Sha512, 0, 0, false),
        flat_omit(":"),
        tuple_omit(":", 4, 2, false, true),
        tuple_omit("edu/", 3, 3, true, false),
    ]
}

#[test]
fn published_examples() {
    use Algorithm::{Md5, Sha256};
    let (one, horrible) = ("object-01", "..hor/rib:le-$id");
    let (one_hash, horrible_hash) = (
        "3c0ff4240c1e116dba14c7627f2319b58aa3d77606d0d90dfc6161608ac987d4",
        "487326d8c2a3c0b885e23da1469b4d6671fd4e76978924b4443e9e3c316cda6d",
    );
    let long = "abcdefghij".repeat(26);
    let long_name =
        format!("{}-55b432806f4e270da0cf23815ed338742179002153cd8d896f23b3e2d8a14359", "abcdefghij".repeat(10));
    let long_101 = "abcdefghij".repeat(10) + "a";
    let long_101_name =
        format!("{}-5cc73e648fbcff136510e330871180922ddacf193b68fdeff855683a01464220", "abcdefghij".repeat(10));
    let table: Vec<(Layout, &str, String)> = vec![
        (Layout::FlatDirect, one, one.to_owned()),
        (Layout::FlatDirect, "..hor_rib:lé-$id", "..hor_rib:lé-$id".to_owned()),
        (hash_and_id(Sha256, 3, 3), one, format!("3c0/ff4/240/{one}")),
        (hash_and_id(Sha256, 3, 3), horrible, "487/326/d8c/%2e%2ehor%2frib%3ale-%24id".to_owned()),
        (hash_and_id(Sha256, 3, 3), "..Hor/rib:lè-$id", "373/529/21a/%2e%2eHor%2frib%3al%c3%a8-%24id".to_owned()),
        (hash_and_id(Sha256, 3, 3), &long, format!("55b/432/806/{long_name}")),
        (hash_and_id(Sha256, 3, 3), &long_101, format!("5cc/73e/648/{long_101_name}")),
        (hash_and_id(Md5, 2, 15), one, "ff/75/53/44/92/48/5e/ab/b3/9f/86/35/67/28/88/object-01".to_owned()),
        (
            hash_and_id(Md5, 2, 15),
            horrible,
            "08/31/97/66/fb/6c/29/35/dd/17/5b/94/26/77/17/%2e%2ehor%2frib%3ale-%24id".to_owned(),
        ),
        (hash_and_id(Md5, 5, 2), one, "ff755/34492/object-01".to_owned()),
        (hash_and_id(Sha256, 0, 0), horrible, "%2e%2ehor%2frib%3ale-%24id".to_owned()),
        (Layout::default(), one, format!("3c0/ff4/240/{one_hash}")),
        (Layout::default(), horrible, format!("487/326/d8c/{horrible_hash}")),
        (hashed(Md5, 2, 15, true), one, "ff/75/53/44/92/48/5e/ab/b3/9f/86/35/67/28/88/4e".to_owned()),
        (hashed(Md5, 2, 15, true), horrible, "08/31/97/66/fb/6c/29/35/dd/17/5b/94/26/77/17/e0".to_owned()),
        (hashed(Sha256, 0, 0, false), one, one_hash.to_owned()),
        (flat_omit(":"), "namespace:12887296", "12887296".to_owned()),
        (
            flat_omit(":"),
            "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "6e8bc430-9c3a-11d9-9669-0800200c9a66".to_owned(),
        ),
        (flat_omit("edu/"), "https://institution.edu/3448793", "3448793".to_owned()),
        (flat_omit("EDU/"), "https://institution.edu/abc/edu/f8.05v", "f8.05v".to_owned()),
        (tuple_omit(":", 4, 2, false, true), "namespace:12887296", "6927/8821/12887296".to_owned()),
        (
            tuple_omit(":", 4, 2, false, true),
            "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "66a9/c002/6e8bc430-9c3a-11d9-9669-0800200c9a66".to_owned(),
        ),
        (tuple_omit(":", 4, 2, false, true), "abc123", "321c/ba00/abc123".to_owned()),
        (tuple_omit("edu/", 3, 3, true, false), "https://institution.edu/3448793", "344/879/300/3448793".to_owned()),
        (
            tuple_omit("edu/", 3, 3, true, false),
            "https://institution.edu/abc/edu/f8.05v",
            "f8./05v/000/f8.05v".to_owned(),
        ),
    ];
    for (layout, id, expected) in table {
        assert_eq!(layout.object_path(id).as_deref(), Ok(expected.as_str()), "{} {id}", layout.name());
    }
}

#[test]
fn ids_without_a_place() {
    let long = "x".repeat(256);
    let table = [
        (Layout::FlatDirect, "info:fedora/object-01"),
        (Layout::FlatDirect, long.as_str()),
        (Layout::FlatDirect, ".."),
        (Layout::FlatDirect, ""),
        (Layout::default(), ""),
        (hash_and_id(Algorithm::Sha256, 3, 3), ""),
        (Layout::FlatDirect, "a\0b"),
        (Layout::FlatDirect, "extensions"),
        (flat_omit("info:"), "info:fedora/object-01"),
        (flat_omit("info:"), "https://example.org/info:/12345/x54xz321/s3/f8.05v"),
        (flat_omit(":"), "ends:with:"),
        (tuple_omit(":", 3, 3, false, false), "ends:with:"),
        (tuple_omit(":", 2, 2, true, false), "id:..x"),
        (tuple_omit(":", 10, 1, true, false), "id:extensions"),
    ];
    for (layout, id) in table {
        assert!(layout.object_path(id).is_err(), "{} {id:?}", layout.name());
    }
}

#[test]
fn a_root_remembers_its_layout() {
    for layout in layouts() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Arc::new(LocalStorage::open(directory.path()).unwrap());
        let staging = directory.path().with_extension("staging");
        StorageRoot::create(open(), &staging, layout.clone()).unwrap();
        let root = StorageRoot::open(open(), &staging).unwrap();
        assert_eq!(root.layout(), Some(&layout));
        assert!(StorageRoot::create(open(), &staging, layout).is_err(), "created over an existing root");
    }
}

#[test]
fn malformed_layouts_are_refused_and_foreign_ones_are_not_known() {
    let table: [(&str, &str, Result<bool, ()>); 12] = [
        ("0004-hashed-n-tuple-storage-layout", "", Ok(true)),
        ("0003-hash-and-id-n-tuple-storage-layout", "", Ok(true)),
        ("0002-flat-direct-storage-layout", "", Ok(true)),
        ("0006-flat-omit-prefix-storage-layout", "", Err(())),
        ("0006-flat-omit-prefix-storage-layout", r#""delimiter": """#, Err(())),
        ("0007-n-tuple-omit-prefix-storage-layout", "", Ok(true)),
        ("0007-n-tuple-omit-prefix-storage-layout", r#""zeroPadding": "middle""#, Err(())),
        ("0010-differential-n-tuple-omit-prefix-storage-layout", "", Ok(false)),
        ("0004-hashed-n-tuple-storage-layout", r#""tupleSize": 33"#, Err(())),
        ("0004-hashed-n-tuple-storage-layout", r#""tupleSize": 0"#, Err(())),
        ("0004-hashed-n-tuple-storage-layout", r#""digestAlgorithm": "crc32""#, Err(())),
        (
            "0004-hashed-n-tuple-storage-layout",
            r#""digestAlgorithm": "md5", "tupleSize": 2, "numberOfTuples": 16, "shortObjectRoot": true"#,
            Err(()),
        ),
    ];
    for (name, parameters, expected) in table {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir_all(root.join("extensions").join(name)).unwrap();
        std::fs::write(root.join("0=ocfl_1.1"), "ocfl_1.1\n").unwrap();
        std::fs::write(root.join("ocfl_layout.json"), format!(r#"{{"extension": "{name}", "description": ""}}"#))
            .unwrap();
        if !parameters.is_empty() {
            let config = format!(r#"{{"extensionName": "{name}", {parameters}}}"#);
            std::fs::write(root.join("extensions").join(name).join("config.json"), config).unwrap();
        }
        let opened = StorageRoot::open(Arc::new(LocalStorage::open(root).unwrap()), root);
        assert_eq!(opened.map(|root| root.layout().is_some()).map_err(|_| ()), expected, "{name} {parameters}");
    }
}

proptest! {
    #[test]
    fn a_place_is_always_inside_the_root_and_always_the_same(id in ".{0,300}", index in 0_usize..9) {
        let layout = &layouts()[index];
        if let Ok(path) = layout.object_path(&id) {
            prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..") && part.len() <= 255), "{}", path);
            prop_assert_eq!(layout.object_path(&id), Ok(path));
        }
    }

    #[test]
    fn hashed_layouts_place_every_id(id in ".+") {
        prop_assert!(Layout::default().object_path(&id).is_ok());
        prop_assert!(hash_and_id(Algorithm::Sha256, 3, 3).object_path(&id).is_ok());
    }
}
