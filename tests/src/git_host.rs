//! An sshd that knows one public key, as a git host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::sshd::Sshd;

/// A running git host: whoever has its key logs in as any user of this machine, and finds git.
pub struct GitHost {
    dir: PathBuf,
    config: PathBuf,
    _sshd: Sshd,
}

impl GitHost {
    /// Starts one with its files in `dir` below the scratch directory.
    #[track_caller]
    pub fn start(env: &Env, dir: &str) -> Self {
        let files = env.path(dir);
        fs::create_dir_all(files.join("bin")).unwrap();
        fs::write(files.join("authorized_keys"), "").unwrap();
        let settings = format!(
            "AuthorizedKeysFile {0}/authorized_keys\nSetEnv PATH={0}/bin:/usr/local/bin:/usr/bin:/bin\n",
            files.display()
        );
        let sshd = Sshd::start(env, dir, &settings);
        let config = sshd.client_config("git-host inner-host", "");
        Self { dir: files, config, _sshd: sshd }
    }

    /// The configuration of a client, which knows it as `git-host` and `inner-host`. The last `Host` is `*`.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Lets this public key in, and no other.
    pub fn authorize_only(&self, line: &str) {
        fs::write(self.dir.join("authorized_keys"), format!("{line}\n")).unwrap();
    }

    /// A program that is in `PATH` there.
    pub fn install(&self, name: &str, script: &str) {
        let path = self.dir.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
}
