//! What a test needs from the machine.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Something that a bare machine may not have.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// To run as root.
    Root,
    /// A program, and the Debian package that has it.
    Program(&'static str, &'static str),
}

/// Whether this machine has what the test needs; root installs a missing program with apt-get.
///
/// Without it the test returns at once and `make test` names it among what was left out. With `CI=true` it fails
/// instead, so that a build server cannot pass by leaving things out.
#[track_caller]
pub fn requires(test: &str, needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter_map(|need| need.missing()).collect();
    if missing.is_empty() {
        return true;
    }
    let line = format!("{test}: {}", missing.join(", "));
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true leaves nothing out: {line}");
    eprintln!("left out: {line}");
    if let Some(path) = std::env::var_os("TEST_LEFT_OUT") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        // One write, because tests of other processes append too.
        let _ = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }
    false
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Self::Root if is_root() => None,
            Self::Root => Some("needs root".to_owned()),
            Self::Program(program, _) if is_installed(program) => None,
            Self::Program(program, package) => {
                let installed = is_root() && install(package) && is_installed(program);
                (!installed).then(|| format!("needs {program} (Debian package {package})"))
            }
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn is_installed(program: &str) -> bool {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|dir| Path::new(dir).join(program).exists())
}

fn install(package: &str) -> bool {
    let apt = |args: &[&str]| {
        let done = Command::new("apt-get")
            .args(["-o", "DPkg::Lock::Timeout=300"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        done.is_ok_and(|status| status.success())
    };
    let install = ["install", "-y", "--no-install-recommends", package];
    apt(&install) || (apt(&["update"]) && apt(&install))
}
