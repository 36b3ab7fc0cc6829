//! The imports of every crate follow the tables of ARCHITECTURE.md, and no modules use each other in a circle.

mod rules;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use rules::{Floors, circles};
use source::Crate;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(root: &str) -> Crate {
    Crate::read(&repository().join(root))
}

#[track_caller]
fn none(violations: &[String]) {
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[track_caller]
fn keeps_its_floors(name: &str) {
    let page = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    none(&Floors::of_page(&page, name).violations(&read(&format!("{name}/src/lib.rs"))));
}

#[test]
fn the_server_uses_lower_floors_only() {
    keeps_its_floors("server-stub");
}

#[test]
fn the_agent_uses_lower_floors_only() {
    keeps_its_floors("agent");
}

#[test]
fn no_circle_in_any_crate() {
    for root in ["protocol/src/lib.rs", "agent/src/lib.rs", "server-stub/src/lib.rs", "bench/main.rs"] {
        none(&circles(&read(root)));
    }
}

/// A crate of a few files, to show that a wrong arrow is found.
fn sample(files: &[(&str, &str)]) -> (tempfile::TempDir, Crate) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let source = Crate::read(&dir.path().join("lib.rs"));
    (dir, source)
}

const PAGE: &str =
    "# Page\n## Floors of `x`\n| floor | what |\n|---|---|\n| `high` | a |\n| `low`, `twin` | b |\n## Next\n";
const LIB: (&str, &str) = ("lib.rs", "mod high; mod low; mod twin;");

fn violations(high: &str, low: &str, twin: &str) -> Vec<String> {
    let (_dir, source) = sample(&[LIB, ("high.rs", high), ("low.rs", low), ("twin.rs", twin)]);
    Floors::of_page(PAGE, "x").violations(&source)
}

#[test]
fn an_arrow_that_runs_up_or_sideways_is_found_however_it_is_spelled() {
    none(&violations("use crate::low::A; use super::twin;", "", ""));
    for upward in [
        "use crate::high::A;",
        "use crate::{high::A};",
        "use super::high;",
        "use crate::high::*;",
        "fn f() { crate::high::f(); }",
        "fn f(_: super::high::A) {}",
        "fn f() { println!(\"{}\", g(crate::high::A)); }",
        "fn f() { let _: Vec<crate::high::A>; }",
        "mod inner { use crate::high::A; }",
        "use crate::twin::A;",
    ] {
        let found = violations("", upward, "");
        assert_eq!(found.len(), 1, "{upward}: {found:?}");
        assert!(found[0].contains("low.rs:1: `low"), "{found:?}");
    }
}

#[test]
fn tests_may_use_anything() {
    none(&violations("", "#[cfg(test)] mod tests { use crate::high::A; } #[cfg(test)] use crate::high;", ""));
}

#[test]
fn a_module_without_a_floor_and_a_floor_without_a_module_are_found() {
    let (_dir, source) = sample(&[("lib.rs", "mod high; mod low; mod new { }"), ("high.rs", ""), ("low.rs", "")]);
    let found = Floors::of_page(PAGE, "x").violations(&source);
    assert_eq!(found, ["module `new` has no floor", "there is no module `twin`"]);
}

#[test]
fn a_circle_is_found_at_any_depth_and_behind_a_re_export() {
    let parent = "mod a; mod b; mod c; pub use c::C;";
    let files = |a: &str, b: &str, c: &str| {
        let files = [("lib.rs", "mod p;"), ("p/mod.rs", parent), ("p/a.rs", a), ("p/b.rs", b), ("p/c.rs", c)];
        circles(&sample(&files).1)
    };
    none(&files("use super::b::B; use crate::p::C;", "use super::C;", ""));
    let found = files("use super::b::B;", "use super::C;", "use crate::p::a::A;");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("circle a → b → c → a"), "{found:?}");
}
