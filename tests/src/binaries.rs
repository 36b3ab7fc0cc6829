//! The executables under test, built once and found by what cargo says about them.
//!
//! `CARGO_BIN_EXE_*` is not set for another package, and a guessed `target/debug/…` runs a stale file or none.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where the executables are.
pub struct Binaries {
    /// `coder`.
    pub coder: PathBuf,
    /// `coder-server`.
    pub server: PathBuf,
}

/// The executables, built by the first caller of a test run.
///
/// `TEST_BIN_DIR` names a directory with executables to test instead, such as the packaged ones. `TEST_BIN_DIR_AGENT` and
/// `TEST_BIN_DIR_SERVER` replace one of the two, for versions that are mixed.
pub fn binaries() -> &'static Binaries {
    static BINARIES: OnceLock<Binaries> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let both = named("TEST_BIN_DIR", "coder").zip(named("TEST_BIN_DIR", "coder-server"));
        let mut found = both.map_or_else(once_a_run, |(coder, server)| Binaries { coder, server });
        if let Some(coder) = named("TEST_BIN_DIR_AGENT", "coder") {
            found.coder = coder;
        }
        if let Some(server) = named("TEST_BIN_DIR_SERVER", "coder-server") {
            found.server = server;
        }
        found
    })
}

/// An executable in the directory that this variable names, where it is set.
fn named(variable: &str, name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?).join(name);
    Some(fs::canonicalize(&path).unwrap_or_else(|error| panic!("{variable}: {}: {error}", path.display())))
}

/// `coder` as a static executable; `.ci/test` has built it, so that no test's time limit pays for that.
pub fn static_coder() -> &'static Path {
    static CODER: OnceLock<PathBuf> = OnceLock::new();
    CODER.get_or_init(|| {
        let packaged = std::env::var_os("TEST_BIN_DIR").map(|dir| Path::new(&dir).join("coder-static"));
        packaged.filter(|path| path.exists()).unwrap_or_else(build_static)
    })
}

/// A command without what cargo tells tests of their package. Some build scripts (ring's) look at the same variables, so
/// everything on top of them would be built once more, within the time limit of a test.
fn outside_of_cargo(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let of_a_package = |name: &str| name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_a_package)) {
        command.env_remove(name);
    }
    command
}

fn build_static() -> PathBuf {
    let built = outside_of_cargo(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/static"))
        .args(["--quiet", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .expect("run .ci/static");
    assert!(built.status.success(), ".ci/static failed");
    executable(&built.stdout, "coder-static").expect("a static executable")
}

/// Under nextest every test is a process of its own: the first of a run builds while the others wait at the lock.
fn once_a_run() -> Binaries {
    let Ok(run) = std::env::var("NEXTEST_RUN_ID") else { return build() };
    // Of this checkout: runs of two at a time would build each other's over and over.
    let mut checkout = DefaultHasher::new();
    env!("CARGO_MANIFEST_DIR").hash(&mut checkout);
    let (user, checkout) = (rustix::process::getuid().as_raw(), checkout.finish());
    let dir = std::env::temp_dir().join(format!("coder-e2e-{user}-{checkout:x}"));
    fs::create_dir_all(&dir).expect("make the directory of the stamp");
    let lock = File::create(dir.join("lock")).expect("make the lock");
    lock.lock().expect("take the lock");
    let stamp = dir.join("built");
    let lines = fs::read_to_string(&stamp).unwrap_or_default();
    if let [built, coder, server] = lines.lines().collect::<Vec<_>>()[..]
        && built == run
    {
        return Binaries { coder: coder.into(), server: server.into() };
    }
    let built = build();
    fs::write(&stamp, format!("{run}\n{}\n{}\n", built.coder.display(), built.server.display()))
        .expect("write the stamp");
    built
}

fn build() -> Binaries {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // As `make build` and `make demo` do, so that nothing is compiled twice.
    let built = outside_of_cargo(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--package",
            "agent",
            "--package",
            "server-stub",
            "--bins",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(workspace)
        .stderr(Stdio::inherit())
        .output()
        .expect("run cargo");
    assert!(built.status.success(), "cargo build failed");
    let find =
        |name| executable(&built.stdout, name).unwrap_or_else(|| panic!("cargo built no executable named {name}"));
    Binaries { coder: find("coder"), server: find("coder-server") }
}

fn executable(messages: &[u8], name: &str) -> Option<PathBuf> {
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}
