//! Storage layouts: where in a root an object lies. Each is a registered extension
//! (<https://ocfl.github.io/extensions/>); `ocfl_layout.json` names it and `extensions/<name>/config.json` holds its
//! parameters.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use unicode_normalization::char::is_combining_mark;

use crate::digest::{Algorithm, Digest, Hasher};

/// The longest name of a directory on the usual file systems, in bytes.
const NAME_BYTES: usize = 255;

/// A storage layout with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// 0002: the id is the directory.
    FlatDirect,
    /// 0003: tuples of the hashed id, and the percent-encoded id as the directory.
    HashAndId(HashedTuples),
    /// 0004: tuples of the hashed id, and the hash as the directory.
    Hashed {
        /// The hash and the tuples.
        tuples: HashedTuples,
        /// Whether the directory has only what the tuples left of the hash.
        short_object_root: bool,
    },
    /// 0006: the id without its prefix is the directory.
    FlatOmitPrefix {
        /// The end of the prefix, in any case.
        delimiter: String,
    },
    /// 0007: tuples of the id without its prefix, and that as the directory.
    TupleOmitPrefix(OmitPrefixTuples),
}

/// The parameters of 0003 and 0004.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashedTuples {
    /// What the id is hashed with.
    pub algorithm: Algorithm,
    /// Characters in a tuple, 0 to 32.
    pub size: usize,
    /// How many tuples, 0 to 32.
    pub count: usize,
}

/// The parameters of 0007.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OmitPrefixTuples {
    /// The end of the prefix, in any case.
    pub delimiter: String,
    /// Characters in a tuple, 1 to 32.
    pub size: usize,
    /// How many tuples, 1 to 32.
    pub count: usize,
    /// Whether short ids are filled with zeros on the right instead of the left.
    pub pad_right: bool,
    /// Whether the tuples are taken from the reversed id.
    pub reverse: bool,
}

/// Why a layout is malformed, or cannot place an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// `ocfl_layout.json` or a `config.json` is not what the extension specifies.
    #[error("{file}: {reason}")]
    Config {
        /// The file, relative to the storage root.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The layout has no place for this id.
    #[error("{layout} has no place for the id {id:?}: {reason}")]
    Id {
        /// The name of the extension.
        layout: &'static str,
        /// The id.
        id: String,
        /// Why not.
        reason: &'static str,
    },
}

impl Default for HashedTuples {
    fn default() -> HashedTuples {
        HashedTuples { algorithm: Algorithm::Sha256, size: 3, count: 3 }
    }
}

impl Default for OmitPrefixTuples {
    fn default() -> OmitPrefixTuples {
        OmitPrefixTuples { delimiter: ":".to_owned(), size: 3, count: 3, pad_right: false, reverse: false }
    }
}

/// 0004 with its own defaults: any id, evenly spread.
impl Default for Layout {
    fn default() -> Layout {
        Layout::Hashed { tuples: HashedTuples::default(), short_object_root: false }
    }
}

/// `ocfl_layout.json` (section 4.1).
#[derive(Serialize, Deserialize)]
struct LayoutFile {
    extension: String,
    description: String,
}

/// `config.json` of every layout; each uses some of the keys.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    extension_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest_algorithm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delimiter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tuple_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_of_tuples: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_object_root: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zero_padding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reverse_object_root: Option<bool>,
}

const FLAT_DIRECT: &str = "0002-flat-direct-storage-layout";
const HASH_AND_ID: &str = "0003-hash-and-id-n-tuple-storage-layout";
const HASHED: &str = "0004-hashed-n-tuple-storage-layout";
const FLAT_OMIT_PREFIX: &str = "0006-flat-omit-prefix-storage-layout";
const TUPLE_OMIT_PREFIX: &str = "0007-n-tuple-omit-prefix-storage-layout";

impl Layout {
    /// The name of the extension.
    pub fn name(&self) -> &'static str {
        match self {
            Layout::FlatDirect => FLAT_DIRECT,
            Layout::HashAndId(_) => HASH_AND_ID,
            Layout::Hashed { .. } => HASHED,
            Layout::FlatOmitPrefix { .. } => FLAT_OMIT_PREFIX,
            Layout::TupleOmitPrefix(_) => TUPLE_OMIT_PREFIX,
        }
    }

    /// The object root of an id, relative to the storage root.
    pub fn object_path(&self, id: &str) -> Result<String, LayoutError> {
        let refuse = |reason| LayoutError::Id { layout: self.name(), id: id.to_owned(), reason };
        if id.is_empty() {
            return Err(refuse("an object needs an id"));
        }
        match self {
            Layout::FlatDirect => directory_name(id).map_err(refuse),
            Layout::HashAndId(tuples) => {
                let hash = hash_of(tuples.algorithm, id);
                Ok(joined(&hash_tuples(&hash, *tuples), &encapsulation_directory(id, &hash)))
            }
            Layout::Hashed { tuples, short_object_root } => {
                let hash = hash_of(tuples.algorithm, id);
                let rest = if *short_object_root { hash.get(tuples.size * tuples.count..) } else { None };
                Ok(joined(&hash_tuples(&hash, *tuples), rest.unwrap_or(&hash)))
            }
            Layout::FlatOmitPrefix { delimiter } => {
                directory_name(without_prefix(id, delimiter).map_err(refuse)?).map_err(refuse)
            }
            Layout::TupleOmitPrefix(parameters) => {
                let name =
                    directory_name(without_prefix(id, &parameters.delimiter).map_err(refuse)?).map_err(refuse)?;
                Ok(joined(&id_tuples(&name, parameters).map_err(refuse)?, &name))
            }
        }
    }

    /// The documents that declare the layout: `ocfl_layout.json` and, when it has parameters, `config.json`.
    pub(crate) fn documents(&self) -> Result<Vec<(String, Vec<u8>)>, LayoutError> {
        let layout = LayoutFile { extension: self.name().to_owned(), description: self.description().to_owned() };
        let text = |file: &str, document: Result<String, serde_json::Error>| {
            let malformed = |error: serde_json::Error| config_error(file, error.to_string());
            document.map(|text| (text + "\n").into_bytes()).map_err(malformed)
        };
        let mut documents =
            vec![("ocfl_layout.json".to_owned(), text("ocfl_layout.json", serde_json::to_string_pretty(&layout))?)];
        if *self != Layout::FlatDirect {
            let path = config_path(self.name());
            let config = text(&path, serde_json::to_string_pretty(&self.config()))?;
            documents.push((path, config));
        }
        Ok(documents)
    }

    fn description(&self) -> &'static str {
        match self {
            Layout::FlatDirect => "Each object lies in a directory named by its id, directly under the root.",
            Layout::HashAndId(_) => "Objects lie in directories named by their percent-encoded ids, under hash tuples.",
            Layout::Hashed { .. } => "Objects lie in directories named by the hash of their ids, under hash tuples.",
            Layout::FlatOmitPrefix { .. } => "Each object lies in a directory named by its id without the prefix.",
            Layout::TupleOmitPrefix(_) => "Objects lie under tuples of their ids without the prefix.",
        }
    }

    fn config(&self) -> Config {
        let mut config = Config { extension_name: self.name().to_owned(), ..Config::default() };
        match self {
            Layout::FlatDirect => {}
            Layout::HashAndId(tuples) | Layout::Hashed { tuples, .. } => {
                config.digest_algorithm = Some(tuples.algorithm.name().to_owned());
                config.tuple_size = Some(tuples.size);
                config.number_of_tuples = Some(tuples.count);
                if let Layout::Hashed { short_object_root, .. } = self {
                    config.short_object_root = Some(*short_object_root);
                }
            }
            Layout::FlatOmitPrefix { delimiter } => config.delimiter = Some(delimiter.clone()),
            Layout::TupleOmitPrefix(parameters) => {
                config.delimiter = Some(parameters.delimiter.clone());
                config.tuple_size = Some(parameters.size);
                config.number_of_tuples = Some(parameters.count);
                config.zero_padding = Some(if parameters.pad_right { "right" } else { "left" }.to_owned());
                config.reverse_object_root = Some(parameters.reverse);
            }
        }
        config
    }

    /// Reads the parameters of the extension `name`; `None` when the extension is not a layout that is known here.
    pub(crate) fn from_config(name: &str, config: Option<&[u8]>) -> Result<Option<Layout>, LayoutError> {
        let file = config_path(name);
        let wrong = |reason: String| config_error(&file, reason);
        if ![FLAT_DIRECT, HASH_AND_ID, HASHED, FLAT_OMIT_PREFIX, TUPLE_OMIT_PREFIX].contains(&name) {
            return Ok(None);
        }
        let config: Config = match config {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?,
            None => Config { extension_name: name.to_owned(), ..Config::default() },
        };
        if config.extension_name != name {
            return Err(wrong(format!("extensionName is {:?}, not {name}", config.extension_name)));
        }
        let layout = match name {
            FLAT_DIRECT => Layout::FlatDirect,
            HASH_AND_ID => Layout::HashAndId(config.hashed_tuples().map_err(wrong)?),
            HASHED => {
                let short_object_root = config.short_object_root.unwrap_or(false);
                let tuples = config.hashed_tuples().map_err(wrong)?;
                if short_object_root && tuples.size * tuples.count == tuples.algorithm.len_bytes() * 2 {
                    return Err(wrong("shortObjectRoot leaves nothing of the hash for the directory".to_owned()));
                }
                Layout::Hashed { tuples, short_object_root }
            }
            FLAT_OMIT_PREFIX => Layout::FlatOmitPrefix { delimiter: config.delimiter(None).map_err(wrong)? },
            _ => Layout::TupleOmitPrefix(config.omit_prefix_tuples().map_err(wrong)?),
        };
        Ok(Some(layout))
    }
}

impl Config {
    fn hashed_tuples(&self) -> Result<HashedTuples, String> {
        let default = HashedTuples::default();
        let algorithm = match &self.digest_algorithm {
            Some(name) => Algorithm::from_name(name).ok_or_else(|| format!("digestAlgorithm {name:?} is not known"))?,
            None => default.algorithm,
        };
        let size = self.tuple_size.unwrap_or(default.size);
        let count = self.number_of_tuples.unwrap_or(default.count);
        if size > 32 || count > 32 || (size == 0) != (count == 0) {
            return Err("tupleSize and numberOfTuples are from 1 to 32, or both 0".to_owned());
        }
        if size * count > algorithm.len_bytes() * 2 {
            return Err(format!("tupleSize times numberOfTuples is more than a {algorithm} digest has"));
        }
        Ok(HashedTuples { algorithm, size, count })
    }

    fn delimiter(&self, default: Option<&str>) -> Result<String, String> {
        let given = self.delimiter.as_deref().or(default);
        given
            .filter(|delimiter| !delimiter.is_empty())
            .map(str::to_owned)
            .ok_or("delimiter is missing or empty".to_owned())
    }

    fn omit_prefix_tuples(&self) -> Result<OmitPrefixTuples, String> {
        let size = self.tuple_size.unwrap_or(3);
        let count = self.number_of_tuples.unwrap_or(3);
        if !(1..=32).contains(&size) || !(1..=32).contains(&count) {
            return Err("tupleSize and numberOfTuples are from 1 to 32".to_owned());
        }
        let pad_right = match self.zero_padding.as_deref() {
            None | Some("left") => false,
            Some("right") => true,
            Some(other) => return Err(format!("zeroPadding is {other:?}, not left or right")),
        };
        let reverse = self.reverse_object_root.unwrap_or(false);
        Ok(OmitPrefixTuples { delimiter: self.delimiter(Some(":"))?, size, count, pad_right, reverse })
    }
}

/// The name of the extension in an `ocfl_layout.json`.
pub(crate) fn extension_of(document: &[u8]) -> Result<String, LayoutError> {
    let wrong = |reason: String| config_error("ocfl_layout.json", reason);
    let value: Value = serde_json::from_slice(document).map_err(|error| wrong(error.to_string()))?;
    match (value.get("extension"), value.get("description")) {
        (Some(Value::String(extension)), Some(Value::String(_))) => Ok(extension.clone()),
        _ => Err(wrong("the keys extension and description must both be there and be strings".to_owned())),
    }
}

/// The path of the parameters of an extension.
pub(crate) fn config_path(extension: &str) -> String {
    format!("extensions/{extension}/config.json")
}

fn config_error(file: &str, reason: String) -> LayoutError {
    LayoutError::Config { file: file.to_owned(), reason }
}

fn hash_of(algorithm: Algorithm, id: &str) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(id.as_bytes());
    let digest: Digest = hasher.finish();
    digest.to_string()
}

fn hash_tuples(hash: &str, tuples: HashedTuples) -> Vec<&str> {
    let at = |index: usize| hash.get(index * tuples.size..(index + 1) * tuples.size);
    (0..tuples.count).filter_map(at).collect()
}

fn joined(tuples: &[impl AsRef<str>], name: &str) -> String {
    let mut path = String::new();
    for tuple in tuples {
        path.push_str(tuple.as_ref());
        path.push('/');
    }
    path + name
}

/// 0003: letters, digits, - and _ stay; other bytes are percent-encoded; long names end in the hash.
fn encapsulation_directory(id: &str, hash: &str) -> String {
    const LONGEST: usize = 100;
    let mut name = String::new();
    for byte in id.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    match name.get(..LONGEST) {
        Some(beginning) if name.len() > LONGEST => format!("{beginning}-{hash}"),
        _ => name,
    }
}

/// An id as the name of a directory, if it can be one.
fn directory_name(id: &str) -> Result<String, &'static str> {
    if matches!(id, "" | "." | "..") {
        return Err("it would be an empty name, . or ..");
    }
    if id.contains('/') {
        return Err("it has a slash in the part that names the directory");
    }
    if id.contains(|character: char| character.is_control()) {
        return Err("it has a control character");
    }
    if id.len() > NAME_BYTES {
        return Err("it is longer than the 255 bytes of a directory name");
    }
    if id == "extensions" {
        return Err("that directory of a storage root is for extensions");
    }
    Ok(id.to_owned())
}

/// What follows the last delimiter, whose case does not matter; the whole id when there is none.
fn without_prefix<'a>(id: &'a str, delimiter: &str) -> Result<&'a str, &'static str> {
    let wanted: Vec<char> = delimiter.chars().flat_map(char::to_lowercase).collect();
    for (start, _) in id.char_indices().rev() {
        let Some(rest) = id.get(start..) else { continue };
        let mut length = 0;
        let mut expected = wanted.as_slice();
        for character in rest.chars() {
            if expected.is_empty() {
                break;
            }
            let lower: Vec<char> = character.to_lowercase().collect();
            let Some(left) = expected.strip_prefix(lower.as_slice()) else { break };
            expected = left;
            length += character.len_utf8();
        }
        if expected.is_empty() {
            return match rest.get(length..) {
                Some("") | None => Err("it ends with the delimiter"),
                Some(name) => Ok(name),
            };
        }
    }
    Ok(id)
}

/// 0007: the id in characters as read (a base and its combining marks are one), padded, reversed and cut.
fn id_tuples(name: &str, parameters: &OmitPrefixTuples) -> Result<Vec<String>, &'static str> {
    let mut characters: Vec<String> = Vec::new();
    for character in name.chars() {
        match characters.last_mut() {
            Some(cluster) if is_combining_mark(character) => cluster.push(character),
            _ => characters.push(character.to_string()),
        }
    }
    let missing = (parameters.size * parameters.count).saturating_sub(characters.len());
    let zeros = std::iter::repeat_n("0".to_owned(), missing);
    if parameters.pad_right {
        characters.extend(zeros);
    } else {
        characters = zeros.chain(characters).collect();
    }
    if parameters.reverse {
        characters.reverse();
    }
    let tuples: Vec<String> =
        characters.chunks(parameters.size).take(parameters.count).map(|tuple| tuple.concat()).collect();
    if tuples.iter().any(|tuple| tuple == "." || tuple == "..") {
        return Err("one of its tuples would be . or ..");
    }
    if tuples.first().is_some_and(|tuple| tuple == "extensions") {
        return Err("that directory of a storage root is for extensions");
    }
    Ok(tuples)
}
