//! One scenario on the page: who was measured, and what was to be shown.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::figure::{Figure, short};

/// A table of contenders, all in one unit.
#[derive(Serialize, Deserialize)]
pub struct Section {
    pub title: String,
    unit: String,
    text: Vec<String>,
    rows: Vec<Row>,
    pub goals: Vec<Goal>,
}

/// One contender.
#[derive(Serialize, Deserialize)]
struct Row {
    what: String,
    figure: Figure,
    part: Part,
}

/// The first of ours and the first limit are what the others are divided by.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    Ours,
    Peer,
    Limit,
}

impl Section {
    /// `unit` is that of every figure: `ms`, `MiB`, `per second`.
    pub fn new(title: impl Into<String>, unit: &str) -> Self {
        Self { title: title.into(), unit: unit.to_owned(), text: vec![], rows: vec![], goals: vec![] }
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: impl Into<String>) {
        self.text.push(text.into());
    }

    /// Adds a figure of ours; the first is what the others are divided by.
    pub fn ours(&mut self, what: impl Into<String>, figure: Figure) {
        self.push(what, figure, Part::Ours);
    }

    /// Adds what somebody else's system showed.
    pub fn peer(&mut self, what: impl Into<String>, figure: Figure) {
        self.push(what, figure, Part::Peer);
    }

    /// Adds what the machine itself costs.
    pub fn limit(&mut self, what: impl Into<String>, figure: Figure) {
        self.push(what, figure, Part::Limit);
    }

    pub fn goal(&mut self, goal: Goal) {
        self.goals.push(goal);
    }

    fn push(&mut self, what: impl Into<String>, figure: Figure, part: Part) {
        self.rows.push(Row { what: what.into(), figure, part });
    }

    fn first(&self, part: Part) -> Option<&Figure> {
        self.rows.iter().find(|row| row.part == part).map(|row| &row.figure)
    }

    /// Each contender and its ratio to ours.
    pub fn ratios(&self) -> impl Iterator<Item = (&str, f64)> {
        let ours = self.first(Part::Ours);
        self.rows
            .iter()
            .filter(|row| row.part != Part::Ours)
            .filter_map(move |row| Some((row.what.as_str(), row.figure.to(ours?))))
    }

    /// The ratio of one contender to ours.
    pub fn ratio(&self, what: &str) -> Option<f64> {
        self.ratios().find_map(|(name, ratio)| (name == what).then_some(ratio))
    }

    /// `before` is the same section of an earlier run.
    pub fn markdown(&self, before: Option<&Self>) -> String {
        let mut page = format!("## {}\n\n", self.title);
        for text in &self.text {
            let _ = writeln!(page, "{text}\n");
        }
        let _ = writeln!(page, "| | {} | middle half | to ours | to ours, run before | to the limit |", self.unit);
        page += "|---|---:|---:|---:|---:|---:|\n";
        for row in &self.rows {
            page += &self.line(row, before);
        }
        page
    }

    fn line(&self, row: &Row, before: Option<&Self>) -> String {
        let cell = |value: Option<f64>| value.map(short).unwrap_or_default();
        let what = if row.part == Part::Ours { format!("**{}**", row.what) } else { row.what.clone() };
        let ours = self.first(Part::Ours).map(|ours| row.figure.to(ours));
        let before = before.and_then(|section| section.ratio(&row.what));
        let limit = self.first(Part::Limit).map(|limit| row.figure.to(limit));
        let (median, spread) = (short(row.figure.median), row.figure.spread());
        format!("| {what} | {median} | {spread} | {} | {} | {} |\n", cell(ours), cell(before), cell(limit))
    }
}

/// What a figure has to be.
#[derive(Serialize, Deserialize)]
pub struct Goal {
    what: String,
    /// None where it could not be measured.
    measured: Option<f64>,
    bound: Bound,
    note: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    pub fn at_most(what: impl Into<String>, measured: f64, bound: f64) -> Self {
        Self { what: what.into(), measured: Some(measured), bound: Bound::AtMost(bound), note: String::new() }
    }

    pub fn at_least(what: impl Into<String>, measured: f64, bound: f64) -> Self {
        Self { what: what.into(), measured: Some(measured), bound: Bound::AtLeast(bound), note: String::new() }
    }

    /// One that this run cannot judge.
    pub fn unknown(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), measured: None, bound: Bound::AtMost(0.0), note: why.into() }
    }

    fn met(&self) -> Option<bool> {
        self.measured.map(|measured| match self.bound {
            Bound::AtMost(bound) => measured <= bound,
            Bound::AtLeast(bound) => measured >= bound,
        })
    }

    pub fn markdown(&self) -> String {
        let judged = match self.met() {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "not measured",
        };
        let measured = self.measured.map_or_else(|| self.note.clone(), short);
        format!("| {} | {measured} | {judged} |\n", self.what)
    }
}
