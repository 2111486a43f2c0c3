//! Times as people give them: exact, local, or how long ago.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// A time, and the words it was given in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    pub given: String,
    pub at: Timestamp,
}

impl Moment {
    /// # Errors
    /// What is expected, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        Ok(Self { given: text.to_owned(), at: parse(text)? })
    }
}

/// The time that is meant now, in the system's time zone.
///
/// # Errors
/// What is expected, in words.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    parse_at(text, Timestamp::now(), &TimeZone::system())
}

/// A day of "2d" is 24 hours: "how long ago" is about time passed, not about calendars.
fn parse_at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if text.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(span) = text.parse::<Span>()
    {
        let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok();
        return ago
            .filter(|ago| *ago >= SignedDuration::ZERO)
            .and_then(|ago| now.checked_sub(ago).ok())
            .ok_or_else(|| "that is too long ago, or in units without a fixed length".to_owned());
    }
    let local = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(DateTime::from));
    local.ok().and_then(|local| zone.to_timestamp(local).ok()).ok_or_else(|| {
        "expected a time such as 2026-03-04T05:06:07Z, 2026-03-04, or 2h for two hours ago".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let now: Timestamp = "2026-03-04T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let expected = expected.map(|t| t.parse::<Timestamp>().unwrap());
        assert_eq!(parse_at(text, now, &zone).ok(), expected, "{text}");
    }

    #[test]
    fn times_are_exact_local_or_relative() {
        check("2026-03-04T05:06:07Z", Some("2026-03-04T05:06:07Z"));
        check("2026-03-04T05:06:07.5+01:00", Some("2026-03-04T04:06:07.5Z"));
        check("2026-03-04T05:06", Some("2026-03-04T03:06:00Z"));
        check("2026-03-04 05:06:07", Some("2026-03-04T03:06:07Z"));
        check("2026-03-04", Some("2026-03-03T22:00:00Z"));
        check("1h", Some("2026-03-04T11:00:00Z"));
        check("90s", Some("2026-03-04T11:58:30Z"));
        check("2d", Some("2026-03-02T12:00:00Z"));
        check("1w", Some("2026-02-25T12:00:00Z"));
        check("1h30m", Some("2026-03-04T10:30:00Z"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "yesterday", "h", "-1h", "1 parsec", "2026-13-01", "99999999999999h", "3mo"] {
            check(text, None);
        }
    }
}
