//! `ForceCommand` makes sshd ignore a key's own command; we do not.

use super::logins::{EXTERNAL, Logins};

#[test]
fn a_restricted_key_runs_its_command_with_the_environment_and_nothing_else() {
    let test = "a_restricted_key_runs_its_command_with_the_environment_and_nothing_else";
    let Some(world) = Logins::new(test) else { return };
    world.alice.secret_with("api-key", "value-of-the-key", &["--env", "API_KEY"]);
    let _agent = world.agent();
    let (free, backup) = (world.key("free"), world.key("backup"));
    let command = r#"command="echo \"for: $SSH_ORIGINAL_COMMAND\"; printf %s \"$API_KEY\" | wc -c",restrict"#;
    world.authorize(&format!("{command} {backup}\n{free}"));
    let login = |key: &str, args: &[&str]| {
        let id = world.env.home().join(key).display().to_string();
        world.ssh([&["-o", &format!("IdentityFile={id}")], args].concat()).run()
    };
    assert_eq!(login("backup", &["h", "cat /etc/passwd"]).success().stdout, "for: cat /etc/passwd\n16\n");
    assert_eq!(login("backup", &["-T", "h"]).success().stdout, "for: \n16\n");
    assert_eq!(login("free", &["h", "echo free"]).success().stdout, "free\n");
    // The key of the world is in the file no longer.
    let _ = login("id", &["h", "true"]).exits(255);
    // sshd would have decided by addresses or times, which are not known here.
    world.authorize(&format!("{command} {backup}\n{backup}"));
    let _ = login("backup", &["h", "echo free"]).exits(1).complains("several lines");
}

#[test]
fn where_the_key_is_not_known_nobody_gets_past_a_restriction() {
    let test = "where_the_key_is_not_known_nobody_gets_past_a_restriction";
    let without = |drop_in: String| drop_in.replace("ExposeAuthInfo yes", "ExposeAuthInfo no");
    let Some(world) = Logins::with(test, EXTERNAL, without) else { return };
    let _agent = world.agent();
    let _ = world.ssh(["h", "echo in"]).run().success().says("in");
    let key = world.key("other");
    world.authorize(&format!("command=\"backup\" {key}\n{}", world.account_key()));
    let _ = world.ssh(["h", "echo in"]).run().exits(1).complains("ExposeAuthInfo");
}

#[test]
fn a_removed_package_locks_nobody_out_and_sets_no_restricted_key_free() {
    let test = "a_removed_package_locks_nobody_out_and_sets_no_restricted_key_free";
    for sftp in [EXTERNAL, super::logins::INTERNAL] {
        let Some(world) = Logins::with(test, sftp, |drop_in| drop_in) else { return };
        std::fs::remove_file(world.env.path("bin/coder")).unwrap();
        let backup = world.key("backup");
        world.authorize(&format!("command=\"echo backup\" {backup}\n{}", world.account_key()));
        assert_eq!(world.ssh(["h", "printf '%s\\n' \"a  b\"; exit 5"]).run().exits(5).stdout, "a  b\n");
        let shell = world.ssh(["-tt", "h"]).terminal("shopt -q login_shell && echo is-$((40+2)); exit\n");
        let _ = shell.run().success().says("is-42");
        let _ = world.client("sftp", ["-b", "-", "h"]).stdin("put id.pub there\n").run().success();
        let _ = world.client("scp", ["-O", "id.pub", "h:there-too"]).run().success();
        assert_eq!(world.account.read("there"), world.account.read("there-too"));
        let id = format!("IdentityFile={}", world.env.home().join("backup").display());
        let refused = world.ssh(["-o", &id, "h", "echo free"]).run().exits(1).complains("restricted");
        assert_eq!(refused.stdout, "");
    }
}
