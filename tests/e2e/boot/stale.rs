//! Files that no secret goes to any more, and the ledger that knows them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::json;
use tests::{LONG, Need, binaries, requires, wait_until};

use super::{World, mode, names, wait_log};

/// Deletes, renames and disables; across refetches and starts.
#[test]
fn stale_files_stay_unless_the_user_wants_them_removed() {
    let world = World::new();
    for name in ["deleted", "disabled", "edited", "moved"] {
        world.alice.secret(name, &["--file", &format!("~/dir/{name}")]);
    }
    let kept = world.alice.secret("kept", &["--file", "~/dir/kept"]);
    let workspace = world.workspace(json!({}));
    // At the moments of this test's choice.
    let mut agent = world.agent(&workspace).args(["--live", "off"]).start();
    workspace.wait_lifecycle("ready");
    let home = agent.home().to_owned();
    let path = |name: &str| home.join("dir").join(name);

    let secret = |args: &[&str]| drop(world.alice.coder([&["secret"], args].concat()).run().success());
    secret(&["delete", "deleted", "--yes"]);
    secret(&["disable", "disabled"]);
    secret(&["update", "edited", "--file", ""]);
    secret(&["update", "moved", "--file", "~/dir/after"]);
    fs::write(path("edited"), "by hand").unwrap();
    let _ = agent.coder(["agent", "reload"]).run().success();
    let all = ["dir", "dir/after", "dir/deleted", "dir/disabled", "dir/edited", "dir/kept", "dir/moved"];
    assert_eq!(names(&home), all);
    assert!(!agent.coder(["status"]).run().success().stdout.contains("stale"));
    agent.terminate();

    // Another start, which would; first without doing it. What was edited is the user's by now, and of no interest.
    let leaves = |name: &str| format!("leave {:?}: no secret goes there any more (--stale-files keep)\n", path(name));
    let removes = |name: &str| format!("remove {:?}: no secret goes there any more\n", path(name));
    for (stale_files, does) in [("keep", &leaves as &dyn Fn(&str) -> String), ("remove", &removes)] {
        let run = world.agent(&workspace).home(&home).args(["--dry-run", "--stale-files", stale_files]);
        let out = run.into_run().run().success();
        let stale: String = ["deleted", "disabled", "moved"].map(does).concat();
        assert!(out.stdout.ends_with(&stale), "{}", out.stdout);
    }
    assert_eq!(names(&home), all);
    let agent = world.agent(&workspace).home(&home).env("CODER_AGENT_STALE_FILES", "remove");
    let mut agent = agent.args(["--live", "off"]).start();
    wait_log(&workspace, &format!("Coder Agent: removed {:?}: no secret goes there any more", path("deleted")));
    let status = agent.coder(["status"]).run().success();
    let _ = status.says("stale").says("removed");
    assert_eq!(names(&home), ["dir", "dir/after", "dir/edited", "dir/kept"]);

    // At a refetch as well, and what the user has touched is told once.
    fs::set_permissions(path("after"), fs::Permissions::from_mode(0o640)).unwrap();
    secret(&["delete", "moved", "--yes"]);
    secret(&["delete", "kept", "--yes"]);
    let _ = agent.coder(["agent", "reload"]).run().success();
    let _ = agent.coder(["status", "-o", "json"]).run().success().says("left: chmodded from 0600 to 0640");
    assert_eq!(names(&home), ["dir", "dir/after", "dir/edited"]);
    let _ = agent.coder(["agent", "reload"]).run().success();
    assert!(!agent.coder(["status"]).run().success().stdout.contains("stale"));
    assert_eq!(agent.terminate().code, Some(0));
    let ledger = home.join(".local/state/coder-agent");
    assert_eq!((mode(&ledger), mode(ledger.join("ledger")), mode(ledger.join("key"))), (0o700, 0o600, 0o600));
    drop(kept);
}

/// Killed as soon as the file is there; and what is at its name is a link by the time of the next start.
#[test]
fn a_kill_costs_no_knowledge_and_a_planted_link_no_file() {
    let world = World::new();
    world.alice.secret("moved", &["--file", "~/before"]);
    let workspace = world.workspace(json!({}));
    let home = world.home();
    let (before, after) = (home.join("before"), home.join("after"));
    let boot = || world.agent(&workspace).home(&home).args(["--stale-files", "remove"]).start();
    let mut agent = boot();
    wait_until("the file", LONG, || before.exists());
    agent.kill();
    let _ = world.alice.coder(["secret", "update", "moved", "--file", "~/after"]).run().success();
    let mut agent = boot();
    wait_until("the file to be gone", LONG, || after.exists() && !before.exists());
    agent.kill();

    let _ = world.alice.coder(["secret", "update", "moved", "--file", "~/before"]).run().success();
    let victim = home.join("victim");
    fs::copy(&after, &victim).unwrap();
    fs::remove_file(&after).unwrap();
    symlink("victim", &after).unwrap();
    let mut agent = boot();
    let _ = agent.line_with("replaced by another file with the same content", LONG);
    assert!(victim.exists() && fs::symlink_metadata(&after).unwrap().is_symlink());
    agent.terminate();
}

/// A damaged ledger, one in a place that is not private, and none at all: told, and in nobody's way.
#[test]
fn without_a_ledger_all_is_delivered_and_nothing_removed() {
    let world = World::new();
    world.alice.secret("deleted", &["--file", "~/deleted"]);
    let good = world.alice.secret("good", &["--file", "~/good"]);
    let workspace = world.workspace(json!({}));
    let home = world.home();
    let state = world.env.path("state");
    let boot = || {
        let flags = ["--stale-files", "remove", "--state-dir", state.to_str().unwrap()];
        let mut agent = world.agent(&workspace).home(&home).args(flags).command(["true"]).start();
        assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
        assert_eq!(agent.read("good"), good);
        agent.stderr()
    };
    let told = "no ledger of written files is kept, so stale files are never removed";
    assert!(!boot().contains(told));
    let _ = world.alice.coder(["secret", "delete", "deleted", "--yes"]).run().success();

    fs::set_permissions(&state, fs::Permissions::from_mode(0o770)).unwrap();
    assert_eq!(boot().matches(told).count(), 1);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    let aside = world.env.path("aside");
    fs::rename(&state, &aside).unwrap();
    fs::write(&state, "not a directory").unwrap();
    assert!(boot().contains("Not a directory"));
    fs::remove_file(&state).unwrap();
    fs::rename(&aside, &state).unwrap();
    fs::remove_file(state.join("key")).unwrap();
    let stderr = boot();
    assert!(stderr.contains("its key is missing or unusable") && stderr.contains("ledger.damaged-1"), "{stderr}");
    assert!(state.join("ledger.damaged-1").exists() && home.join("deleted").exists());
    assert_eq!(names(&home), ["deleted", "good"]);
}

/// Root becomes the user before it looks at anything: the ledger is the user's, in the user's home.
#[test]
fn the_ledger_of_a_root_agent_is_its_users() {
    if !requires("the_ledger_of_a_root_agent_is_its_users", &[Need::Root, Need::Program("setpriv", "util-linux")]) {
        return;
    }
    let world = World::new();
    world.alice.secret("deleted", &["--file", "/nowhere/secret"]);
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (coder, home) = (dir.path().join("coder"), dir.path().join("home"));
    fs::copy(&binaries().coder, &coder).unwrap();
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).unwrap();
    let secret = home.join("secret");
    let _ = world.alice.coder(["secret", "update", "deleted", "--file", secret.to_str().unwrap()]).run().success();
    let workspace = world.workspace(json!({}));
    let roots = world.env.path("roots-state");
    let boot = || {
        // What a shell of root's has set is not the user's.
        let run = world.env.program(&coder).cwd("/").env("XDG_STATE_HOME", &roots);
        let run = run.args(["agent", "--user", "nobody", "--agent-url", world.server.url(), "--stale-files", "remove"]);
        let run = run.arg("--log-dir").arg(&home).arg("--state-dir").arg(home.join("state"));
        let run = run.env("CODER_AGENT_TOKEN", workspace.token()).env("CODER_AGENT_SOCKET", home.join("agent.sock"));
        let _ = run.args(["--", "true"]).run().success();
    };
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    boot();
    let state = home.join("state");
    assert_eq!([&secret, &state, &state.join("key"), &state.join("ledger")].map(|path| owner(path)), [65_534; 4]);
    let _ = world.alice.coder(["secret", "delete", "deleted", "--yes"]).run().success();
    boot();
    assert!(!secret.exists() && !roots.exists());
}
