//! The sample package, which the program carries inside so that the demo runs wherever the program does.

use std::io;
use std::path::{Path, PathBuf};

use dipper_archive::publish;

/// The depositor's name for the sample.
pub(super) const OBJECT_ID: &str = "dipper-at-the-river";

macro_rules! sample {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../../../../samples/dipper-at-the-river/", $path)))),*]
    };
}

/// Every file of the bag with its content.
const FILES: &[(&str, &[u8])] = sample![
    "bag-info.txt",
    "bagit.txt",
    "data/README.md",
    "data/metadata/mets.xml",
    "data/representations/access/text-0001.txt",
    "data/representations/original/image-0001.png",
    "manifest-sha512.txt",
    "tagmanifest-sha512.txt",
];

/// Writes the bag into `directory`, and says where it is.
pub(super) fn unpack(directory: &Path) -> io::Result<PathBuf> {
    let bag = directory.join(OBJECT_ID);
    for (path, content) in FILES {
        let path = bag.join(path);
        if let Some(parent) = path.parent() {
            publish::create_directories(parent)?;
        }
        if std::fs::read(&path).is_ok_and(|found| found == *content) {
            continue;
        }
        publish::write_file(&path, content)?;
    }
    Ok(bag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dipper_archive::bagit::{self, Limits};

    #[test]
    fn the_sample_is_a_valid_bag_and_all_of_it_is_carried() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let bag = unpack(directory.path())?;
        assert_eq!(unpack(directory.path())?, bag);
        let report = bagit::validate(&bag, &Limits::default())?;
        assert!(report.is_valid() && report.warnings.is_empty(), "{report}");
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples").join(OBJECT_ID);
        let report = bagit::validate(&repository, &Limits::default())?;
        assert!(report.is_valid() && report.warnings.is_empty(), "{report}");
        Ok(())
    }
}
