//! An agent in poor surroundings: variables that are missing, files that are gone, directories that belong to others.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::{Account, Agent, Need, Output, SHORT, requires};

use super::{World, log, on_start, wait_log};

const NOBODY: u32 = 65_534;

#[test]
fn without_a_path_programs_are_found_where_they_usually_are() {
    let world = World::new();
    let workspace = world.workspace_with(
        json!({}),
        &json!([{ "name": "XDG_DATA_DIRS", "value": "/opt/share", "merge_strategy": "prepend" }]),
    );
    let script = "ls / > \"$HOME/seen\" && printf %s \"$XDG_DATA_DIRS\" > \"$HOME/lists\"";
    let mut agent = world.agent(&workspace).without("PATH").command(["sh", "-c", script]).start();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert!(agent.read("seen").contains("usr"));
    assert_eq!(agent.read("lists"), "/opt/share:/usr/local/share:/usr/share");
}

#[test]
fn without_a_home_template_values_mean_that_of_the_account() {
    let world = World::new();
    let workspace = world.workspace(json!({ "env": { "GOPATH": "$HOME/go", "WHO": "$USER" } }));
    let script = "test -n \"$HOME\" && test \"$GOPATH\" = \"$HOME/go\" && test \"$WHO\" = \"$(id -un)\"";
    let mut agent = world.agent(&workspace).without("HOME").without("USER").command(["sh", "-c", script]).start();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
}

/// As when a home is mounted over the one that the agent found.
#[test]
fn a_reload_writes_what_is_gone_and_says_how_much() {
    let world = World::new();
    for name in ["one", "two", "three"] {
        world.alice.secret(name, &["--file", &format!("~/secrets/{name}")]);
    }
    let workspace = world.workspace(json!({}));
    let agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    let status = || agent.coder(["status"]).run();
    let _ = status().success();
    let _ = agent.coder(["agent", "reload"]).run().success().complains("0 variables and 3 files; files: 3 unchanged");

    let before = agent.read("secrets/one");
    fs::remove_dir_all(agent.home().join("secrets")).unwrap();
    let _ = status().exits(1).says("delivered before; since then: gone");
    let _ = agent.coder(["agent", "reload"]).run().success().complains("files: 3 written");
    assert_eq!(agent.read("secrets/one"), before);
    let _ = status().success();

    // What the user edits stays, and is told; what cannot be written is a failure.
    fs::write(agent.home().join("secrets/one"), "by hand").unwrap();
    let _ = agent.coder(["agent", "reload"]).run().success().complains("files: 2 unchanged, 1 edited since and left");
    fs::remove_file(agent.home().join("secrets/two")).unwrap();
    fs::create_dir_all(agent.home().join("secrets/three-is-a-directory")).unwrap();
    world.alice.secret("four", &["--file", "~/secrets/three-is-a-directory"]);
    let _ = agent.coder(["agent", "reload"]).run().exits(1).complains("1 problem");
    assert_eq!(agent.read("secrets/one"), "by hand");
    assert!(agent.home().join("secrets/two").is_file());
}

/// What a script prints reaches the server with its paths, and without its tokens.
#[test]
fn of_template_values_only_what_may_be_a_token_is_masked() {
    let world = World::new();
    let token = "an-unmarked-token-of-the-template";
    let env = json!({ "TOOLS": "$HOME/tools-directory", "DATA": "/opt/some/long/path:/opt/other", "TOKEN": token });
    let print = "ls \"$TOOLS\"; echo \"data $DATA end\"; echo \"token $TOKEN end\"";
    let workspace = world.workspace(json!({ "env": env, "scripts": [on_start("Print", print)] }));
    let agent = world.agent(&workspace).start();
    wait_log(&workspace, "token ******** end");
    wait_log(&workspace, "data /opt/some/long/path:/opt/other end");
    wait_log(&workspace, "/tools-directory");
    assert!(!log(&workspace).iter().any(|line| line.contains(token)));
    drop(agent);
}

#[test]
fn what_shells_print_of_a_value_is_masked() {
    let world = World::new();
    let mark = world.env.canary("mark");
    world.alice.secret_with("quoted", format!("it's $a {mark}"), &["--env", "QUOTED"]);
    let print = "set -x; : \"$QUOTED\"; export -p | grep QUOTED; set | grep ^QUOTED";
    let workspace = world
        .workspace(json!({ "scripts": [on_start("Print", print), on_start("Dash", &format!("#!/bin/sh\n{print}"))] }));
    let agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    wait_log(&workspace, "QUOTED=");
    let log = log(&workspace);
    assert!(log.iter().any(|line| line.contains("********")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains(&mark)), "{log:#?}");
    drop(agent);
    world.env.hunt();
}

fn targets(status: &Output) -> Vec<Value> {
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    status["targets"].as_array().unwrap().clone()
}

#[test]
fn what_was_there_before_a_secret_is_kept_and_listed() {
    let world = World::new();
    world.alice.secret("bashrc", &["--file", "~/.bashrc"]);
    world.alice.secret("new", &["--file", "~/new"]);
    let home = world.home();
    fs::write(home.join(".bashrc"), "alias ll='ls -l'\n").unwrap();
    let workspace = world.workspace(json!({}));
    let kept = |agent: &Agent| -> PathBuf {
        let targets = targets(&agent.coder(["status", "-o", "json"]).run().success());
        let rows: Vec<_> = targets.iter().filter(|target| target["kind"] == "replaced").collect();
        assert_eq!((rows.len(), &rows[0]["name"]), (1, &json!(home.join(".bashrc"))), "{targets:?}");
        rows[0]["outcome"].as_str().unwrap().strip_prefix("what was there before is kept in ").unwrap().into()
    };
    let mut agent = world.agent(&workspace).home(&home).start();
    workspace.wait_lifecycle("ready");
    let copy = kept(&agent);
    assert_eq!(fs::read_to_string(&copy).unwrap(), "alias ll='ls -l'\n");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&copy), mode(copy.parent().unwrap())), (0o600, 0o700));
    let _ = agent.coder(["status"]).run().success().says("replaced  ");
    agent.terminate();
    // It is still there, and still listed, after the next start.
    let agent = world.agent(&workspace).home(&home).start().listening();
    let _ = agent.coder(["exec", "--wait", "1m", "true"]).run().success();
    assert_eq!((kept(&agent), fs::read_to_string(&copy).unwrap()), (copy.clone(), "alias ll='ls -l'\n".to_owned()));
}

#[test]
fn no_secret_configures_the_agent() {
    let world = World::new();
    let home = world.home();
    fs::create_dir_all(home.join(".local/state/coder-agent")).unwrap();
    std::os::unix::fs::symlink(home.join(".local/state"), home.join("link")).unwrap();
    for (name, path) in [
        ("key", "~/.local/state/coder-agent/key"),
        ("linked", "~/link/coder-agent/sub/key"),
        ("actions", "~/.config/coder-agent/on-change.toml"),
        ("machine", "/etc/coder-agent/config.toml"),
    ] {
        world.alice.secret(name, &["--file", path]);
    }
    let workspace = world.workspace(json!({}));
    let agent = world.boot_in(&workspace, &home);
    let refused = "it is refused: it is in a directory of the agent's own configuration or state";
    let is_told = |line: &&str| line.contains(" WARN ") && line.contains(refused);
    assert_eq!(agent.stderr().lines().filter(is_told).count(), 4, "{}", agent.stderr());
    assert!(!home.join(".config").exists() && !home.join(".local/state/coder-agent/sub").exists());
}

/// A directory that all users can write to, and that this one owns.
fn planted(path: &Path, owner: u32) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    chown(path, Some(owner), None).unwrap();
}

/// The agent of an account on a machine with other users.
fn agent_of(world: &World<()>, account: &Account, workspace: &tests::Workspace) -> tests::Process {
    let coder = world.env.path("coder");
    fs::copy(&tests::binaries().coder, &coder).unwrap();
    let run = world.env.program(coder).args(["agent", "--user", &account.name, "--agent-url", world.server.url()]);
    let run = run.arg("--log-dir").arg(account.home.join("logs")).env("CODER_AGENT_TOKEN", workspace.token());
    run.env("CODER_AGENT_SOCKET", account.home.join("agent.sock")).cwd("/").spawn("agent")
}

#[test]
fn a_directory_that_another_user_made_gets_no_secret() {
    let needs = [Need::Root, Need::Program("useradd", "passwd")];
    if !requires("a_directory_that_another_user_made_gets_no_secret", &needs) {
        return;
    }
    let world = World::new();
    let account = Account::create(&world.env, "account");
    let (foreign, volume) = (world.env.path("foreign"), world.env.path("volume"));
    planted(&foreign, NOBODY);
    planted(&volume, 0);
    // Values belong there.
    world.env.new_home("volume");
    fs::write(foreign.join("token"), "planted").unwrap();
    fs::set_permissions(foreign.join("token"), fs::Permissions::from_mode(0o666)).unwrap();
    chown(foreign.join("token"), Some(NOBODY), None).unwrap();
    // A volume that root made for everybody: what lies in it already may be another user's, or have a second name.
    for (name, owner) in [("theirs", NOBODY), ("linked", account.uid), ("ours", account.uid)] {
        fs::write(volume.join(name), "planted").unwrap();
        fs::set_permissions(volume.join(name), fs::Permissions::from_mode(0o666)).unwrap();
        chown(volume.join(name), Some(owner), Some(account.gid)).unwrap();
    }
    fs::hard_link(volume.join("linked"), volume.join("second-name")).unwrap();
    for (name, path) in [
        ("a", foreign.join("token")),
        ("b", foreign.join("new/token")),
        ("c", volume.join("theirs")),
        ("d", volume.join("linked")),
    ] {
        world.alice.secret(name, &["--file", path.to_str().unwrap()]);
    }
    let good = world.alice.secret("e", &["--file", volume.join("ours").to_str().unwrap()]);
    let new = world.alice.secret("f", &["--file", volume.join("directory/new").to_str().unwrap()]);
    let workspace = world.workspace(json!({}));
    let mut agent = agent_of(&world, &account, &workspace);
    let _ = agent.line_with("4 problems", SHORT);
    let told = agent.stderr();
    for reason in [
        format!(
            "{:?}: it is refused: its directory, or one above, belongs to another user (uid 65534)",
            foreign.join("token")
        ),
        format!("{:?}: it is refused: its directory, or one above, belongs to another user", foreign.join("new/token")),
        format!(
            "{:?}: it is refused: it belongs to another user in a directory where everybody",
            volume.join("theirs")
        ),
        format!("{:?}: it is refused: it has 2 names and could only be written in place, but", volume.join("linked")),
    ] {
        assert!(told.contains(&reason), "{reason}: {told}");
    }
    for path in [foreign.join("token"), volume.join("theirs"), volume.join("linked")] {
        assert_eq!(fs::read_to_string(&path).unwrap(), "planted", "{}", path.display());
    }
    assert!(!foreign.join("new").exists());
    assert_eq!(fs::read_to_string(volume.join("ours")).unwrap(), good);
    let made = volume.join("directory/new");
    assert_eq!((fs::read_to_string(&made).unwrap(), fs::metadata(&made).unwrap().uid()), (new, account.uid));
    agent.terminate();
}

#[test]
fn a_value_is_not_written_into_a_file_of_roots_that_others_read() {
    let needs = [Need::Root, Need::Program("useradd", "passwd")];
    if !requires("a_value_is_not_written_into_a_file_of_roots_that_others_read", &needs) {
        return;
    }
    let world = World::new();
    let account = Account::create(&world.env, "account");
    // The directory is root's, so no new file can take the place of the one that is there.
    let directory = world.env.new_home("mounted");
    for (name, mode, owner) in [("read", 0o666, 0), ("theirs", 0o666, NOBODY), ("own", 0o644, account.uid)] {
        fs::write(directory.join(name), "before").unwrap();
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(mode)).unwrap();
        chown(directory.join(name), Some(owner), None).unwrap();
    }
    for name in ["read", "theirs"] {
        world.alice.secret(name, &["--file", directory.join(name).to_str().unwrap()]);
    }
    let own = world.alice.secret("own", &["--file", directory.join("own").to_str().unwrap()]);
    let workspace = world.workspace(json!({}));
    let mut agent = agent_of(&world, &account, &workspace);
    let _ = agent.line_with("2 problems", SHORT);
    let told = agent.stderr();
    assert!(told.contains("it belongs to root and others can read it, so it is not written in place"), "{told}");
    assert!(told.contains("it belongs to another user, so it is not written in place"), "{told}");
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    assert_eq!([read("read"), read("theirs"), read("own")], ["before".to_owned(), "before".to_owned(), own]);
    agent.terminate();
}
