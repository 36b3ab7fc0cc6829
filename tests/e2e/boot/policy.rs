//! `--disable-user-secret-file-path`: what the administrator forbids is not delivered, and comes back with the permission.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::{Env, wait_until};

use super::{World, names, wait_deliveries};

#[test]
fn without_file_delivery_variables_arrive_and_files_do_not() {
    let env = Env::new();
    let mut server = env.server();
    let alice = env.user("alice");
    // Stored while it was allowed.
    let file = alice.secret("file-only", &["--file", "~/file-only"]);
    let both = alice.secret("both", &["--file", "~/both", "--env", "BOTH"]);
    let variable = alice.secret("variable", &["--env", "VARIABLE"]);
    let address = server.address().to_owned();
    assert_eq!(server.terminate().code, Some(0));
    let server = env.server_with(["--listen", &address, "--disable-user-secret-file-path"]);
    let world = World { env, server, alice, workspace: () };

    let workspace = world.workspace(json!({}));
    let home = world.home();
    let boot = |world: &World<()>| {
        let main = "printf '<%s> <%s>' \"$BOTH\" \"$VARIABLE\" > ~/saw";
        let mut agent = world.agent(&workspace).home(&home).command(["sh", "-c", main]).start();
        assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
        agent.read("saw")
    };
    assert_eq!(boot(&world), format!("<{both}> <{variable}>"));
    assert_eq!(names(&home), ["saw"]);
    // One with a file alone is not even sent.
    assert_eq!(workspace.show_agent()["last_delivery"]["secrets"], 2);

    let World { env, mut server, alice, workspace: () } = world;
    assert_eq!(server.terminate().code, Some(0));
    let server = env.server_with(["--listen", &address]);
    let world = World { env, server, alice, workspace: () };
    assert_eq!(boot(&world), format!("<{both}> <{variable}>"));
    assert_eq!(fs::read_to_string(home.join("file-only")).unwrap(), file);
    assert_eq!(fs::read_to_string(home.join("both")).unwrap(), both);
}

/// A running agent follows with its next fetch, and what it has delivered stays.
#[test]
fn a_policy_that_changes_under_a_running_agent() {
    let world = World::new();
    let both = world.alice.secret("both", &["--file", "~/both", "--env", "BOTH"]);
    let workspace = world.workspace(json!({}));
    let address = world.server.address().to_owned();
    let World { env, mut server, alice, workspace: () } = world;
    let mut agent = env.agent(&server, &workspace).start();
    workspace.wait_lifecycle("ready");

    assert_eq!(server.terminate().code, Some(0));
    let mut server = env.server_with(["--listen", &address, "--disable-user-secret-file-path"]);
    wait_deliveries(&agent, 2);
    assert_eq!(agent.read("both"), both);
    agent.line_with("delivered 1 variable and 0 files", tests::SHORT);
    // Under the policy a new value reaches no file …
    let new = env.canary("new");
    let _ = alice.coder(["secret", "update", "both"]).stdin(&new).run().success();
    agent.signal(Signal::SIGHUP);
    wait_deliveries(&agent, 3);
    assert_eq!(agent.read("both"), both);
    // … until it is lifted.
    assert_eq!(server.terminate().code, Some(0));
    let _server = env.server_with(["--listen", &address]);
    wait_until("the new value", tests::LONG, || agent.read("both") == new);
    assert_eq!(agent.terminate().code, Some(0));
}
