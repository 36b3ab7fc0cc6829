//! The page that the figures go to, and the same as JSON for the next run to compare with.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::earlier;
use crate::machine::Machine;
use crate::section::Section;
use crate::world::World;

/// All sections, in the order of the page.
#[derive(Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    pub sections: Vec<Section>,
}

impl Report {
    pub fn new(world: &World) -> Self {
        Self { machine: Machine::this(world), sections: Vec::new() }
    }

    /// Adds a section and shows it at once, as a run takes minutes.
    pub fn add(&mut self, section: Section) {
        eprintln!("{}", section.markdown(None));
        self.sections.push(section);
    }

    /// Writes the page beside the other documents.
    pub fn write(&self) {
        let json = docs("performance.json");
        let earlier: Option<Self> = fs::read(&json).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let page = docs("performance.md");
        fs::write(&page, self.markdown(earlier.as_ref())).expect("write the page");
        fs::write(&json, serde_json::to_vec_pretty(self).expect("JSON")).expect("write the figures");
        eprintln!("wrote {} and {}", page.display(), json.display());
    }

    /// Writes the page of the last run anew, compared with the run whose figures are in the file `before`.
    pub fn rewrite(before: &str) {
        let read =
            |path: &Path| -> Self { serde_json::from_slice(&fs::read(path).expect("figures")).expect("of a run") };
        let last = read(&docs("performance.json"));
        fs::write(docs("performance.md"), last.markdown(Some(&read(Path::new(before))))).expect("write the page");
    }

    fn markdown(&self, earlier: Option<&Self>) -> String {
        let mut page = String::from(INTRODUCTION);
        let repeated = earlier::compare(self, earlier);
        let _ = write!(page, "{}\n{}", self.machine.markdown(), repeated.text);
        page += "\n## Goals\n\n| goal | measured | |\n|---|---|---|\n";
        for goal in self.sections.iter().flat_map(|section| &section.goals).chain(&repeated.goal) {
            page += &goal.markdown();
        }
        for section in &self.sections {
            page += "\n";
            page += &section.markdown(earlier);
        }
        page
    }

    /// For a run of some scenarios, which writes no page.
    pub fn print_goals(&self) {
        for goal in self.sections.iter().flat_map(|section| &section.goals) {
            eprint!("{}", goal.markdown());
        }
    }
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
