//! Times and sizes in options.

use std::str::FromStr as _;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use super::ConfigError;

/// How long; none for 0.
pub(super) fn retention(text: &str) -> Result<Option<Duration>, ConfigError> {
    let malformed = || ConfigError::Malformed {
        name: "--audit-retention",
        text: text.to_owned(),
        wanted: "a time such as 90d or 12h, or 0",
    };
    if text == "0" {
        return Ok(None);
    }
    let span = Span::from_str(text).map_err(|_| malformed())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| malformed())?;
    let duration = Duration::try_from(duration).map_err(|_| malformed())?;
    Ok((!duration.is_zero()).then_some(duration))
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
