//! What a request brings: its JSON body, its form, its query, and the names in its path. Whatever is wrong with one
//! of them is refused with the name of the field.

use std::ops::RangeInclusive;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::refusal::Refusal;

/// The longest body that is read, put into every request.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(pub usize);

/// Reads the whole body, up to the limit.
pub async fn read_body(request: Request) -> Result<Bytes, Refusal> {
    let limit = request.extensions().get::<BodyLimit>().map_or(64 * 1024, |limit| limit.0);
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(Refusal::too_large(limit));
    }
    match Limited::new(request.into_body(), limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(Refusal::too_large(limit)),
        Err(error) if caused_by_length(error.as_ref()) => Err(Refusal::too_large(limit)),
        Err(_) => Err(Refusal::bad_request("the request body did not arrive whole")),
    }
}

fn caused_by_length(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<LengthLimitError>())
}

/// A JSON body. Unknown fields are ignored; a wrong one is named.
#[derive(Clone, Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<JsonBody<T>, Refusal> {
        parse_json(&read_body(request).await?).map(JsonBody)
    }
}

/// Reads JSON, and names the field that is wrong.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::bad_request("the request has no body; send a JSON object"));
    }
    // The syntax first: an error in it is no matter of any field.
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| Refusal::bad_request(format!("the request body is not JSON: {error}")))?;
    if !value.is_object() {
        return Err(Refusal::bad_request("the request body is not a JSON object"));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        let problem = error.into_inner();
        match field.as_str() {
            "." => Refusal::bad_request(problem.to_string()),
            field => Refusal::bad_request(format!("the field `{field}` is wrong: {problem}")),
        }
    })
}

/// The parameters of a query or of a form, decoded. Unknown ones are ignored.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// The state that the parameter `status` names, with or without what it begins with; `known` are the words.
    pub fn state<T: Copy>(&self, prefix: &str, known: &[(&str, T)]) -> Result<Option<T>, Refusal> {
        let Some(given) = self.one("status")? else { return Ok(None) };
        let word = given.strip_prefix(prefix).unwrap_or(given);
        match known.iter().find(|(name, _)| *name == word) {
            Some((_, state)) => Ok(Some(*state)),
            None => {
                let words: Vec<String> = known.iter().map(|(name, _)| format!("{prefix}{name}")).collect();
                let message = format!("the parameter `status` must be one of {}, not {given:?}", words.join(", "));
                Err(Refusal::bad_request(message))
            }
        }
    }

    /// Reads `name=value&…`.
    pub fn parse(encoded: &[u8]) -> Parameters {
        Parameters(url::form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The value of a parameter that may be given once. An empty one counts as not given.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let given = self.0.iter().filter(|(key, value)| key == name && !value.is_empty());
        let mut values = given.map(|(_, value)| value.as_str());
        let first = values.next();
        match values.next() {
            Some(_) => Err(Refusal::bad_request(format!("the parameter `{name}` is given more than once"))),
            None => Ok(first),
        }
    }

    /// The values of a parameter that may be given several times, without empty ones.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let given = self.0.iter().filter(move |(key, value)| key == name && !value.is_empty());
        given.map(|(_, value)| value.as_str())
    }

    /// All of them as a query, with this value in the place of the ones of its name.
    pub fn with(&self, name: &str, value: &str) -> String {
        let others = self.0.iter().filter(|(key, _)| key != name);
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(others).append_pair(name, value).finish()
    }

    /// Whether a parameter is given at all, with a value or without one.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The value of a parameter that is a whole number within bounds.
    pub fn integer(&self, name: &str, bounds: RangeInclusive<u64>) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        match text.parse() {
            Ok(value) if bounds.contains(&value) => Ok(Some(value)),
            _ => {
                let (least, most) = (bounds.start(), bounds.end());
                let message = format!("the parameter `{name}` must be a whole number from {least} to {most}");
                Err(Refusal::bad_request(message))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Parameters, Refusal> {
        Ok(Parameters::parse(parts.uri.query().unwrap_or_default().as_bytes()))
    }
}

/// A form body, as OAuth 2.0 uses it.
#[derive(Clone, Debug)]
pub struct FormBody(pub Parameters);

impl<S: Send + Sync> FromRequest<S> for FormBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<FormBody, Refusal> {
        Ok(FormBody(Parameters::parse(&read_body(request).await?)))
    }
}

/// The names in a path, decoded.
#[derive(Clone, Debug)]
pub struct PathNames(Vec<(String, String)>);

impl PathNames {
    /// The value of a name of the route; empty when the route has no such name.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathNames {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PathNames, Refusal> {
        let names = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Refusal::bad_request("the path is not valid UTF-8 once it is decoded"))?;
        Ok(PathNames(names.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Order {
        archive_id: String,
        #[serde(default)]
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    struct Line {
        count: u8,
    }

    #[test]
    fn a_wrong_body_names_the_field() {
        let message = |text: &str| parse_json::<Order>(text.as_bytes()).expect_err(text).message;
        assert!(message("").contains("no body"));
        assert!(message("{").starts_with("the request body is not JSON: EOF"));
        assert_eq!(message("[]"), "the request body is not a JSON object");
        assert_eq!(message("{}"), "missing field `archiveId`");
        assert!(message(r#"{"archiveId":7}"#).starts_with("the field `archiveId` is wrong: invalid type"));
        let nested = message(r#"{"archiveId":"a","lines":[{"count":1},{"count":256}]}"#);
        assert!(nested.starts_with("the field `lines[1].count` is wrong: invalid value"), "{nested}");
        let good = parse_json::<Order>(br#"{"archiveId":"a","lines":[{"count":1}],"unknown":{"x":1}}"#).expect("read");
        assert_eq!((good.archive_id.as_str(), good.lines[0].count), ("a", 1));
    }

    #[test]
    fn parameters_are_taken_once_and_within_bounds() {
        let query = Parameters::parse(b"limit=10&name=a%20b+c&twice=1&twice=2&empty=");
        assert_eq!(query.integer("limit", 1..=1000).expect("good"), Some(10));
        assert_eq!(query.one("name").expect("good"), Some("a b c"));
        assert_eq!(query.one("empty").expect("good"), None);
        assert!(query.has("empty") && !query.has("none"));
        assert!(query.one("twice").expect_err("twice").message.contains("`twice`"));
        assert!(query.integer("limit", 1..=5).expect_err("too big").message.contains("from 1 to 5"));
        assert!(query.integer("name", 1..=5).is_err());
    }
}
