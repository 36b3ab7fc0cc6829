//! The units that are shipped.

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
