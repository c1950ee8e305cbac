//! How numbers, sizes and times are written in the languages in which people are written to.

use dipper_core::language::Language;
use dipper_core::time::Timestamp;

/// What stands between groups of three digits, and before the digits of a fraction.
fn separators(language: Language) -> (char, char) {
    match language {
        Language::English => (',', '.'),
        Language::German => ('.', ','),
        // A space that no line is broken at.
        Language::Norwegian => ('\u{a0}', ','),
    }
}

/// A number with all its digits.
pub(crate) fn number(number: u64, language: Language) -> String {
    let (separator, _) = separators(language);
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

/// A number of bytes: all digits, for those who compare.
pub(crate) fn bytes(bytes: u64, language: Language) -> String {
    let unit = match language {
        Language::English => "bytes",
        Language::German => "Bytes",
        Language::Norwegian => "byte",
    };
    format!("{} {unit}", number(bytes, language))
}

/// A size in the unit that suits it, with three digits at the least that tell something: 1 kB has 1000 bytes.
pub(crate) fn size(bytes: u64, language: Language) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes}\u{a0}B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let (_, point) = separators(language);
    let digits = if value >= 99.95 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{}\u{a0}{}", digits.replace('.', &point.to_string()), UNITS.get(unit).copied().unwrap_or_default())
}

/// A share of a hundred. All is only what is all.
pub(crate) fn percent(share: f64, language: Language) -> String {
    let (_, point) = separators(language);
    let percent = if share < 1.0 { (share * 100.0).min(99.9) } else { 100.0 };
    let digits = format!("{percent:.1}").replace('.', &point.to_string());
    let digits = digits.strip_suffix(&format!("{point}0")).unwrap_or(&digits).to_owned();
    if language == Language::English { format!("{digits}%") } else { format!("{digits}\u{a0}%") }
}

/// A day in UTC.
pub(crate) fn day(time: Timestamp, language: Language) -> String {
    let time = time.to_datetime();
    let (day, month, year) = (time.day(), time.month(), time.year());
    match language {
        Language::English => format!("{day} {month} {year}"),
        Language::German | Language::Norwegian => format!("{day:02}.{:02}.{year}", u8::from(month)),
    }
}

/// A point in time, to the minute, for tables.
pub(crate) fn time(time: Timestamp, language: Language) -> String {
    let moment = time.to_datetime();
    format!("{}, {:02}:{:02} UTC", day(time, language), moment.hour(), moment.minute())
}

/// A point in time in a sentence.
pub(crate) fn date(time: Timestamp, language: Language) -> String {
    let moment = time.to_datetime();
    let (day, clock) = (day(time, language), format!("{:02}:{:02}", moment.hour(), moment.minute()));
    match language {
        Language::English => format!("{day} at {clock} UTC"),
        Language::German => format!("{day} um {clock} Uhr (UTC)"),
        Language::Norwegian => format!("{day} kl. {clock} (UTC)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_dates_are_written_as_the_language_has_them() {
        let table = [
            (Language::English, "1,234,567 bytes", "22 November 2026 at 03:05 UTC", "22 November 2026, 03:05 UTC"),
            (Language::German, "1.234.567 Bytes", "22.11.2026 um 03:05 Uhr (UTC)", "22.11.2026, 03:05 UTC"),
            (Language::Norwegian, "1\u{a0}234\u{a0}567 byte", "22.11.2026 kl. 03:05 (UTC)", "22.11.2026, 03:05 UTC"),
        ];
        let moment = Timestamp::from(time::macros::datetime!(2026-11-22 03:05:59 UTC));
        for (language, of_bytes, in_sentence, in_table) in table {
            assert_eq!(bytes(1_234_567, language), of_bytes);
            assert_eq!(date(moment, language), in_sentence);
            assert_eq!(time(moment, language), in_table);
        }
        assert_eq!(number(999, Language::English), "999");
        assert_eq!(number(1000, Language::English), "1,000");
    }

    #[test]
    fn sizes_have_the_unit_that_suits_them() {
        let table = [
            (0, "0\u{a0}B"),
            (999, "999\u{a0}B"),
            (1000, "1,0\u{a0}kB"),
            (99_949, "99,9\u{a0}kB"),
            (99_951, "100\u{a0}kB"),
            (999_499, "999\u{a0}kB"),
            (999_500, "1,0\u{a0}MB"),
            (1_500_000_000, "1,5\u{a0}GB"),
            (u64::MAX, "18,4\u{a0}EB"),
        ];
        for (count, told) in table {
            assert_eq!(size(count, Language::Norwegian), told);
        }
    }

    #[test]
    fn nearly_all_is_not_all() {
        let table = [(0.0, "0%"), (0.5, "50%"), (0.1234, "12.3%"), (0.99999, "99.9%"), (1.0, "100%")];
        for (share, told) in table {
            assert_eq!(percent(share, Language::English), told);
        }
        assert_eq!(percent(0.1234, Language::German), "12,3\u{a0}%");
    }
}
