//! Where a list goes on. Clients are to keep a cursor as it is, so it does not look like what it is.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::input::Parameters;
use super::refusal::Refusal;

/// The cursor that continues after an identifier or a name. `kind` tells the lists apart.
pub fn write(kind: char, id: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{kind}{id}"))
}

/// The identifier in a cursor of that kind.
pub fn read(kind: char, cursor: &str) -> Result<String, Refusal> {
    let id = decoded(kind, cursor).filter(|id| id.len() <= 64);
    let plain = id.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    plain.ok_or_else(|| {
        Refusal::bad_request("the parameter `cursor` is not one that a list gave: take `nextCursor` as it is")
    })
}

/// The name, which somebody else chose, in a cursor of that kind.
pub fn read_name(kind: char, cursor: &str) -> Result<String, Refusal> {
    decoded(kind, cursor).ok_or_else(|| {
        Refusal::bad_request(
            "the parameter `cursor` is not one that a list gave: follow the link to the next page as it is",
        )
    })
}

fn decoded(kind: char, cursor: &str) -> Option<String> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix(kind).map(str::to_owned)
}

/// The value of a `Link` header (RFC 8288) to the page that a cursor leads to: the same request otherwise.
pub fn next_link(parameters: &Parameters, cursor: &str) -> String {
    format!("<?{}>; rel=\"next\"", parameters.with("cursor", cursor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_went() {
        assert_eq!(read('o', &write('o', "8Z7x1T9rN0Xc2B5Yq4L3zP")).expect("a cursor"), "8Z7x1T9rN0Xc2B5Yq4L3zP");
        let wrong = [write('p', "abc"), write('o', ""), write('o', "a'b"), "abc".to_owned(), "%%".to_owned()];
        for wrong in wrong {
            assert!(read('o', &wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_link_leads_to_the_same_list_after_a_name() {
        let name = "fg/ü \"1\" & 2";
        let link = next_link(&Parameters::parse(b"limit=2&status=a%26b&cursor=old"), &write('f', name));
        let query = link.strip_prefix("<?").and_then(|rest| rest.strip_suffix(">; rel=\"next\"")).expect("a link");
        let parameters = Parameters::parse(query.as_bytes());
        let one = |name| parameters.one(name).expect("once").map(str::to_owned);
        assert_eq!((one("limit").as_deref(), one("status").as_deref()), (Some("2"), Some("a&b")));
        assert_eq!(read_name('f', &one("cursor").expect("a cursor")).expect("a name"), name);
        assert!(read_name('g', &one("cursor").expect("a cursor")).is_err());
    }
}
