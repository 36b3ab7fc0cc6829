//! What `pam_motd` says at a login. sshd has the text from PAM and prints it, but not once there is a `ForceCommand`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::motd;

/// Set to `pam` by `pam_motd`, where the machine's administrator has it in use.
const SHOWN: &str = "MOTD_SHOWN";
/// Debian has scripts write this one at each login.
const DYNAMIC: &str = "/run/motd.dynamic";
/// Defaults of `pam_motd`. The first of the files counts; of the directories each file, and the first of each name.
const FILES: [&str; 3] = ["/etc/motd", "/run/motd", "/usr/lib/motd"];
const DIRECTORIES: [&str; 3] = ["/etc/motd.d", "/run/motd.d", "/usr/lib/motd.d"];
/// Files of a directory that are shown.
const MOST_FILES: usize = 64;

/// Shows it, unless the user has a `.hushlogin`. Nothing where `pam_motd` is not in use.
pub(super) fn show(home: &Path) {
    if std::env::var_os(SHOWN).is_none_or(|by| by != "pam") || motd::is_hushed(home) {
        return;
    }
    for path in files(Path::new("/")) {
        motd::print(&path);
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    let first = FILES.iter().map(|path| at(path)).find(|path| path.exists());
    let mut named: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for entry in DIRECTORIES.iter().filter_map(|path| at(path).read_dir().ok()).flatten().flatten().take(MOST_FILES) {
        named.entry(entry.file_name()).or_insert_with(|| entry.path());
    }
    [at(DYNAMIC)].into_iter().chain(first).chain(named.into_values()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_counts_and_of_each_name_the_first_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = scratch.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "text").unwrap();
        };
        for path in ["run/motd", "usr/lib/motd", "usr/lib/motd.d/a", "usr/lib/motd.d/b", "etc/motd.d/b"] {
            write(path);
        }
        let expected = ["run/motd.dynamic", "run/motd", "usr/lib/motd.d/a", "etc/motd.d/b"];
        assert_eq!(files(scratch.path()), expected.map(|path| scratch.path().join(path)));
    }
}
