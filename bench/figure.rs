//! One measured figure.

use serde::{Deserialize, Serialize};

/// Median and quartiles, in the unit of its section.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub median: f64,
    low: f64,
    high: f64,
    /// The median of each round; empty where there were none.
    #[serde(default)]
    rounds: Vec<f64>,
}

impl Figure {
    /// Of rounds with a run each.
    pub fn of(samples: Vec<f64>) -> Self {
        Self { rounds: samples.clone(), ..Self::all(samples) }
    }

    /// Of rounds with several runs each.
    pub fn of_rounds(rounds: Vec<Vec<f64>>) -> Self {
        let all = rounds.concat();
        Self { rounds: rounds.into_iter().map(|runs| Self::all(runs).median).collect(), ..Self::all(all) }
    }

    /// Of what has no spread, as the size of a file.
    pub fn exact(value: f64) -> Self {
        Self { median: value, low: value, high: value, rounds: Vec::new() }
    }

    fn all(mut samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "nothing was measured");
        samples.sort_by(f64::total_cmp);
        let last = samples.len() - 1;
        let median = f64::midpoint(samples[last / 2], samples[last.div_ceil(2)]);
        Self { median, low: samples[last / 4], high: samples[last * 3 / 4], rounds: Vec::new() }
    }

    /// How many times `other` this is.
    pub fn to(&self, other: &Self) -> f64 {
        self.against(other, |own, other| own / other)
    }

    /// How much more than `other` this is.
    pub fn above(&self, other: &Self) -> f64 {
        self.against(other, |own, other| own - other)
    }

    /// The median over the rounds that both were in: a machine that slows down for a minute slows both.
    fn against(&self, other: &Self, compared: impl Fn(f64, f64) -> f64) -> f64 {
        if self.rounds.is_empty() || self.rounds.len() != other.rounds.len() {
            return compared(self.median, other.median);
        }
        let rounds = self.rounds.iter().zip(&other.rounds);
        Self::all(rounds.map(|(own, other)| compared(*own, *other)).collect()).median
    }

    /// The middle half of the runs; empty for an exact figure.
    pub fn spread(&self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_slows_down_changes_no_ratio() {
        let ours = Figure::of_rounds(vec![vec![1.0, 1.0, 9.0], vec![2.0, 2.0, 2.0], vec![4.0, 4.0, 4.0]]);
        let theirs = Figure::of_rounds(vec![vec![3.0], vec![6.0], vec![13.0]]);
        assert_eq!(theirs.to(&ours).to_bits(), 3.0_f64.to_bits());
        assert_eq!(theirs.above(&ours).to_bits(), 4.0_f64.to_bits());
    }

    #[test]
    fn what_was_measured_once_is_compared_by_its_median() {
        let many = Figure::of(vec![1.0, 2.0, 30.0]);
        assert_eq!(Figure::exact(4.0).to(&many).to_bits(), 2.0_f64.to_bits());
    }
}
