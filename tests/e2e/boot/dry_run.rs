//! `--dry-run`: what a start would do, and nothing done.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use tests::{DEV, Env, Workspace};

use super::{World, on_start, on_stop, snapshot};

#[test]
fn it_prints_each_step_without_a_value_and_changes_nothing() {
    let world = World::new();
    let home = world.home();
    let same = world.alice.secret("same", &["--file", "~/same"]);
    for (name, path) in [
        ("new", "~/dir/new"),
        ("differs", "~/differs"),
        ("linked", "~/linked"),
        ("hard", "~/hard"),
        ("z-refused", "~/directory"),
    ] {
        world.alice.secret(name, &["--file", path]);
    }
    world.alice.secret("a-loser", &["--file", home.join("same").to_str().unwrap()]);
    world.alice.secret("variable", &["--env", "API_KEY"]);
    world.alice.secret("disabled", &["--env", "DISABLED", "--file", "~/disabled", "--enabled=false"]);
    let workspace = world.workspace(json!({ "scripts": [
        on_start("Install tools", "touch ~/ran"), on_stop("Stop", "touch ~/ran"),
    ] }));
    fs::write(home.join("same"), &same).unwrap();
    for name in ["differs", "hard", "behind"] {
        fs::write(home.join(name), "old").unwrap();
    }
    fs::hard_link(home.join("hard"), home.join("hard-too")).unwrap();
    symlink("behind", home.join("linked")).unwrap();
    fs::create_dir(home.join("directory")).unwrap();

    let before = snapshot(&home);
    let run = world.agent(&workspace).home(&home).args(["--dry-run"]).into_run();
    let out = run.run().success();
    assert_eq!(snapshot(&home), before);
    let path = |name: &str| home.join(name);
    let expected = [
        format!("skip {:?}: a later secret has the same path", path("same")),
        format!("replace {:?}: its content differs", path("differs")),
        format!("rewrite {:?} in place: its content differs and it has 2 names", path("hard")),
        format!("replace {:?}: its content differs", path("linked")),
        format!("create {:?}", path("dir/new")),
        format!("keep {:?}: its content is the same", path("same")),
        format!("refuse {:?}: it is a directory", path("directory")),
        "set API_KEY".to_owned(),
        "run \"Install tools\"".to_owned(),
    ];
    assert_eq!(out.stdout.lines().collect::<Vec<_>>(), expected);
    // The server has seen a delivery, and no agent.
    let shown = workspace.show_agent();
    assert_eq!((&shown["status"], &shown["lifecycle_state"]), (&"connecting".into(), &"created".into()));
    assert_eq!(shown["last_delivery"]["secrets"], 8);
}

/// Beside an agent that runs: it is neither disturbed nor replaced.
#[test]
fn it_does_not_disturb_the_agent_that_runs() {
    let world = World::new();
    world.alice.secret("key", &["--file", "~/key"]);
    let workspace = world.workspace(json!({}));
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    let home = agent.home().to_owned();
    let out = world.agent(&workspace).home(&home).args(["--dry-run"]).into_run().run().success();
    assert_eq!(out.stdout, format!("keep {:?}: its content is the same\n", home.join("key")));
    super::wait_status(&workspace, "connected");
    assert_eq!(super::states(&workspace), ["starting", "ready"]);
    assert_eq!(super::deliveries(&agent), 1);
    assert_eq!(agent.terminate().code, Some(0));
}

#[test]
fn what_keeps_it_from_asking_is_said_and_fails() {
    let world = World::new();
    let workspace = world.workspace(json!({}));
    let run = |workspace: &Workspace, url: &str| {
        let url = url.to_owned();
        world.env.agent(&url, workspace).args(["--dry-run"]).into_run().run().exits(1)
    };
    let _ = run(&workspace, "http://127.0.0.1:1").complains("error: ");
    // A token of another server.
    let other = Env::new();
    let _other = other.server();
    other.user("alice");
    let stranger = other.workspace(DEV);
    world.env.watch("token of a stranger", stranger.token().as_bytes());
    let _ = run(&stranger, world.server.url()).complains("error: ");
}
