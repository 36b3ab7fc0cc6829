//! The caps of one user, as the command line tells of them.

use std::fmt::Write as _;

use tests::{Output, World};

fn create(world: &World<()>, name: &str, target: [&str; 2], size: usize) -> Output {
    world.alice.coder(["secret", "create", name]).args(target).stdin("x".repeat(size)).run()
}

#[test]
fn the_fifty_first_secret() {
    let world = World::new();
    let mut file = String::new();
    for n in 0..50 {
        writeln!(file, "KEY_{n}=v").unwrap();
    }
    world.env.write("fifty.env", &file);
    let _ = world.alice.coder(["secret", "import", "fifty.env"]).run().success().says("Imported 50 secrets.");
    let refused = create(&world, "one-more", ["--env", "ONE_MORE"], 1).exits(1);
    let _ = refused
        .complains("create secret \"one-more\": User secrets limit reached.")
        .complains("Each user can have at most 50 secrets.");
    // A place that becomes free can be taken, and others have places of their own.
    let _ = world.alice.coder(["secret", "delete", "--yes", "KEY_7"]).run().success();
    let _ = create(&world, "one-more", ["--env", "ONE_MORE"], 1).success();
    let bob = world.env.user("bob");
    let _ = bob.coder(["secret", "create", "first"]).stdin("v").run().success();
}

#[test]
fn the_bytes_of_all_secrets() {
    let world = World::new();
    for n in 0..8 {
        let _ = create(&world, &format!("s{n}"), ["--file", &format!("~/{n}")], 24_576).success();
    }
    let left = 204_800 - 8 * 24_576;
    let refused = create(&world, "too-much", ["--file", "~/x"], left + 1).exits(1);
    let _ =
        refused.complains("create secret \"too-much\": User secrets value-bytes limit reached.").complains("204800");
    let _ = create(&world, "just-enough", ["--file", "~/x"], left).success();
    let grow = world.alice.coder(["secret", "update", "just-enough"]).stdin("x".repeat(left + 1)).run().exits(1);
    let _ = grow.complains("update secret \"just-enough\": User secrets value-bytes limit reached.");
}

#[test]
fn the_bytes_of_the_environment() {
    let world = World::new();
    let _ = create(&world, "whole", ["--env", "WHOLE"], 24_576).success();
    let reached = "Environment-injected user secrets bytes limit reached.";
    let refused = create(&world, "more", ["--env", "MORE"], 1).exits(1);
    let _ = refused.complains(&format!("create secret \"more\": {reached}")).complains("24576");
    let _ = create(&world, "more", ["--file", "~/more"], 1).success();
    let moved = world.alice.coder(["secret", "update", "more", "--env", "MORE"]).run().exits(1);
    let _ = moved.complains(&format!("update secret \"more\": {reached}"));
    let _ = world.alice.coder(["secret", "update", "whole"]).stdin("short").run().success();
    let _ = world.alice.coder(["secret", "update", "more", "--env", "MORE"]).run().success();
}
