//! The cookies of the console: read from a request, and written for an answer.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};

/// Who is signed in.
pub(super) const SESSION: &str = "session";
/// Ties the form of signing in to the browser that asked for it.
pub(super) const STRANGER: &str = "stranger";
/// A sign-in at an issuer that was begun, under seal.
pub(super) const PENDING: &str = "sign-in";
/// What was done, for the page that is shown next.
pub(super) const NOTE: &str = "note";
/// The language that the reader chose.
pub(super) const LANGUAGE: &str = "language";
/// Light or dark, as the reader chose.
pub(super) const THEME: &str = "theme";

/// How long what a reader chose is kept.
const YEAR_SECONDS: u64 = 365 * 86_400;

/// How cookies are named and marked on this server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jar {
    /// Whether browsers come by https.
    pub(super) secure: bool,
}

/// How long a cookie is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Until the browser is closed.
    Session,
    /// For long.
    Year,
    /// Not any more.
    Forget,
}

impl Jar {
    /// The value of a cookie. Of several of one name, which a browser never sends, none counts.
    pub(super) fn read<'a>(self, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        let full = self.name(name);
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut values = lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(key, _)| *key == full)
            .map(|(_, value)| value);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Adds a cookie to an answer. The value has to be plain: letters, digits, and some signs.
    pub(super) fn write(self, headers: &mut HeaderMap, name: &str, value: &str, keeping: Keeping) {
        let age = match keeping {
            Keeping::Session => String::new(),
            Keeping::Year => format!("; Max-Age={YEAR_SECONDS}"),
            Keeping::Forget => "; Max-Age=0".to_owned(),
        };
        // Lax: whoever follows a link from a message is signed in, and a form of another site is not.
        let secure = if self.secure { "; Secure" } else { "" };
        let line = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}", self.name(name));
        if let Ok(line) = HeaderValue::from_str(&line) {
            headers.append(SET_COOKIE, line);
        }
    }

    /// With `__Host-` browsers take the cookie from this very host alone, and by https alone (RFC 6265bis, 4.1.3.2).
    fn name(self, name: &str) -> String {
        if self.secure { format!("__Host-dipper-{name}") } else { format!("dipper-{name}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for secure in [true, false] {
            let jar = Jar { secure };
            let mut answer = HeaderMap::new();
            jar.write(&mut answer, SESSION, "abc-_1", Keeping::Session);
            let line = answer.get(SET_COOKIE).expect("a cookie").to_str().expect("text");
            assert!(line.contains("; HttpOnly; SameSite=Lax") && line.contains("; Secure") == secure, "{line}");
            let pair = line.split(';').next().expect("a pair");
            let mut request = HeaderMap::new();
            request.append(COOKIE, format!("other=1; {pair}").parse().expect("a value"));
            assert_eq!(jar.read(&request, SESSION), Some("abc-_1"));
            assert_eq!(jar.read(&request, LANGUAGE), None);
            request.append(COOKIE, pair.parse().expect("a value"));
            assert_eq!(jar.read(&request, SESSION), None);
        }
    }
}
