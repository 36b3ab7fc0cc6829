//! Times and sizes in options.

use std::str::FromStr as _;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

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
