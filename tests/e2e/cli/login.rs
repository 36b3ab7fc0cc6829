//! Signing in and out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::World;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_sign_in_is_checked_kept_used_and_forgotten() {
    let world = World::new();
    let coder = |args: &[&str]| world.env.coder(args);
    let said = format!("You are signed in to {} as alice.\n", world.server.url());
    let login = coder(&["login", world.server.url()]).stdin(format!("{}\n", world.alice.token)).run().success();
    assert_eq!((&login.stdout, login.stderr.as_str()), (&said, ""));
    let dir = world.env.home().join(".config/coderv2");
    assert_eq!([mode(&dir), mode(&dir.join("url")), mode(&dir.join("session"))], [0o700, 0o600, 0o600]);
    assert_eq!(coder(&["whoami"]).run().success().stdout, said);
    let _ = coder(&["secret", "list"]).run().success();

    assert_eq!(coder(&["logout"]).run().success().stdout, "You are no longer signed in.\n");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    let _ = coder(&["logout"]).run().success().says("You were not signed in.");
    let _ = coder(&["whoami"]).run().exits(2).complains("Try logging in using 'coder login <url>'.");
}

#[test]
fn a_token_is_typed_unseen_on_a_terminal() {
    let world = World::new();
    let typed = format!("{}\r", world.alice.token);
    let out = world.env.coder(["login", world.server.url()]).terminal(typed).run().success();
    let _ = out.complains("Session token for 127.0.0.1").says("as alice.");
    let _ = world.env.coder(["login", world.server.url()]).terminal("\r").run().exits(2).complains("no session token");
    // The earlier sign-in stays.
    let _ = world.env.coder(["whoami"]).run().success();
}

#[test]
fn a_wrong_token_is_not_kept() {
    let world = World::new();
    let _ =
        world.env.coder(["login", world.server.url(), "--token", "wrong"]).run().exits(1).complains("session token");
    assert!(!world.env.home().join(".config/coderv2/session").exists());
    let _ = world.env.coder(["login", world.server.url()]).run().exits(2).complains("no session token");
    let _ = world
        .env
        .coder(["login", "ftp://127.0.0.1", "--token", "x"])
        .run()
        .exits(2)
        .complains("neither http nor https");
    let _ = world.env.coder(["login"]).run().exits(2).complains("You are not logged in.");
}

#[test]
fn flags_win_over_variables_and_variables_over_the_sign_in() {
    let world = World::new();
    let bob = world.env.user("bob");
    let dir = world.env.new_home("elsewhere").join("config");
    let dir = dir.to_str().unwrap();
    let _ = bob.coder(["login", "--global-config", dir]).run().success();
    let whoami = || world.env.coder(["whoami"]).env("CODER_CONFIG_DIR", dir);
    let _ = whoami().run().success().says("as bob.");
    let _ = whoami().env("CODER_SESSION_TOKEN", &world.alice.token).run().success().says("as alice.");
    let _ = whoami().env("CODER_SESSION_TOKEN", "wrong").args(["--token", &bob.token]).run().success().says("as bob.");
    let _ = whoami().env("CODER_URL", "http://127.0.0.1:1").run().exits(1).complains("cannot reach");
    // Empty variables are no settings.
    let _ = whoami().env("CODER_URL", "").env("CODER_SESSION_TOKEN", "").run().success().says("as bob.");
}
