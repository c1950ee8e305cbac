//! `Range` and the conditions of RFC 9110, for bytes that never change under one entity tag.

use axum::http::HeaderMap;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};

/// What a client is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// 200: everything.
    Whole,
    /// 206: from the first up to, not including, the second.
    Part(u64, u64),
    /// 304: the client has it already.
    Unchanged,
    /// 412: the client wants something else than what is there.
    Changed,
    /// 416, for a reason that the client may read.
    Unsatisfiable(&'static str),
}

/// Says what a `GET` with these headers is to get of `length` bytes whose strong entity tag is `etag`, quoted.
pub fn wanted(headers: &HeaderMap, length: u64, etag: &str) -> Wanted {
    let text = |name| headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or_default());
    if text(IF_MATCH).is_some_and(|tags| !lists(tags, etag, false)) {
        return Wanted::Changed;
    }
    if text(IF_NONE_MATCH).is_some_and(|tags| lists(tags, etag, true)) {
        return Wanted::Unchanged;
    }
    let Some(range) = text(RANGE) else { return Wanted::Whole };
    // A date never matches: no modification date is sent. So a condition that fails means everything (13.1.5).
    if text(IF_RANGE).is_some_and(|tag| tag.trim() != etag) {
        return Wanted::Whole;
    }
    parse(range, length)
}

/// Whether a list of entity tags holds `etag`, by weak or by strong comparison (8.8.3.2).
fn lists(tags: &str, etag: &str, weak: bool) -> bool {
    tags.split(',').map(str::trim).any(|tag| {
        let tag = if weak { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
        tag == "*" || tag == etag
    })
}

fn parse(range: &str, length: u64) -> Wanted {
    // A unit that is not known is ignored (14.2), as is a header that does not follow the grammar.
    let Some((unit, set)) = range.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    if set.contains(',') {
        return Wanted::Unsatisfiable("several ranges in one request are not supported: ask for each by itself");
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::Whole };
    match (number(first), number(last)) {
        (Bound::Wrong, _) | (_, Bound::Wrong) | (Bound::Open, Bound::Open) => Wanted::Whole,
        (Bound::At(first), Bound::At(last)) if last < first => Wanted::Whole,
        (Bound::At(first), _) if first >= length => Wanted::Unsatisfiable("the range begins after the end of the file"),
        (Bound::At(first), Bound::At(last)) => Wanted::Part(first, last.saturating_add(1).min(length)),
        (Bound::At(first), Bound::Open) => Wanted::Part(first, length),
        (Bound::Open, Bound::At(0)) => Wanted::Unsatisfiable("the last 0 bytes were asked for"),
        (Bound::Open, Bound::At(_)) if length == 0 => Wanted::Unsatisfiable("the file is empty"),
        (Bound::Open, Bound::At(count)) => Wanted::Part(length.saturating_sub(count), length),
    }
}

enum Bound {
    Open,
    At(u64),
    Wrong,
}

fn number(text: &str) -> Bound {
    match text.trim() {
        "" => Bound::Open,
        // Numbers beyond 64 bits are grammatical and lie after every end.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Bound::At(digits.parse().unwrap_or(u64::MAX)),
        _ => Bound::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const TAG: &str = "\"abc\"";

    fn get(headers: &[(HeaderName, &str)], length: u64) -> Wanted {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a header value")))
            .collect();
        wanted(&headers, length, TAG)
    }

    #[test]
    fn single_ranges() {
        let refused = |wanted: &Wanted| matches!(wanted, Wanted::Unsatisfiable(_));
        for (range, expected) in [
            ("bytes=0-0", Wanted::Part(0, 1)),
            ("bytes=0-", Wanted::Part(0, 100)),
            ("bytes=10-19", Wanted::Part(10, 20)),
            ("bytes=99-99", Wanted::Part(99, 100)),
            ("bytes=50-1000", Wanted::Part(50, 100)),
            ("bytes=-1", Wanted::Part(99, 100)),
            ("bytes=-1000", Wanted::Part(0, 100)),
            ("Bytes= 5 - 6 ", Wanted::Part(5, 7)),
            ("bytes=0-99999999999999999999999", Wanted::Part(0, 100)),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
        ] {
            assert_eq!(get(&[(RANGE, range)], 100), expected, "{range}");
        }
        for range in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=0-1,5-6", "bytes=99999999999999999999999-"] {
            assert!(refused(&get(&[(RANGE, range)], 100)), "{range}");
        }
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"] {
            assert!(refused(&get(&[(RANGE, range)], 0)), "{range} of nothing");
        }
    }

    #[test]
    fn conditions() {
        let part = Wanted::Part(1, 2);
        for (headers, expected) in [
            (vec![(IF_NONE_MATCH, TAG)], Wanted::Unchanged),
            (vec![(IF_NONE_MATCH, "W/\"abc\"")], Wanted::Unchanged),
            (vec![(IF_NONE_MATCH, "*")], Wanted::Unchanged),
            (vec![(IF_NONE_MATCH, "\"x\", \"abc\""), (RANGE, "bytes=1-1")], Wanted::Unchanged),
            (vec![(IF_NONE_MATCH, "\"x\""), (RANGE, "bytes=1-1")], part.clone()),
            (vec![(IF_MATCH, "\"x\"")], Wanted::Changed),
            (vec![(IF_MATCH, "W/\"abc\"")], Wanted::Changed),
            (vec![(IF_MATCH, "\"x\", \"abc\""), (RANGE, "bytes=1-1")], part.clone()),
            (vec![(IF_RANGE, TAG), (RANGE, "bytes=1-1")], part),
            (vec![(IF_RANGE, "\"old\""), (RANGE, "bytes=1-1")], Wanted::Whole),
            (vec![(IF_RANGE, "W/\"abc\""), (RANGE, "bytes=1-1")], Wanted::Whole),
            (vec![(IF_RANGE, "Sun, 06 Nov 1994 08:49:37 GMT"), (RANGE, "bytes=1-1")], Wanted::Whole),
        ] {
            assert_eq!(get(&headers, 100), expected, "{headers:?}");
        }
    }

    proptest! {
        #[test]
        fn a_part_always_lies_within_the_file(range in "bytes=[0-9]{0,3}-[0-9]{0,3}", length in 0u64..500) {
            if let Wanted::Part(first, end) = get(&[(RANGE, &range)], length) {
                prop_assert!(first < end && end <= length);
            }
        }

        #[test]
        fn nothing_a_client_writes_breaks_it(range in "[ -~]{0,40}", length: u64) {
            let _ = get(&[(RANGE, &range)], length);
        }
    }
}
