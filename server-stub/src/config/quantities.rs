//! Times and sizes in options.

use std::str::FromStr as _;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

use super::{ConfigError, Drain};

/// How long; none for 0.
pub(super) fn retention(text: &str) -> Result<Option<Duration>, ConfigError> {
    let wanted = "a time such as 90d or 12h, or 0";
    let malformed = || ConfigError::Malformed { name: "--audit-retention", text: text.to_owned(), wanted };
    let duration = duration(text).ok_or_else(malformed)?;
    Ok((!duration.is_zero()).then_some(duration))
}

/// How long a stop may take.
pub(super) fn drain_time(text: &str) -> Result<Drain, ConfigError> {
    let wanted = "a time such as 10s or 1m, or 0";
    let malformed = || ConfigError::Malformed { name: "--drain-time", text: text.to_owned(), wanted };
    duration(text).map(Drain::For).ok_or_else(malformed)
}

/// How long a session or a token lives.
pub fn lifetime(name: &'static str, text: &str) -> Result<Duration, ConfigError> {
    let wanted = "a time such as 30d, 12h or 90s";
    let malformed = || ConfigError::Malformed { name, text: text.to_owned(), wanted };
    duration(text).filter(|time| *time >= Duration::from_secs(1)).ok_or_else(malformed)
}

/// How long ago, or since when.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, ConfigError> {
    let wanted = "a time ago such as 2h or 7d, or a date such as 2026-11-30 or 2026-11-30T12:00:00Z";
    let malformed = || ConfigError::Malformed { name: "--since", text: text.to_owned(), wanted };
    if let Some(ago) = duration(text) {
        return now.checked_sub(ago).map_err(|_| malformed());
    }
    let day = || Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::system()).ok()?.timestamp());
    text.parse().ok().or_else(day).ok_or_else(malformed)
}

fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let span = Span::from_str(text).ok()?;
    Duration::try_from(span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?).ok()
}

/// How many bytes; none for 0.
pub(super) fn size(text: &str) -> Result<Option<u64>, ConfigError> {
    let malformed = || ConfigError::Malformed {
        name: "--audit-max-size",
        text: text.to_owned(),
        wanted: "a size such as 512MiB or 1GiB, or 0",
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    // Without an i they are binary as well, as systemd reads them.
    let unit: u64 = match unit.trim_start().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => return Err(malformed()),
    };
    let bytes = u64::from_str(number).ok().and_then(|number| number.checked_mul(unit)).ok_or_else(malformed)?;
    Ok((bytes > 0).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_times_ago_and_dates() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        assert_eq!(since("2h", now).unwrap().to_string(), "2026-11-30T10:00:00Z");
        assert_eq!(since("7d", now).unwrap().to_string(), "2026-11-23T12:00:00Z");
        assert_eq!(since("2026-11-01T00:00:00Z", now).unwrap().to_string(), "2026-11-01T00:00:00Z");
        assert!(since("2026-11-01", now).is_ok());
        assert!(since("yesterday", now).unwrap_err().to_string().contains("--since"));
        assert!(lifetime("--session-duration", "0").is_err());
    }
}
