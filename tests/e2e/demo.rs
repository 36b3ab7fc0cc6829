//! What a newcomer types first.

use std::path::Path;
use std::time::Duration;

use tests::{Env, binaries};

#[test]
fn the_demo_shows_what_it_promises_and_leaves_nothing_behind() {
    let env = Env::new();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/run");
    let output = env
        .program(demo)
        .env("BIN_DIR", binaries().coder.parent().unwrap())
        .limit(Duration::from_mins(2))
        .run()
        .success()
        .says("Alice's, not the template's")
        .says("Done, and cleaned up.");
    assert_eq!(output.stderr, "");
    assert_eq!(std::fs::read_dir(env.path("tmp")).unwrap().count(), 0);
}
