//! Scripts of a control plane that names none, and that keeps every line.

use tests::{Env, SHORT, wait_until};

use super::agent_side::{lines, wait_line};
use super::control_plane::ControlPlane;
use super::wire::Proto;
use super::{SOURCE, TOKEN, manifest};

const START_ERROR: u64 = 4;

/// A startup script with its number, and without a name.
fn nameless(number: u8, log_path: &str, script: &str) -> Proto {
    Proto::default().bytes(1, [number; 16]).bytes(2, log_path).bytes(3, script).number(5, 1).bytes(10, [number; 16])
}

#[test]
fn a_script_without_a_name_is_called_by_its_log_or_its_place() {
    let env = Env::new();
    let manifest = manifest()
        .message(10, &nameless(0x51, "install-tools.log", "exit 3"))
        .message(10, &nameless(0x52, "", "exit 4"))
        .message(10, &nameless(0x53, "~/logs/", "exit 5"));
    let server = ControlPlane::new(&manifest);
    let mut agent = env.agent_with_token(&server, TOKEN).start().listening();
    server.wait_state(START_ERROR);
    for (name, code) in [("install-tools.log", 3), ("startup script 2", 4), ("logs", 5)] {
        let _ = agent.line_with(&format!("script \"{name}\" ended with exit code {code}"), SHORT);
    }
    let shown = agent.coder(["status"]).run().stdout;
    for name in ["install-tools.log", "startup script 2"] {
        assert!(shown.contains(name), "{shown}");
    }
    assert!(!shown.contains("52525252"), "an id where a name belongs: {shown}");
}

/// The source that floods comes first in every order: by its id, by the manifest, and by time.
#[test]
fn a_script_that_floods_its_log_leaves_the_others_their_share() {
    let env = Env::new();
    let flood = "yes \"flood $(printf %0500d 0)\" | head -c 60000000";
    let quiet = "until [ -e ~/go ]; do sleep 0.02; done; for n in 1 2 3 4 5; do echo quiet $n; done; touch ~/said";
    let manifest = manifest().message(10, &nameless(0x01, "", flood)).message(10, &nameless(0x51, "", quiet));
    let server = ControlPlane::new(&manifest);
    let agent = env.agent_with_token(&server, TOKEN).start();
    wait_line(&server, "flood 0");
    std::fs::write(agent.home().join("go"), "").unwrap();
    wait_line(&server, "quiet 5");
    let of_quiet: Vec<_> = lines(&server).into_iter().filter(|(source, _)| *source == SOURCE).collect();
    assert_eq!(of_quiet.len(), 5, "{of_quiet:?}");
    let of_flood = || lines(&server).iter().filter(|(_, line)| line.contains("flood 0")).count();
    let before = of_flood();
    wait_until("more of the flood: it was still there", SHORT, || of_flood() > before);
}
