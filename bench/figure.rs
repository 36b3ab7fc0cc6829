//! One measured figure.

use serde::{Deserialize, Serialize};

/// Median and quartiles, in the unit of its section.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Figure {
    /// Of many runs.
    pub fn of(mut samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "nothing was measured");
        samples.sort_by(f64::total_cmp);
        let at = |quarter: usize| samples[(samples.len() - 1) * quarter / 4];
        Self { median: at(2), low: at(1), high: at(3) }
    }

    /// Of what has no spread, as the size of a file.
    pub fn exact(value: f64) -> Self {
        Self { median: value, low: value, high: value }
    }

    pub fn to(self, other: Self) -> f64 {
        self.median / other.median
    }

    /// The middle half of the runs; empty for an exact figure.
    pub fn spread(self) -> String {
        if self.low.to_bits() == self.high.to_bits() {
            return String::new();
        }
        format!("{} – {}", short(self.low), short(self.high))
    }
}

/// As many digits as mean something.
pub fn short(value: f64) -> String {
    match value.abs() {
        1000.0.. => grouped(value),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
