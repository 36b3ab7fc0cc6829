//! A server on a small disk of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tests::{Env, LONG, Need, Process, Run, User, is_about_the_file, requires};

/// The server. Its disk is in a mount namespace that ends with it.
pub struct SmallDisk {
    pub env: Env,
    pub server: Process,
    pub url: String,
}

impl SmallDisk {
    /// None where the machine cannot do it, which is told in the name of `test`.
    pub fn start(test: &str, env: Env, size: &str, flags: &[&str]) -> Option<Self> {
        if !is_about_the_file(test) {
            return None;
        }
        if !requires(test, &[Need::Root, Need::Program("mount", "mount"), Need::Program("unshare", "util-linux")]) {
            return None;
        }
        let data = env.data_dir();
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        let script = format!("mount -t tmpfs -o size={size},mode=0700 none {} && exec \"$@\"", data.display());
        let mut server = env
            .admin(["serve", "--listen", "127.0.0.1:0"])
            .args(flags)
            .under("/usr/bin/unshare", ["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
            .spawn("server");
        let line = server.line_with("listening on ", LONG);
        let url = line.split("listening on ").nth(1).unwrap().trim().to_owned();
        env.server_at(&url);
        Some(Self { env, server, url })
    }

    /// `coder-server ARGS…` beside the server.
    pub fn admin(&self, args: &[&str]) -> Run {
        let pid = self.server.pid().to_string();
        self.env.admin(args).under("/usr/bin/nsenter", ["--mount", "--target", pid.as_str()])
    }

    /// Makes a user.
    pub fn user(&self, name: &str) -> User {
        let made = self.admin(&["user", "create", name, "--json"]).reveals().run().success();
        self.env.user_with_token(name, made.json()["session_token"].as_str().unwrap())
    }

    /// A path of the disk, as the test reaches it.
    pub fn path(&self, name: &str) -> PathBuf {
        format!("/proc/{}/root{}", self.server.pid(), self.env.data_dir().join(name).display()).into()
    }

    /// Takes whatever room is left, to the last block.
    pub fn fill(&self) {
        let filler = self.path("filler");
        let mut size = 0;
        // One write may leave some blocks.
        for chunk in [1 << 20, 4096, 1] {
            while fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&filler)
                .and_then(|mut file| std::io::Write::write_all(&mut file, &vec![0; chunk]))
                .is_ok()
            {
                size += chunk;
                assert!(size < 1 << 30, "the disk is not small");
            }
        }
    }
}
