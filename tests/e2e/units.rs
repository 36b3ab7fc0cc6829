//! The units that are shipped.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tests::{Env, Need, requires};

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

/// `systemd-analyze verify` reports an unknown key on stderr and exits with 0, so silence is the test.
#[test]
fn the_units_pass_systemd_without_a_word() {
    if !requires("the_units_pass_systemd_without_a_word", &[Need::Program("systemd-analyze", "systemd")]) {
        return;
    }
    let env = Env::new();
    for unit in ["coder-server.service", "coder-agent@alice.service"] {
        let template = unit.replace("alice", "");
        let text = std::fs::read_to_string(units().join(template)).unwrap();
        // The executables need not be installed here for the rest of the file to be right.
        let file = env.write(unit, text.replace("/usr/bin/coder", "/bin/true -- "));
        let output = env.program("/usr/bin/systemd-analyze").arg("verify").arg("--man=no").arg(file).run().success();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "{unit}");
    }
}

/// The server's unit takes away what it does not use; what is left scores 1.6 of 10.
#[test]
fn the_server_is_exposed_to_little() {
    if !requires("the_server_is_exposed_to_little", &[Need::Program("systemd-analyze", "systemd")]) {
        return;
    }
    let unit = units().join("coder-server.service");
    let security = ["security", "--offline=true", "--no-pager", "--threshold=20"];
    let _ = Env::new().program("/usr/bin/systemd-analyze").args(security).arg(unit).run().success();
}

#[test]
fn the_server_gets_an_account_and_closed_directories() {
    let needs = [Need::Root, Need::Program("systemd-sysusers", "systemd")];
    if !requires("the_server_gets_an_account_and_closed_directories", &needs) {
        return;
    }
    let env = Env::new();
    let root = env.path("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    let root_flag = format!("--root={}", root.display());
    let apply = |program: &str, flags: &[&str], file: &str| {
        let run = env.program(format!("/usr/bin/{program}")).arg(&root_flag).args(flags).arg(units().join(file));
        let _ = run.run().success();
    };
    apply("systemd-sysusers", &[], "coder-server.sysusers.conf");
    apply("systemd-tmpfiles", &["--create"], "coder-server.tmpfiles.conf");
    let mode = |path: &str| std::fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("var/lib/coder-server"), mode("etc/coder-server")), (0o700, 0o750));
    assert!(std::fs::read_to_string(root.join("etc/passwd")).unwrap().starts_with("coder-server:"));
}
