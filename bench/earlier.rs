//! Does a second run on the same machine say the same?

use std::fmt::Write as _;

use crate::report::Report;
use crate::section::Goal;

/// How far the ratios of two runs may be apart, in per cent.
const TOLERANCE: f64 = 15.0;

/// How this run compares with the one before it.
pub struct Comparison {
    pub text: String,
    pub goal: Option<Goal>,
}

pub fn compare(now: &Report, before: Option<&Report>) -> Comparison {
    let Some(before) = before.filter(|before| before.machine.same_hardware(&now.machine)) else {
        let text = "There is no earlier run on this machine to compare the ratios with.\n".to_owned();
        return Comparison { text, goal: None };
    };
    let mut changes = Vec::new();
    for section in &now.sections {
        let Some(before) = before.section(&section.title) else { continue };
        for (what, now) in section.ratios() {
            if let Some(before) = before.ratio(what) {
                changes.push((apart(now, before), format!("{what}, in “{}”", section.title)));
            }
        }
    }
    changes.sort_by(|one, other| other.0.total_cmp(&one.0));
    let apart = changes.iter().filter(|(change, _)| *change > TOLERANCE);
    let (all, out) = (changes.len(), apart.clone().count());
    let date = &before.machine.date;
    let mut text = format!("{} of {all} ratios are within {TOLERANCE} % of the run before, of {date}.\n", all - out);
    for (change, what) in apart {
        let _ = writeln!(text, "- {change:.0} % apart: {what}");
    }
    let widest = changes.first().map_or(0.0, |(change, _)| *change);
    let goal = Goal::at_most("ratios of this run and the one before: at most 15 % apart", widest, TOLERANCE);
    Comparison { text, goal: Some(goal) }
}

/// In per cent. Something that never happens, as a wake-up, is as rare as before.
fn apart(now: f64, before: f64) -> f64 {
    if now.to_bits() == before.to_bits() { 0.0 } else { (now / before - 1.0).abs() * 100.0 }
}
