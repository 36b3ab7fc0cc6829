//! What a test needs from the machine.

use std::cmp::Ordering;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::database::on_postgres;

/// Something that a bare machine may not have.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// To run as root.
    Root,
    /// A program, and the Debian package that has it.
    Program(&'static str, &'static str),
    /// A program that needs no library, and the Debian package that has such a one; [`static_program`] finds it.
    Static(&'static str, &'static str),
    /// A device that this user may read and write.
    Device(&'static str),
    /// What [`Env::sql`](crate::Env::sql) runs statements with.
    SqlClient,
    /// PostgreSQL's programs, for a server of the test's own.
    PostgreSql,
}

/// What [`Env::sql`](crate::Env::sql) needs where the server's data is a file.
const SQLITE_CLIENT: Need = Need::Program("sqlite3", "sqlite3");
/// Debian keeps PostgreSQL's programs apart; this one is in the path.
const POSTGRESQL: Need = Need::Program("pg_ctlcluster", "postgresql");

/// Whether the server's data is a SQLite file, for a test that is about that file. `make test` runs most tests a second
/// time with PostgreSQL, and then names such a one among what was left out.
pub fn is_about_the_file(test: &str) -> bool {
    if on_postgres() {
        leave_out(&format!("{test}: is about the SQLite file, and ran on it"));
    }
    !on_postgres()
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
    leave_out(&line);
    false
}

fn leave_out(line: &str) {
    eprintln!("left out: {line}");
    if let Some(path) = std::env::var_os("TEST_LEFT_OUT") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        // One write, because tests of other processes append too.
        let _ = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }
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
            Self::Static(program, package) => static_program(program, package)
                .is_none()
                .then(|| format!("needs a static {program} (Debian package {package})")),
            Self::Device(path) => {
                let opened = OpenOptions::new().read(true).write(true).open(path);
                opened.is_err().then(|| format!("needs the device {path}"))
            }
            Self::SqlClient if on_postgres() => None,
            Self::SqlClient => SQLITE_CLIENT.missing(),
            Self::PostgreSql => POSTGRESQL.missing(),
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where a system keeps its programs.
const PLACES: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

fn is_installed(program: &str) -> bool {
    PLACES.iter().any(|dir| Path::new(dir).join(program).exists())
}

/// A program of the newest PostgreSQL that is installed.
pub fn postgres_program(name: &str) -> Option<PathBuf> {
    let version = |dir: &PathBuf| dir.file_name()?.to_str()?.parse::<f32>().ok();
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut installed: Vec<_> = installed.filter(|dir| dir.join("bin").join(name).exists()).collect();
    installed.sort_by(|one, other| version(one).partial_cmp(&version(other)).unwrap_or(Ordering::Equal));
    let newest = installed.pop().map(|dir| dir.join("bin").join(name));
    newest.or_else(|| PLACES.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists()))
}

/// A static executable of this name. The package is unpacked into a directory of its own, never installed: it would remove
/// the dynamic one that the machine has, and what depends on it.
pub fn static_program(program: &str, package: &str) -> Option<PathBuf> {
    let unpacked = std::env::temp_dir().join(format!("coder-e2e-{}-{package}", rustix::process::getuid().as_raw()));
    let below = |root: &Path| {
        let candidates = PLACES.map(|place| root.join(place.trim_start_matches('/')).join(program));
        candidates.into_iter().find(|path| is_static(path))
    };
    below(Path::new("/")).or_else(|| {
        fs::create_dir_all(&unpacked).ok()?;
        // The first test of a run unpacks it while the others wait.
        let lock = File::create(unpacked.join("lock")).ok()?;
        lock.lock().ok()?;
        below(&unpacked).or_else(|| unpack(package, &unpacked).then(|| below(&unpacked)).flatten())
    })
}

/// Whether an ELF file asks for no interpreter, which is what loads libraries.
fn is_static(path: &Path) -> bool {
    const PT_INTERP: usize = 3;
    let Ok(bytes) = fs::read(path) else { return false };
    let number = |at: usize, size: usize| {
        let bytes = bytes.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0, |number: usize, byte| number << 8 | usize::from(*byte)))
    };
    // 64 bits, least byte first: the table of program headers, the size of an entry, and how many there are.
    let table = (|| Some((number(32, 8)?, number(54, 2)?, number(56, 2)?)))();
    let Some((start, size, count)) = table.filter(|_| bytes.starts_with(b"\x7fELF\x02\x01")) else { return false };
    (0..count).all(|entry| number(start + entry * size, 4) != Some(PT_INTERP))
}

fn unpack(package: &str, into: &Path) -> bool {
    let download = || {
        let mut apt = Command::new("apt-get");
        apt.args(["-o", "APT::Sandbox::User=root", "download", package]).current_dir(into);
        apt.stdin(Stdio::null()).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let archive = |entry: fs::DirEntry| {
        let path = entry.path();
        path.extension().is_some_and(|extension| extension == "deb").then_some(path)
    };
    (download() || (is_root() && apt(&["update"]) && download()))
        && fs::read_dir(into).into_iter().flatten().flatten().find_map(archive).is_some_and(|archive| {
            Command::new("dpkg").arg("-x").args([&archive, into]).status().is_ok_and(|status| status.success())
        })
}

fn install(package: &str) -> bool {
    let install = ["install", "-y", "--no-install-recommends", package];
    apt(&install) || (apt(&["update"]) && apt(&install))
}

fn apt(args: &[&str]) -> bool {
    let done = Command::new("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    done.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_what_it_needs_and_not_by_its_name() {
        assert!(!is_static(Path::new("/bin/sh")), "the shell of a distribution loads libc");
        assert!(!is_static(Path::new("/etc/passwd")) && !is_static(Path::new("/nonexistent")));
        let Some(busybox) = static_program("busybox", "busybox-static") else {
            assert!(!requires("a_program_is_known_by_what_it_needs", &[Need::Static("busybox", "busybox-static")]));
            return;
        };
        assert!(is_static(&busybox));
    }
}
