//! JSON whose keys are names that partners give: what comes is read in one pass, in the order in which it came, and a key
//! that is given twice is refused.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

use super::refusal::Refusal;

/// The entries of an object whose keys are names. None of them comes twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries<T>(pub Vec<(String, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Entries<T> {
        Entries(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries<T>, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry::<String, T>()? {
            entries.push(entry);
        }
        let mut names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(*one),
            _ => None,
        });
        match twice {
            Some(name) => Err(de::Error::custom(format!("the key {name:?} is given twice"))),
            None => Ok(Entries(entries)),
        }
    }
}

/// A number of bytes or of things, written as a number or in digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number, or one in digits")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Count, E> {
        Ok(Count(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Count, E> {
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_digits);
        number.map(Count).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// Reads JSON that is a type of its own, and names the field that is wrong.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::bad_request("the request has no body; send a JSON object"));
    }
    let broken = |error: &serde_json::Error| Refusal::bad_request(format!("the request body is not JSON: {error}"));
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        let problem = error.into_inner();
        match field.as_str() {
            _ if !problem.is_data() => broken(&problem),
            "." => Refusal::bad_request(format!("the request body is wrong: {problem}")),
            field => Refusal::bad_request(format!("the field `{field}` is wrong: {problem}")),
        }
    })?;
    deserializer.end().map_err(|error| broken(&error))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Group {
        #[serde(default)]
        files: Entries<Count>,
    }

    fn read(text: &str) -> Result<Entries<Group>, String> {
        parse(text.as_bytes()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn entries_keep_their_order_and_numbers_may_be_texts() {
        let group = |files: &[(&str, u64)]| Group {
            files: Entries(files.iter().map(|(name, count)| ((*name).to_owned(), Count(*count))).collect()),
        };
        let expected = vec![("b".to_owned(), group(&[("z", 7), ("a", u64::MAX)])), ("a".to_owned(), group(&[]))];
        assert_eq!(read(r#"{"b":{"files":{"z":7,"a":"18446744073709551615"}},"a":{}}"#), Ok(Entries(expected)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("", "no body"),
            ("{", "not JSON: EOF"),
            ("{} {}", "not JSON: trailing"),
            ("[]", "invalid type: sequence, expected a JSON object"),
            (r#"{"a":{"files":{"x":1,"y":2,"x":3}}}"#, "the field `a.files` is wrong: the key \"x\" is given twice"),
            (r#"{"a":{},"a":{}}"#, "the key \"a\" is given twice"),
            (r#"{"a":{"files":{},"files":{}}}"#, "duplicate field `files`"),
            (r#"{"a":{"flies":{}}}"#, "unknown field `flies`"),
            (r#"{"a":{"files":{"x":-1}}}"#, "`a.files.x` is wrong: invalid type: integer `-1`"),
            (r#"{"a":{"files":{"x":"1e3"}}}"#, "expected a whole number, or one in digits"),
            (r#"{"a":{"files":{"x":"+1"}}}"#, "expected a whole number, or one in digits"),
            (r#"{"a":{"files":{"x":"18446744073709551616"}}}"#, "expected a whole number"),
            (r#"{"a":{"files":{"x":1.5}}}"#, "expected a whole number"),
            (r#"{"a":null}"#, "`a` is wrong"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
