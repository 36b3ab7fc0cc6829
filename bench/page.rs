//! The page that the figures go to, beside the other documents.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::earlier;
use crate::report::Report;

/// Writes the page, compared with the run before, and the figures for the next run.
pub fn write(report: &Report) {
    let (page, figures) = (docs("performance.md"), docs("performance.json"));
    fs::write(&page, markdown(report, Report::load(&figures).as_ref())).expect("write the page");
    report.save(&figures);
    eprintln!("wrote {} and {}", page.display(), figures.display());
}

/// Writes the page of the last run again, compared with the run whose figures are in the file `before`.
pub fn rewrite(before: &str) {
    let last = Report::load(&docs("performance.json")).expect("figures of the last run");
    let before = Report::load(Path::new(before)).expect("figures of the run before");
    fs::write(docs("performance.md"), markdown(&last, Some(&before))).expect("write the page");
}

fn markdown(report: &Report, before: Option<&Report>) -> String {
    let mut page = String::from(INTRODUCTION);
    let repeated = earlier::compare(report, before);
    let _ = write!(page, "{}\n{}", report.machine.markdown(), repeated.text);
    page += "\n## Goals\n\n| goal | measured | |\n|---|---|---|\n";
    for goal in report.sections.iter().flat_map(|section| &section.goals).chain(&repeated.goal) {
        page += &goal.markdown();
    }
    for section in &report.sections {
        page += "\n";
        page += &section.markdown(before.and_then(|before| before.section(&section.title)));
    }
    page
}

const INTRODUCTION: &str = "\
# Performance

Written by `make bench`; no figure is by hand, and `docs/performance.json` has the same for programs. What profiles led to is
told with the scenarios, as of when it was done. Run it on your own machine: what counts is the column *to ours*, a contender divided by our own (ours is 1.00). *To the limit* is the same
divided by what the machine itself costs: a bare start of a process, one flush of the disk, an echo. What is compared takes turns
in an order that is shuffled anew each round, and is divided round by round, and the median of that is shown, because a
machine's speed changes from one minute to the next. The figure itself is the median of all runs, and *middle half* the span
from the first to the third quartile. Client and server share the machine and talk over loopback.

";

/// Writes an attachment of the page, such as a plot, and returns the Markdown that shows it.
pub fn attach(name: &str, title: &str, content: &str) -> String {
    fs::write(docs(name), content).expect("write an attachment");
    format!("![{title}]({name})")
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs").join(name)
}
