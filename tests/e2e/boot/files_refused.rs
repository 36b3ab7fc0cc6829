//! Targets that cannot get their secret: seen everywhere, in nobody's way.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::notify::Manager;
use super::{World, on_start, wait_log};

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[test]
fn a_directory_and_a_fifo_are_refused_and_everybody_hears_of_it() {
    let world = World::new();
    let manager = Manager::new(&world.env);
    world.alice.secret("directory", &["--file", "~/directory"]);
    world.alice.secret("fifo", &["--file", "~/fifo"]);
    let good = world.alice.secret("good", &["--file", "~/good", "--env", "GOOD"]);
    let home = world.home();
    fs::create_dir_all(home.join("directory/kept")).unwrap();
    make_fifo(&home.join("fifo"));
    let workspace = world.workspace(json!({ "scripts": [on_start("Look", "printf %s \"$GOOD\" > ~/script-saw")] }));
    let mut agent = world.agent(&workspace).home(&home).env("NOTIFY_SOCKET", manager.path()).start();
    // The boot goes on, and its state is that of the scripts.
    workspace.wait_lifecycle("ready");
    assert_eq!((agent.read("good"), agent.read("script-saw")), (good.clone(), good));
    assert!(home.join("directory/kept").is_dir());
    assert!(fs::symlink_metadata(home.join("fifo")).unwrap().file_type().is_fifo());

    let told = |name: &str, kind: &str| {
        let path = home.join(name);
        format!("cannot deliver the secret to {path:?}: it is refused: it is a {kind}")
    };
    let told = [told("directory", "directory"), told("fifo", "FIFO")];
    // The agent's own log, on both ways out.
    let file = fs::read_to_string(agent.log_dir().join("coder-secrets-agent.log")).unwrap();
    for line in &told {
        assert!(agent.stderr().contains(line) && file.contains(line), "{line}");
        // The server's log, under a source of the agent's own, apart from the scripts.
        wait_log(&workspace, &format!("Coder Agent: {line}"));
    }
    let shown = workspace.show_agent();
    let outcomes: Vec<_> = shown["target_outcomes"].as_array().unwrap().iter().map(|it| it["output"].clone()).collect();
    assert_eq!(outcomes, told.clone().map(serde_json::Value::from));
    let show = world.env.admin(["workspace", "show", "alice/dev"]).run().success();
    let _ = show.says("delivery failures since the last start").says(&told[0]).says(&told[1]);
    // The service manager's status line.
    let status = manager.wait_status(|status| status.contains("problem"));
    assert!(status.contains("delivered 1 variable and 1 file; 2 problems, the first: "), "{status}");
    assert!(status.ends_with(&told[0]), "{status}");
    assert_eq!(agent.terminate().code, Some(0));
}

/// Whatever stands in the way: it is left as it is, has its reason, and no process hangs on it.
#[test]
fn what_a_value_is_never_written_to() {
    let world = World::new();
    let home = world.home();
    fs::write(home.join("file"), "not a directory").unwrap();
    let _socket = UnixListener::bind(home.join("socket")).unwrap();
    std::os::unix::fs::symlink("loop", home.join("loop")).unwrap();
    let long = format!("~/{}", "n".repeat(300));
    let cases = [
        ("root", "/", "it is a directory"),
        ("device", "/dev/null", "it is a device"),
        ("socket", "~/socket", "it is a socket"),
        ("below-a-file", "~/file/below", "Not a directory"),
        ("slash", "~/socket/", "it is a socket"),
        ("loop", "~/loop", "Too many levels of symbolic links"),
        ("long", &long, "File name too long"),
        ("proc", "/proc/nothing-here/x", "No such file or directory"),
    ];
    for (name, path, _) in &cases {
        world.alice.secret(name, &["--file", path]);
    }
    let good = world.alice.secret("z-good", &["--file", "~/good"]);
    let workspace = world.workspace(json!({}));
    let agent = world.boot_in(&workspace, &home);
    assert_eq!(agent.read("good"), good);
    assert_eq!(agent.read("file"), "not a directory");
    for (name, path, reason) in cases {
        let shown = path.strip_prefix("~/").map_or(path.into(), |below| home.join(below).display().to_string());
        let shown = if shown == "/" { "/" } else { shown.trim_end_matches('/') };
        let told = format!("cannot deliver the secret to {shown:?}: ");
        let stderr = agent.stderr();
        let line = stderr.lines().find(|line| line.contains(&told)).unwrap_or_else(|| panic!("{name}:\n{stderr}"));
        assert!(line.contains(reason), "{name}: {line}");
    }
}

/// A directory of somebody else, a file that may not be written: only for those who are not root.
#[test]
fn a_directory_that_is_not_ours_costs_only_its_own_secret() {
    let needs = [tests::Need::Root, tests::Need::Program("setpriv", "util-linux")];
    if !tests::requires("a_directory_that_is_not_ours_costs_only_its_own_secret", &needs) {
        return;
    }
    let world = World::new();
    let home = world.home();
    let closed = world.env.new_home("closed");
    world.alice.secret("closed", &["--file", closed.join("token").to_str().unwrap()]);
    let good = world.alice.secret("good", &["--file", "~/good"]);
    let workspace = world.workspace(json!({}));
    for (dir, bits) in [("", 0o755), ("tmp", 0o777), ("homes", 0o755), ("homes/prepared", 0o777)] {
        fs::set_permissions(world.env.path(dir), fs::Permissions::from_mode(bits)).unwrap();
    }
    let run = world.env.program("/usr/bin/setpriv").args(["--reuid=54321", "--regid=54321", "--clear-groups"]);
    let run = run.arg(&tests::binaries().coder).args(["agent", "--agent-url", world.server.url()]).arg("--log-dir");
    let run = run.arg(world.env.path("tmp")).env("CODER_AGENT_TOKEN", workspace.token()).env("HOME", &home);
    let out = run.args(["--", "true"]).run().success();
    let _ = out
        .complains(&format!("cannot deliver the secret to {:?}", closed.join("token")))
        .complains("Permission denied");
    assert_eq!(fs::read_to_string(home.join("good")).unwrap(), good);
}
