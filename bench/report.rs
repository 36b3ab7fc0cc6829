//! The page that the figures go to.

use std::fmt::Write as _;
use std::path::Path;

/// One figure.
pub struct Row {
    what: String,
    value: String,
    goal: &'static str,
}

impl Row {
    pub fn new(what: impl Into<String>, value: impl Into<String>, goal: &'static str) -> Self {
        let row = Self { what: what.into(), value: value.into(), goal };
        eprintln!("{}: {}", row.what, row.value);
        row
    }
}

/// The page, filled scenario by scenario.
pub struct Report(String);

impl Report {
    pub fn new(machine: &str) -> Self {
        Self(format!(
            "# Performance\n\nWritten by `make bench`; nothing here is by hand.\n\n{machine}\n\
             Client and server share the machine and talk over loopback.\n"
        ))
    }

    pub fn rows(&mut self, title: &str, rows: Vec<Row>) {
        let _ = write!(self.0, "\n## {title}\n\n| what | measured | goal |\n|---|---|---|\n");
        for Row { what, value, goal } in rows {
            let _ = writeln!(self.0, "| {what} | {value} | {goal} |");
        }
    }

    pub fn write(self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
        std::fs::write(&path, self.0).expect("write the page");
        eprintln!("wrote {}", path.display());
    }
}
