//! Puts the settings together: compiled-in defaults, then the file, then the environment, then the command line.
//!
//! The defaults name every key there is, with its type. So the same table says which keys are known, what type an
//! environment variable is read as, and which key somebody may have meant.

use std::path::PathBuf;

use toml::{Table, Value};

use super::{ConfigError, DEFAULTS, Problem, Settings};

const PREFIX: &str = "DIPPER_";
/// Read before the settings are, so it is no setting itself.
const CONFIG_VARIABLE: &str = "DIPPER_CONFIG";
/// Read by the commands of a client, which may run where a server's settings are.
const CLIENT_VARIABLES: [&str; 7] = crate::cli::CLIENT_VARIABLES;

/// Where settings come from besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that was named on the command line.
    pub config_file: Option<PathBuf>,
    /// The environment; names that do not begin with `DIPPER_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Keys with values from the command line, as in `("server.listen", "127.0.0.1:0")`.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    /// The environment of this process.
    pub fn from_process() -> Sources {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Sources { environment, ..Sources::default() }
    }

    pub(super) fn merge(&self) -> Result<Settings, ConfigError> {
        let defaults = parse(DEFAULTS, "the built-in defaults")?;
        let known = Known::of(&defaults);
        let mut problems = Vec::new();
        let mut later = Vec::new();
        for (name, value) in self.environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            match known.by_variable(name) {
                Some(key) => match typed(key, value) {
                    Ok(value) => later.push((key.path.clone(), value)),
                    Err(message) => problems.push(Problem { key: name.clone(), message }),
                },
                None if name == CONFIG_VARIABLE || CLIENT_VARIABLES.contains(&name.as_str()) => {}
                None => problems.push(Problem { key: name.clone(), message: known.unknown_variable(name) }),
            }
        }
        for (name, value) in &self.overrides {
            match known.by_path(name).map(|key| (key, typed(key, value))) {
                Some((key, Ok(value))) => later.push((key.path.clone(), value)),
                Some((_, Err(message))) => problems.push(Problem { key: name.clone(), message }),
                None => problems.push(Problem { key: name.clone(), message: known.unknown_key(name) }),
            }
        }
        let mut merged = defaults.clone();
        if let Some(file) = self.file(&defaults, &later) {
            match read(&file).and_then(|text| parse(&text, &file.display().to_string())) {
                Ok(table) => lay_over(&mut merged, table, "", &known, &mut problems),
                Err(error) => problems.extend(error.0),
            }
        }
        for (path, value) in later {
            put(&mut merged, &path, value);
        }
        if !problems.is_empty() {
            return Err(ConfigError(problems));
        }
        serde_path_to_error::deserialize(Value::Table(merged)).map_err(|error| {
            let key = error.path().to_string();
            ConfigError(vec![Problem { key, message: error.into_inner().to_string().trim().to_owned() }])
        })
    }

    /// The file to read: the one that was named, which must exist, or the one in the data directory if it does.
    fn file(&self, defaults: &Table, later: &[(String, Value)]) -> Option<PathBuf> {
        let named = self.environment.iter().find(|(name, _)| name == CONFIG_VARIABLE).map(|(_, path)| path.into());
        if let Some(path) = self.config_file.clone().or(named) {
            return Some(path);
        }
        let set = later.iter().rev().find(|(path, _)| path == "data_directory").map(|(_, value)| value);
        let directory = set.or(defaults.get("data_directory")).and_then(Value::as_str)?;
        Some(PathBuf::from(directory).join("dipper.toml")).filter(|path| path.exists())
    }
}

fn read(file: &std::path::Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|error| {
        let message = format!("the file cannot be read: {error}");
        ConfigError(vec![Problem { key: file.display().to_string(), message }])
    })
}

fn parse(text: &str, name: &str) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|error| {
        // Not the line itself: there may be a password in it.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let message = format!("line {}: {}", before.matches('\n').count() + 1, error.message().trim());
        ConfigError(vec![Problem { key: name.to_owned(), message }])
    })
}

/// Puts what a file says over what was there, and notes every key that nothing reads.
fn lay_over(under: &mut Table, over: Table, section: &str, known: &Known, problems: &mut Vec<Problem>) {
    for (name, value) in over {
        let path = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        match (under.get_mut(&name), value) {
            (Some(Value::Table(under)), Value::Table(over)) => lay_over(under, over, &path, known, problems),
            (Some(Value::Table(_)), _) => {
                let message = format!("is a section: write [{path}] and its keys below");
                problems.push(Problem { key: path, message });
            }
            (Some(under), value) => *under = value,
            (None, _) => {
                let message = known.unknown_key(&path);
                problems.push(Problem { key: path, message });
            }
        }
    }
}

fn put(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        Some((section, rest)) => {
            if let Some(Value::Table(inner)) = table.get_mut(section) {
                put(inner, rest, value);
            }
        }
        None => {
            table.insert(path.to_owned(), value);
        }
    }
}

/// A key with the type of its default.
struct Key {
    path: String,
    variable: String,
    default: Value,
}

/// Every key there is.
struct Known(Vec<Key>);

impl Known {
    fn of(defaults: &Table) -> Known {
        let mut keys = Vec::new();
        collect(defaults, "", &mut keys);
        Known(keys)
    }

    fn by_variable(&self, variable: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.variable == variable)
    }

    fn by_path(&self, path: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.path == path)
    }

    fn unknown_variable(&self, name: &str) -> String {
        match nearest(name, self.0.iter().map(|key| key.variable.as_str())) {
            Some(nearest) => format!("there is no such setting; did you mean {nearest}?"),
            None => "there is no such setting".to_owned(),
        }
    }

    fn unknown_key(&self, path: &str) -> String {
        match nearest(path, self.0.iter().map(|key| key.path.as_str())) {
            Some(nearest) => format!("there is no such setting; did you mean {nearest}?"),
            None => "there is no such setting".to_owned(),
        }
    }
}

fn collect(table: &Table, section: &str, keys: &mut Vec<Key>) {
    for (name, value) in table {
        let path = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        match value {
            Value::Table(inner) => collect(inner, &path, keys),
            default => {
                let variable = format!("{PREFIX}{}", path.replace('.', "_").to_uppercase());
                keys.push(Key { path, variable, default: default.clone() });
            }
        }
    }
}

/// Reads text as the type that the key's default has.
fn typed(key: &Key, text: &str) -> Result<Value, String> {
    match &key.default {
        Value::Integer(_) => {
            text.trim().parse().map(Value::Integer).map_err(|_| format!("{text:?} is not a whole number"))
        }
        Value::Float(_) => text.trim().parse().map(Value::Float).map_err(|_| format!("{text:?} is not a number")),
        Value::Boolean(_) => {
            text.trim().parse().map(Value::Boolean).map_err(|_| format!("{text:?} is neither true nor false"))
        }
        Value::Array(_) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(Value::Array(parts.map(|part| Value::String(part.to_owned())).collect()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// The candidate with the fewest edits, always one when there are candidates.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates.min_by_key(|candidate| edits(name, candidate))
}

/// How many characters have to be put in, taken out or replaced to get from one text to the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, from) in from.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (above, to) in row.iter_mut().skip(1).zip(&to) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *above;
            left = replaced.min(left + 1).min(*above + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(environment: &[(&str, &str)]) -> Sources {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Sources { environment, ..Sources::default() }
    }

    fn problems(result: Result<Settings, ConfigError>) -> Vec<String> {
        result.err().map(|error| error.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
    }

    #[test]
    fn the_defaults_are_settings_and_each_has_a_variable_of_its_own() {
        let settings = Settings::load(&Sources::default()).expect("the defaults are valid");
        assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.archive_root(), PathBuf::from("dipper-data/archive"));
        let known = Known::of(&DEFAULTS.parse().expect("the defaults are TOML"));
        let mut names: Vec<_> = known.0.iter().map(|key| &key.variable).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), known.0.len());
    }

    #[test]
    fn the_environment_goes_over_the_file_and_the_command_line_over_both() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = "[server]\nlisten = \"127.0.0.1:1\"\nmax_body_bytes = 5000\n[egress]\nallow = [\"a\"]\n";
        dipper_archive::publish::write_file(&directory.path().join("dipper.toml"), file.as_bytes()).expect("written");
        let data = directory.path().display().to_string();
        let mut sources = sources(&[
            ("DIPPER_DATA_DIRECTORY", &data),
            ("DIPPER_SERVER_LISTEN", "127.0.0.1:2"),
            ("DIPPER_EGRESS_ALLOW", "b.example.org, 10.0.0.0/8"),
            ("DIPPER_DPS_PRIORITY_ORDER", "low-first"),
            ("HOME", "/root"),
        ]);
        let settings = Settings::load(&sources).expect("valid");
        assert_eq!(settings.server.listen.port(), 2);
        assert_eq!(settings.server.max_body_bytes, 5000);
        assert_eq!(settings.egress.allow, ["b.example.org", "10.0.0.0/8"]);
        assert_eq!(settings.dps.priority_order, super::super::PriorityOrder::LowFirst);
        sources.overrides.push(("server.listen".to_owned(), "127.0.0.1:3".to_owned()));
        assert_eq!(Settings::load(&sources).expect("valid").server.listen.port(), 3);
    }

    #[test]
    fn a_name_that_nothing_reads_is_an_error_with_the_nearest_one() {
        let found = problems(Settings::load(&sources(&[("DIPPER_SERVER_LISTN", "x"), ("DIPPER_WORKER_COUNT", "two")])));
        assert_eq!(
            found,
            [
                "DIPPER_SERVER_LISTN: there is no such setting; did you mean DIPPER_SERVER_LISTEN?",
                "DIPPER_WORKER_COUNT: \"two\" is not a whole number",
            ]
        );
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("settings.toml");
        let text = "server = 4\n[delivry]\nlink_hours = 2\n[delivery]\nlink_days = 2\n";
        dipper_archive::publish::write_file(&path, text.as_bytes()).expect("written");
        let found = problems(Settings::load(&Sources { config_file: Some(path), ..Sources::default() }));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().any(|line| line.starts_with("server: is a section")), "{found:?}");
        assert!(found.iter().any(|line| line.starts_with("delivery.link_days: ")), "{found:?}");
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_by_its_line_and_not_by_what_stands_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("settings.toml");
        let text = "[database]\nurl = \"postgres://dipper:hunter2@db/x\n";
        dipper_archive::publish::write_file(&path, text.as_bytes()).expect("written");
        let found = problems(Settings::load(&Sources { config_file: Some(path), ..Sources::default() }));
        assert!(found[0].contains("line 2") && !found[0].contains("hunter2"), "{found:?}");
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let sources = Sources { config_file: Some("/nonexistent/dipper.toml".into()), ..Sources::default() };
        assert!(problems(Settings::load(&sources))[0].contains("cannot be read"));
    }

    #[test]
    fn a_wrong_type_names_the_key() {
        let found = problems(Settings::load(&sources(&[("DIPPER_DELIVERY_CHECKSUM", "CRC32")])));
        assert!(found[0].starts_with("delivery.checksum: unknown variant `CRC32`"), "{found:?}");
    }

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(edits(from, to), count, "{from} {to}");
        }
    }
}
