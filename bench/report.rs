//! The figures of a run, which the next run reads to compare itself with.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

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

    /// The report in a file that [`Report::save`] wrote; `None` where there is none that this version reads.
    pub fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    pub fn save(&self, path: &Path) {
        fs::write(path, serde_json::to_vec_pretty(self).expect("JSON")).expect("write the figures");
    }

    /// Adds a section and shows it at once, as a run takes minutes.
    pub fn add(&mut self, section: Section) {
        eprintln!("{}", section.markdown(None));
        self.sections.push(section);
    }

    pub fn section(&self, title: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.title == title)
    }

    /// For a run of some scenarios, which writes no page.
    pub fn print_goals(&self) {
        for goal in self.sections.iter().flat_map(|section| &section.goals) {
            eprint!("{}", goal.markdown());
        }
    }
}
