//! What is wrong with an object or a storage root, in the specification's own codes.
//!
//! The codes are those of the OCFL 1.1 validation codes page; the sentences beside them are ours.

use std::fmt;

macro_rules! codes {
    ($($name:ident $rule:literal,)*) => {
        /// A code of the OCFL 1.1 validation codes: `E…` for what must be, `W…` for what should be.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $rule] $name,)*
        }

        impl Code {
            /// Every code that this validator can report.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code as the specification writes it.
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => stringify!($name),)* }
            }

            /// The rule in one sentence.
            pub fn rule(self) -> &'static str {
                match self { $(Code::$name => $rule,)* }
            }
        }
    };
}

codes! {
    E001 "An object root holds nothing but what the specification names.",
    E003 "An object has exactly one declaration file.",
    E004 "An object declaration ends in a version number of the specification.",
    E005 "An object declaration begins with 0=.",
    E006 "An object declaration is named 0=ocfl_object_ and a version of the specification.",
    E007 "An object declaration holds its own name after 0=, and a line feed.",
    E008 "An object has at least one version.",
    E009 "Versions begin at 1.",
    E010 "Versions are numbered without a gap.",
    E011 "A zero-padded version name has a zero after the v.",
    E012 "All version names of an object are padded to the same width, or none is.",
    E013 "A new version follows the naming of those before it.",
    E014 "Content paths name version directories as they are.",
    E015 "A version directory holds no other files than its inventory and the sidecar of it.",
    E016 "A version with content has a content directory.",
    E017 "contentDirectory has no slash in it.",
    E018 "contentDirectory is neither . nor ..",
    E019 "contentDirectory is set in the first version if it is set at all.",
    E020 "contentDirectory is the same in all versions.",
    E023 "Every file in a content directory stands in the manifest.",
    E024 "A content directory has no empty directories in it.",
    E025 "The content digest is sha512 or sha256.",
    E030 "A sha256 digest is written in hexadecimal.",
    E031 "A sha512 digest is written in hexadecimal.",
    E033 "An inventory is a JSON document of the specified structure.",
    E034 "An inventory is named inventory.json.",
    E036 "An inventory has the keys id, type, digestAlgorithm and head.",
    E037 "The id of an object is a text that does not change.",
    E038 "The type of an inventory is that of the specification version that the object declares.",
    E039 "Manifest and states use the digestAlgorithm.",
    E040 "head is the highest version.",
    E041 "An inventory has a manifest and versions.",
    E042 "Content paths lie in the content directory of a version of the object.",
    E043 "An inventory has the block versions.",
    E044 "The block versions is an object.",
    E046 "The keys of versions are the names of the version directories.",
    E047 "A version is described by an object.",
    E048 "A version has the keys created and state.",
    E049 "created is a date and time as in RFC 3339, with seconds and an offset.",
    E050 "The keys of a state are digests that stand in the manifest, written alike.",
    E051 "The values of a state are lists of logical paths.",
    E052 "A part of a logical path is not empty, . or ..",
    E053 "A logical path neither begins nor ends with a slash.",
    E054 "user is an object with a name.",
    E056 "The keys of fixity are digest algorithms.",
    E057 "A block of fixity has digests as keys and lists of content paths as values.",
    E058 "An inventory has a sidecar with its digest.",
    E059 "The sidecar is named after the inventory's digestAlgorithm.",
    E060 "The sidecar holds the digest of the inventory.",
    E061 "A sidecar holds a digest, white space and inventory.json.",
    E063 "An object root has an inventory.",
    E064 "The inventory in the object root is that of the newest version.",
    E066 "Earlier inventories describe the same states as the present one.",
    E067 "The extensions directory of an object holds directories only.",
    E069 "A storage root has a declaration file.",
    E070 "ocfl_layout.json has the keys extension and description.",
    E071 "ocfl_layout.json names a registered extension.",
    E072 "Directories above the objects hold no files.",
    E073 "A storage root has no empty directories.",
    E076 "A storage root has exactly one declaration file.",
    E077 "A storage root declaration ends in a version number of the specification.",
    E078 "A storage root declaration begins with 0=.",
    E079 "A storage root declaration is named 0=ocfl_ and a version of the specification.",
    E080 "A storage root declaration holds its own name after 0=, and a line feed.",
    E081 "Objects declare the root's version of the specification or an earlier one.",
    E083 "An id leads to one object root.",
    E084 "Directories between the root and the objects hold no files.",
    E085 "Every branch of the directories ends in an object.",
    E088 "A storage root has no directories but those that lead to objects, and extensions.",
    E090 "There are no links in a storage root.",
    E092 "The files of the manifest exist and have its digests.",
    E093 "The files of the fixity block exist and have its digests.",
    E094 "message is a text.",
    E095 "Logical paths of a version are unique, and none is the directory of another.",
    E096 "A digest stands in the manifest once, whatever its case.",
    E097 "A digest stands in a fixity block once, whatever its case.",
    E099 "A part of a content path is not empty, . or ..",
    E100 "A content path neither begins nor ends with a slash.",
    E101 "Content paths are unique, and none is the directory of another.",
    E102 "An inventory has no keys that are not specified.",
    E103 "A later version does not declare an earlier specification.",
    E104 "Version names begin with v.",
    E105 "Version numbers are positive decimal numbers.",
    E106 "The manifest is an object.",
    E107 "Every digest of the manifest is used by a version.",
    E108 "contentDirectory is the name of a directory in the version directory.",
    E110 "The id of an object does not change between versions.",
    E111 "fixity is an object.",
    E112 "The extensions directory of a storage root holds directories only.",
    W001 "Version names should not be zero-padded.",
    W002 "A version directory should have no directory but the content directory.",
    W003 "A version without content should have no content directory.",
    W004 "The content digest should be sha512.",
    W005 "The id should be a URI.",
    W007 "A version should have a message and a user.",
    W008 "A user should have an address.",
    W009 "The address of a user should be a URI.",
    W010 "Every version directory should have an inventory.",
    W011 "Earlier inventories should describe versions in the same words.",
    W013 "Extensions of an object should be registered ones.",
    W014 "Objects should lie where the layout of the root says.",
    W015 "Objects should lie either all at the top of a root or all in directories.",
    W016 "Extensions of a storage root should be registered ones.",
}

impl Code {
    /// Whether the code makes an object or root invalid; the others are warnings.
    pub fn is_error(self) -> bool {
        self.name().starts_with('E')
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file or directory that it is wrong with, relative to the storage root.
    pub path: String,
    /// The rule that it breaks.
    pub code: Code,
    /// What exactly was found.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.code, self.path, self.message)
    }
}

/// What is wrong with one inventory, without the path that its reader knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that is broken.
    pub code: Code,
    /// What exactly was found.
    pub message: String,
}

impl Finding {
    pub(crate) fn at(self, path: &str) -> Problem {
        Problem { path: path.to_owned(), code: self.code, message: self.message }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message)
    }
}
