//! URNs of the namespace NBN (RFC 8458), and the check digit that the German National Library asks for at the end of those
//! below `urn:nbn:de`.

/// How such a URN begins; the case of the letters says nothing.
const NAMESPACE: &str = "urn:nbn:";
/// The namespace whose URNs end with a check digit.
const GERMAN: &str = "urn:nbn:de:";
/// The longest URN that is taken.
const LONGEST_BYTES: usize = 255;

/// Whether a text says of itself that it is a URN of this namespace, right or wrong.
pub fn is_claimed(text: &str) -> bool {
    text.get(..NAMESPACE.len()).is_some_and(|start| start.eq_ignore_ascii_case(NAMESPACE))
}

/// What keeps a text from being a URN of this namespace (RFC 8458 section 4.2, RFC 2141 section 2.2); `None` when it is
/// one.
pub fn problem(text: &str) -> Option<&'static str> {
    if !is_claimed(text) {
        return Some("it does not begin with urn:nbn:");
    }
    if text.len() > LONGEST_BYTES {
        return Some("it is longer than 255 characters");
    }
    let rest = text.get(NAMESPACE.len()..).unwrap_or_default();
    let Some((prefix, name)) = rest.split_once('-') else {
        return Some("after urn:nbn: comes a prefix, a hyphen, and the name");
    };
    let mut parts = prefix.split(':');
    let country = parts.next().unwrap_or_default();
    if country.len() != 2 || !country.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Some("after urn:nbn: comes the code of a country, which has two letters");
    }
    if !parts.all(is_part) {
        return Some("the parts of the prefix are letters and digits with colons between");
    }
    match name {
        "" => Some("after the hyphen comes the name"),
        name if !is_name(name) => Some("it holds a character that a URN cannot hold: encode it with %"),
        _ => None,
    }
}

/// Whether a text can stand between `urn:nbn:de:` and the hyphen.
pub fn is_prefix(text: &str) -> bool {
    text.split(':').all(is_part) && text.len() <= 100
}

fn is_part(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The characters of RFC 2141, section 2.2; a percent sign begins an encoded byte.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'%' => {
                let mut is_digit = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                is_digit() && is_digit()
            }
            byte => byte.is_ascii_alphanumeric() || b"()+,-.:=@;$_!*'/".contains(&byte),
        };
        if !good {
            return false;
        }
    }
    true
}

/// The text under which two spellings of one URN are the same.
pub fn key(urn: &str) -> String {
    urn.to_ascii_lowercase()
}

/// Why a URN that is right otherwise should be looked at: its last character is not the check digit. Depositors have forms
/// of their own, so nothing is refused for it.
pub fn warning(urn: &str) -> Option<String> {
    if !urn.get(..GERMAN.len()).is_some_and(|start| start.eq_ignore_ascii_case(GERMAN)) {
        return None;
    }
    let last = urn.chars().next_back()?;
    let expected = check_digit(urn.strip_suffix(last)?)?;
    (last != expected).then(|| format!("the URN {urn} ends with {last}, and its check digit would be {expected}"))
}

/// The URN that a package gets of us.
pub fn made(prefix: &str, identifier: &str) -> Option<String> {
    let urn = format!("{GERMAN}{prefix}-{identifier}");
    check_digit(&urn).map(|digit| format!("{urn}{digit}"))
}

/// The check digit of a URN that has none yet; `None` when a character has no number.
///
/// Each character stands for a number of one or two digits. The digits of all of them, each multiplied by its place, are
/// added up; the sum is divided by the last digit, and the last digit of the whole quotient is the check digit.
pub fn check_digit(urn: &str) -> Option<char> {
    let mut sum = 0_u64;
    let mut place = 0;
    let mut last = 0;
    for byte in urn.bytes() {
        let number = number_of(byte)?;
        for digit in [number / 10, number % 10].into_iter().skip(usize::from(number < 10)) {
            place += 1;
            sum += place * digit;
            last = digit;
        }
    }
    let quotient = sum.checked_div(last)?;
    char::from_digit(u32::try_from(quotient % 10).ok()?, 10)
}

/// The number of a character in the library's table.
fn number_of(byte: u8) -> Option<u64> {
    const LETTERS: [u64; 26] =
        [18, 14, 19, 15, 16, 21, 22, 23, 24, 25, 42, 26, 27, 13, 28, 29, 31, 12, 32, 33, 11, 34, 35, 36, 37, 38];
    Some(match byte.to_ascii_lowercase() {
        digit @ b'0'..=b'8' => u64::from(digit - b'0') + 1,
        b'9' => 41,
        letter @ b'a'..=b'z' => *LETTERS.get(usize::from(letter - b'a'))?,
        b'-' => 39,
        b':' => 17,
        b'_' => 43,
        b'/' => 45,
        b'.' => 47,
        b'+' => 49,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// URNs that catalogues of libraries have published.
    const PUBLISHED: [&str; 21] = [
        "urn:nbn:de:gbv:089-3321752945",
        "urn:nbn:de:hbz:6:1-31323",
        "urn:nbn:de:hbz:6:1-143638",
        "urn:nbn:de:hbz:6-85659524771",
        "urn:nbn:de:hbz:386-kluedo-38558",
        "urn:nbn:de:hbz:1044-opus-60219",
        "urn:nbn:de:hbz:385-1468",
        "urn:nbn:de:0183-mbi0003721",
        "urn:nbn:de:bvb:19-146642",
        "urn:nbn:de:bvb:12-bsb00103137-3",
        "urn:nbn:de:bvb:12-bsb11005578-4",
        "urn:nbn:de:bvb:12-bsb00023199-0",
        "urn:nbn:de:bvb:12-bsb10598668-3",
        "urn:nbn:de:kobv:b4-200905196929",
        "urn:nbn:de:kobv:b43-613339",
        "urn:nbn:de:kobv:11-d-6653534",
        "urn:nbn:de:101:1-201102033592",
        "urn:nbn:de:101:1-201603278995",
        "urn:nbn:de:101:1-201502241089",
        "urn:nbn:de:101:1-201212176728",
        "urn:nbn:de:101:1-200910131091",
    ];

    #[test]
    fn published_urns_end_with_the_check_digit() {
        for urn in PUBLISHED {
            let (start, last) = urn.split_at(urn.len() - 1);
            assert_eq!(check_digit(start).map(String::from).as_deref(), Some(last), "{urn}");
            assert_eq!(check_digit(&start.to_ascii_uppercase()), check_digit(start));
            assert_eq!((problem(urn), warning(urn)), (None, None));
            // One digit that is mistyped is found.
            let wrong = format!("{start}{}", if last == "1" { "2" } else { "1" });
            assert!(warning(&wrong).is_some_and(|warning| warning.contains(last)), "{wrong}");
        }
    }

    #[test]
    fn what_is_made_is_right() {
        let urn = made("hbz:42", "8-2016040610214").expect("every character has a number");
        assert_eq!(urn.len(), "urn:nbn:de:hbz:42-8-2016040610214".len() + 1);
        assert_eq!((problem(&urn), warning(&urn)), (None, None));
        assert_eq!(made("hbz", "ø"), None);
        assert_eq!(check_digit(""), None);
    }

    #[test]
    fn what_is_no_urn_is_told_why() {
        let long = format!("urn:nbn:de:a-{}", "1".repeat(LONGEST_BYTES));
        let table = [
            ("urn:nbn:de:hbz:6:1-31323", None),
            ("URN:NBN:DE:hbz:6:1-31323", None),
            ("urn:nbn:fi-fe1234", None),
            ("urn:nbn:no-nb_digibok_2006111500055", None),
            ("urn:nbn:de:gbv:3:1-a%C3%A4/b", None),
            ("urn:isbn:0451450523", Some("urn:nbn:")),
            ("urn:nb", Some("urn:nbn:")),
            ("", Some("urn:nbn:")),
            ("urn:nbn:ø", Some("a hyphen")),
            ("urn:nbn:de:hbz", Some("a hyphen")),
            ("urn:nbn:deu-1", Some("two letters")),
            ("urn:nbn:de::1-1", Some("letters and digits")),
            ("urn:nbn:de:h bz-1", Some("letters and digits")),
            ("urn:nbn:de:hbz-", Some("the name")),
            ("urn:nbn:de:hbz-a b", Some("character")),
            ("urn:nbn:de:hbz-a%2", Some("character")),
            ("urn:nbn:de:hbz-ä", Some("character")),
            ("urn:nbn:de:hbz-a\n", Some("character")),
            (long.as_str(), Some("255")),
        ];
        for (text, expected) in table {
            match (problem(text), expected) {
                (None, None) => {}
                (Some(found), Some(expected)) => assert!(found.contains(expected), "{text:?}: {found}"),
                (found, _) => panic!("{text:?}: {found:?}"),
            }
        }
        assert!(is_prefix("hbz:6:1") && is_prefix("0183") && !is_prefix("") && !is_prefix("a-b") && !is_prefix("a::b"));
        assert_eq!(key("URN:NBN:de:HBZ:6"), "urn:nbn:de:hbz:6");
    }

    #[test]
    fn only_german_urns_have_a_check_digit() {
        assert_eq!(warning("urn:nbn:fi-fe1234"), None);
        assert!(warning("URN:NBN:DE:hbz:6:1-31324").is_some());
        // No number stands for the character, so there is nothing to say.
        assert_eq!(warning("urn:nbn:de:hbz-a%2F1"), None);
    }
}
