//! What a sender is told of a file that was not accepted: every problem by name, with what to do about it.

use std::path::Path;

use dipper_archive::bagit::{OpenError, Problem};

use crate::db::submissions::Submission;
use crate::ingest::IngestError;
use crate::naming::NamingError;
use crate::time::Timestamp;

/// How the names of reports end.
const END: &str = ".report.txt";
/// The longest name of a file, in bytes.
const LONGEST_NAME_BYTES: usize = 255;
/// More problems than anybody reads; the others are counted.
const MOST_PROBLEMS: usize = 10_000;
/// How much of it stands in the catalogue.
const SUMMARY_PROBLEMS: usize = 5;
const SUMMARY_CHARACTERS: usize = 2000;

/// Whether a file of that name is a report.
pub(super) fn is_report(name: &str) -> bool {
    name.ends_with(END)
}

/// The path of the report on the file with a path.
pub(super) fn beside(path: &str) -> String {
    let (directory, name) = path.rsplit_once('/').map_or(("", path), |(directory, name)| (directory, name));
    let mut longest = name.len().min(LONGEST_NAME_BYTES - END.len());
    while !name.is_char_boundary(longest) {
        longest -= 1;
    }
    let name = name.get(..longest).unwrap_or(name);
    if directory.is_empty() { format!("{name}{END}") } else { format!("{directory}/{name}{END}") }
}

/// Why a file is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong, and what to do about it.
    problems: Vec<(String, &'static str)>,
}

impl Refusal {
    /// A single reason.
    pub(super) fn new(problem: String, remedy: &'static str) -> Refusal {
        Refusal { problems: vec![(problem, remedy)] }
    }

    /// What an ingest that failed says about the file, which lies at a place that nobody outside need know; nothing when it
    /// is not the file's fault.
    pub(super) fn of(error: &IngestError, file: &Path, name: &str) -> Option<Refusal> {
        let told = |text: String| text.replace(&format!("{file:?}"), name).replace(&file.display().to_string(), name);
        let one = |remedy| Some(Refusal::new(told(error.to_string()), remedy));
        match error {
            IngestError::Invalid { report, .. } => {
                let problems = report.errors.iter();
                let problems = problems.map(|finding| (finding.to_string(), remedy(&finding.problem))).collect();
                Some(Refusal { problems })
            }
            IngestError::Open(OpenError::Io { source, .. }) if source.raw_os_error().is_some() => None,
            IngestError::Open(error) => one(remedy_opening(error)),
            IngestError::Broken(_) => one(BROKEN),
            IngestError::Empty(_) => one("Hand in a bag that holds files."),
            IngestError::Naming(NamingError::Database(_)) => None,
            IngestError::Naming(_) => one("Correct the External-Identifier in bag-info.txt, or leave it out."),
            IngestError::ObjectId(_) | IngestError::Label(_) => one("Give the file another name."),
            IngestError::LabelTaken { .. } => one("Give the version another label."),
            IngestError::ContractUnknown(_)
            | IngestError::Source(_)
            | IngestError::Busy(_)
            | IngestError::Full(_)
            | IngestError::Cancelled
            | IngestError::Archive(_)
            | IngestError::Database(_) => None,
        }
    }

    /// The first problems, in so many words as the catalogue keeps.
    pub(super) fn summary(&self) -> String {
        let first: Vec<&str> = self.problems.iter().take(SUMMARY_PROBLEMS).map(|(what, _)| what.as_str()).collect();
        let mut text = first.join("\n");
        let left = self.problems.len().saturating_sub(SUMMARY_PROBLEMS);
        if left > 0 {
            text.push_str(&format!("\nand {left} more"));
        }
        if let Some((end, _)) = text.char_indices().nth(SUMMARY_CHARACTERS) {
            text.truncate(end);
        }
        text
    }

    /// The report on a file.
    pub(super) fn text(&self, submission: &Submission, now: Timestamp) -> String {
        let count = self.problems.len();
        let problems = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
        let mut text = format!(
            "{}\n\nThis file was not accepted, and nothing of it was stored. {problems} found:\n\n",
            submission.name
        );
        for (number, (what, remedy)) in self.problems.iter().take(MOST_PROBLEMS).enumerate() {
            text.push_str(&format!("{}. {what}\n   {remedy}\n\n", number + 1));
        }
        if count > MOST_PROBLEMS {
            text.push_str(&format!("… and {} more\n\n", count - MOST_PROBLEMS));
        }
        text.push_str(&format!(
            "Put the corrected file here under the same name: it is looked at again then, and this report is removed once \
             it is accepted.\nTo have the file looked at again as it is, delete this report.\n\n\
             Looked at: {now}\nSubmission: {}\n",
            submission.id
        ));
        text
    }
}

const BROKEN: &str = "The archive is damaged or was cut off: pack it anew, compare its checksum, and send it again.";

/// What to do about an archive that cannot be opened.
fn remedy_opening(error: &OpenError) -> &'static str {
    match error {
        OpenError::Io { .. } | OpenError::Archive { .. } => BROKEN,
        OpenError::NotAnArchive { .. } | OpenError::NotABag { .. } => {
            "Hand in a BagIt bag, packed as .tar, .tar.gz or .zip with one directory at its top."
        }
        OpenError::BesideTheBag { .. } => "Pack the directory of the bag, and nothing else.",
        OpenError::Path { .. } => "Rename the entry, and pack the archive anew.",
        OpenError::EntryKind { .. } => "Put the file itself into the archive instead of the link or device.",
        OpenError::Duplicate { .. } => "Remove one of the two, and pack the archive anew.",
        OpenError::TooMany { .. } | OpenError::TooLarge { .. } | OpenError::TagFileTooLarge { .. } => {
            "Divide it into several packages, or ask the archive for other limits."
        }
    }
}

/// What to do about a problem with a file of a bag.
fn remedy(problem: &Problem) -> &'static str {
    match problem {
        Problem::Required | Problem::Missing | Problem::SystemFileMissing => {
            "Add the file to the bag, or make the bag anew without it."
        }
        Problem::NotFetched { .. } => "Fetch the file and put it into the bag: nothing is fetched from elsewhere.",
        Problem::NotListed { .. } => "Add the file to every payload manifest, or remove it from the bag.",
        Problem::NoManifest | Problem::UnknownAlgorithm => {
            "Make the bag with a payload manifest in sha512, sha256 or md5."
        }
        Problem::Checksum { .. } => {
            "Compare the file with the original: if it is right, make the manifest anew; if not, replace the file."
        }
        Problem::Size { .. } | Problem::Oxum { .. } | Problem::OxumForm { .. } | Problem::OxumTwice => {
            "Complete the payload, or correct Payload-Oxum in bag-info.txt or the length in fetch.txt."
        }
        Problem::Declaration { .. } | Problem::Version { .. } => {
            "Correct bagit.txt: two lines, `BagIt-Version: 1.0` and `Tag-File-Character-Encoding: UTF-8`."
        }
        Problem::Encoding { .. } | Problem::UnknownEncoding { .. } => {
            "Save the file in the encoding that bagit.txt names: UTF-8 is best."
        }
        Problem::Collision { .. } | Problem::OtherSpelling { .. } => {
            "Rename the file, or correct its name in the manifest, so that both are the same."
        }
        Problem::ManifestLine { .. }
        | Problem::Scope { .. }
        | Problem::ListedTwice { .. }
        | Problem::ListedDifferently { .. }
        | Problem::DotSlash { .. }
        | Problem::Asterisk { .. }
        | Problem::Percent { .. }
        | Problem::TagManifestScope { .. }
        | Problem::FetchLine { .. }
        | Problem::FetchUnlisted { .. }
        | Problem::InfoLine { .. } => "Correct the line, or make the bag anew with a tool for BagIt 1.0.",
        Problem::SystemFile => "Remove the file, and make the bag anew.",
        Problem::Changed | Problem::Unreadable { .. } => BROKEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_name_of_its_file_as_far_as_there_is_room() {
        assert_eq!(beside("a.tar"), "a.tar.report.txt");
        assert_eq!(beside("sub/a.tar"), "sub/a.tar.report.txt");
        let long = beside(&format!("sub/{}x", "ä".repeat(126)));
        let name = long.strip_prefix("sub/").unwrap_or_default();
        assert!(name.len() <= 255 && name.starts_with("ää") && is_report(name), "{name}");
    }

    #[test]
    fn a_sender_is_not_told_where_the_file_lies() {
        let file = Path::new("/srv/areas/.incoming/c/0/März \"1\".tar");
        let error = IngestError::Open(OpenError::NotABag { path: file.to_owned() });
        let refusal = Refusal::of(&error, file, "März \"1\".tar").expect("a refusal");
        assert!(!refusal.summary().contains("/srv"), "{}", refusal.summary());
        assert!(refusal.summary().starts_with("März \"1\".tar holds no bag"), "{}", refusal.summary());
        let passing = std::io::Error::from_raw_os_error(5);
        let passing = IngestError::Open(OpenError::Io { path: file.to_owned(), source: passing });
        assert_eq!(Refusal::of(&passing, file, "x"), None);
    }

    #[test]
    fn what_the_catalogue_keeps_is_short() {
        let problems = (0..100).map(|number| ("ä".repeat(1000) + &number.to_string(), BROKEN)).collect();
        let summary = Refusal { problems }.summary();
        assert_eq!(summary.chars().count(), SUMMARY_CHARACTERS);
    }
}
