//! The man pages that a package installs.

use std::fs;

use tests::{Env, Need, requires};

fn pages(env: &Env) -> Vec<String> {
    let directory = env.path("man");
    let _ = env.coder(["man"]).arg(&directory).run().success();
    let _ = env.program(&tests::binaries().server).arg("man").arg(&directory).run().success();
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn every_command_has_a_page_that_says_how_to_call_it() {
    let env = Env::new();
    let pages = pages(&env);
    for name in ["coder", "coder-agent-reload", "coder-secret-create", "coder-server", "coder-server-keys-rotate"] {
        assert!(pages.contains(&format!("{name}.1")), "{name}: {pages:?}");
    }
    assert!(!pages.contains(&"coder-man.1".to_owned()), "{pages:?}");
    let page = fs::read_to_string(env.path("man/coder-secret-create.1")).unwrap();
    for text in [
        "coder secret create [OPTIONS] <NAME>",
        "SH EXAMPLES",
        "SH ENVIRONMENT",
        "SH EXIT STATUS",
        "SH FILES",
        "fBcoder\\-secret\\fR(1)",
    ] {
        assert!(page.contains(text), "{text:?} in:\n{page}");
    }
}

#[test]
fn man_has_no_complaint_about_a_page() {
    if !requires("man_has_no_complaint_about_a_page", &[Need::Program("man", "man-db")]) {
        return;
    }
    let env = Env::new();
    for page in pages(&env) {
        let shown = env.program("/usr/bin/man").args(["--warnings", "-l"]).arg(env.path("man").join(&page)).run();
        assert_eq!(shown.success().stderr, "", "{page}");
    }
}
