//! A root file system of Debian, built once and kept beside what cargo builds.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::Env;

const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,openssh-server,cron";
const BUILDING: Duration = Duration::from_mins(8);

/// Where it is. Nothing may write there: machines put a layer of their own over it.
pub(super) fn root(env: &Env) -> PathBuf {
    let mut key = DefaultHasher::new();
    (SUITE, PACKAGES).hash(&mut key);
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(cache).unwrap();
    let lock = File::create(cache.join("machine.lock")).unwrap();
    lock.lock().unwrap();
    let root = cache.join(format!("machine-{SUITE}-{:x}", key.finish()));
    if !root.exists() {
        let unfinished = cache.join("machine.unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        // In a mount namespace of its own, so that nothing stays mounted in it, however it ends.
        let build = env.program("/usr/bin/unshare").args(["--mount", "/usr/sbin/debootstrap", "--variant=minbase"]);
        let build = build.arg(format!("--include={PACKAGES}")).arg(SUITE).arg(&unfinished).limit(BUILDING);
        let _ = build.without("TMPDIR").run().success();
        fs::rename(&unfinished, &root).unwrap();
    }
    root
}
