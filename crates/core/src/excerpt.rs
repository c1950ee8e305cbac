//! Excerpts: files and folders of a package that somebody has chosen, so that they alone are delivered.

use dipper_archive::digest::{Algorithm, Hasher};

use crate::sentence::sentence;

/// How many files and folders can be chosen at a time.
pub const MOST_ENTRIES: usize = 10_000;
/// How long their paths can be together.
pub const MOST_BYTES: usize = 1024 * 1024;

/// What ends the path of a folder, and begins that of what is in it.
const FOLDER_END: char = '/';
/// What stands between two entries where they are stored. No path that can be delivered holds it.
const SEPARATOR: char = '\0';

/// Files and folders of a version or of the surface of a package. Equal choices are equal, in whatever order they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Sorted; the path of a folder ends with `/`, and nothing else that is chosen lies in it.
    entries: Vec<String>,
}

/// Why a choice is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExcerptError {
    /// Nothing was chosen.
    #[error("nothing is chosen: choose files or folders, or order the whole")]
    Nothing,
    /// More than can be ordered at a time.
    #[error(
        "too much is chosen one by one: at most {MOST_ENTRIES} files and folders, with paths of {MOST_BYTES} bytes \
         together; choose folders instead of their files"
    )]
    TooMuch,
    /// No file or folder has such a path.
    #[error("{0:?} is no path of a file or folder")]
    Path(String),
}

impl Excerpt {
    /// Of these files and folders, by their paths. A folder stands for all that is in it, at whatever depth.
    pub fn new(
        files: impl IntoIterator<Item = String>,
        folders: impl IntoIterator<Item = String>,
    ) -> Result<Excerpt, ExcerptError> {
        let files = files.into_iter().map(|path| (path, false));
        let folders = folders.into_iter().map(|path| (path.trim_end_matches(FOLDER_END).to_owned(), true));
        let (mut entries, mut bytes) = (Vec::new(), 0_usize);
        for (path, is_folder) in files.chain(folders) {
            if path.is_empty() || path.ends_with(FOLDER_END) || path.contains(SEPARATOR) {
                return Err(ExcerptError::Path(path));
            }
            bytes = bytes.saturating_add(path.len() + 1);
            if entries.len() == MOST_ENTRIES || bytes > MOST_BYTES {
                return Err(ExcerptError::TooMuch);
            }
            entries.push(if is_folder { path + "/" } else { path });
        }
        Excerpt::of_entries(entries).ok_or(ExcerptError::Nothing)
    }

    fn of_entries(mut entries: Vec<String>) -> Option<Excerpt> {
        entries.sort_unstable();
        let mut kept: Vec<String> = Vec::with_capacity(entries.len());
        // What lies in a folder comes right behind it.
        for entry in entries {
            let covered = kept
                .last()
                .is_some_and(|last| *last == entry || (last.ends_with(FOLDER_END) && entry.starts_with(last.as_str())));
            if !covered {
                kept.push(entry);
            }
        }
        (!kept.is_empty()).then_some(Excerpt { entries: kept })
    }

    /// What is chosen, sorted. The paths of folders end with `/`.
    pub fn entries(&self) -> &[String] {
        &self.entries
    }

    /// Whether a file is chosen, itself or with a folder that it lies in.
    pub fn holds(&self, path: &str) -> bool {
        let has = |wanted: &str| self.entries.binary_search_by(|entry| entry.as_str().cmp(wanted)).is_ok();
        let mut folders = path.match_indices(FOLDER_END).filter_map(|(end, _)| path.get(..=end));
        has(path) || folders.any(has)
    }

    /// A text that is the same for the same choice, and another for every other.
    pub fn fingerprint(&self) -> String {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&self.to_bytes());
        hasher.finish().to_string()
    }

    /// A short name that tells what it is: the name of the file or folder if one alone is chosen, and the beginning of the
    /// fingerprint.
    pub fn name(&self) -> String {
        const LONGEST_BYTES: usize = 60;
        const FINGERPRINT_BYTES: usize = 8;
        let chosen = match self.entries.as_slice() {
            [only] => only.trim_end_matches(FOLDER_END).rsplit(FOLDER_END).next().unwrap_or_default(),
            _ => "excerpt",
        };
        let mut name = String::new();
        for character in chosen.chars() {
            let plain = character.is_alphanumeric() || "._-".contains(character);
            let character = if plain { character } else { '_' };
            if name.len() + character.len_utf8() > LONGEST_BYTES {
                break;
            }
            name.push(character);
        }
        let fingerprint = self.fingerprint();
        format!("{name}-{}", fingerprint.get(..FINGERPRINT_BYTES).unwrap_or(&fingerprint))
    }

    /// What is chosen, for people: the beginning of a long list.
    pub fn told(&self) -> String {
        const SHOWN: usize = 5;
        let shown: Vec<&str> = self.entries.iter().take(SHOWN).map(String::as_str).collect();
        match self.entries.len().saturating_sub(SHOWN) {
            0 => shown.join(", "),
            more => sentence!("{} and {more} more", shown.join(", ")),
        }
    }

    /// As it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.entries.join("\0").into_bytes()
    }

    /// What was stored.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Excerpt> {
        let text = String::from_utf8(bytes).ok()?;
        Excerpt::of_entries(text.split(SEPARATOR).filter(|entry| !entry.is_empty()).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn excerpt(files: &[&str], folders: &[&str]) -> Result<Excerpt, ExcerptError> {
        let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        Excerpt::new(owned(files), owned(folders))
    }

    #[test]
    fn a_folder_stands_for_all_that_is_in_it() {
        let chosen = excerpt(&["b.txt", "a/x", "a-b", "b.txt"], &["a/", "a/deep", "c"]).expect("a choice");
        assert_eq!(chosen.entries(), ["a-b", "a/", "b.txt", "c/"]);
        let table =
            [("a/x", true), ("a/deep/y", true), ("a", false), ("a-b", true), ("b", false), ("c", false), ("c/d", true)];
        for (path, expected) in table {
            assert_eq!(chosen.holds(path), expected, "{path}");
        }
        assert_eq!(chosen.told(), "a-b, a/, b.txt, c/");
    }

    #[test]
    fn what_is_no_choice_is_refused() {
        assert_eq!(excerpt(&[], &[]), Err(ExcerptError::Nothing));
        for wrong in ["", "a/", "a\0b"] {
            assert_eq!(excerpt(&[wrong], &[]), Err(ExcerptError::Path(wrong.to_owned())));
        }
        assert_eq!(excerpt(&[], &["/"]), Err(ExcerptError::Path(String::new())));
        let many = (0..=MOST_ENTRIES).map(|number| number.to_string());
        assert_eq!(Excerpt::new(many, []), Err(ExcerptError::TooMuch));
        let long = (0..3).map(|number| number.to_string() + &"a".repeat(MOST_BYTES / 3));
        assert_eq!(Excerpt::new(long, []), Err(ExcerptError::TooMuch));
    }

    #[test]
    fn names_tell_what_was_chosen() {
        let table: [(&[&str], &[&str], &str); 4] = [
            (&[], &["data/letters 1850"], "letters_1850-"),
            (&["a/b/page 1.tif"], &[], "page_1.tif-"),
            (&["a", "b"], &[], "excerpt-"),
            (&["x/blåbær"], &[], "blåbær-"),
        ];
        for (files, folders, expected) in table {
            let name = excerpt(files, folders).expect("a choice").name();
            assert_eq!((name.starts_with(expected), name.len()), (true, expected.len() + 8), "{name}");
        }
        assert!(excerpt(&[&"ø".repeat(200)], &[]).expect("a choice").name().len() <= 69);
    }

    proptest! {
        /// The choice holds a path exactly if that is named, or a folder above it is; and it is stored without loss.
        #[test]
        fn a_choice_is_what_was_named(
            files in prop::collection::vec("[ab.]{1,2}(/[ab.-]{1,2}){0,2}", 0..6),
            folders in prop::collection::vec("[ab.]{1,2}(/[ab.-]{1,2}){0,2}", 0..6),
            path in "[ab.]{1,2}(/[ab.-]{1,2}){0,3}",
        ) {
            let named = files.contains(&path) || folders.iter().any(|folder| path.starts_with(&format!("{folder}/")));
            match Excerpt::new(files.clone(), folders.clone()) {
                Ok(excerpt) => {
                    prop_assert_eq!(excerpt.holds(&path), named);
                    prop_assert_eq!(Excerpt::from_bytes(excerpt.to_bytes()), Some(excerpt.clone()));
                    let again = Excerpt::new(files.into_iter().rev(), folders.into_iter().rev());
                    prop_assert_eq!(again.map(|again| again.fingerprint()), Ok(excerpt.fingerprint()));
                }
                Err(error) => prop_assert_eq!((error, files.len() + folders.len()), (ExcerptError::Nothing, 0)),
            }
        }
    }
}
