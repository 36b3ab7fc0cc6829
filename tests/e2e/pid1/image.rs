//! A container with nothing but busybox and `coder`, run by runc.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tests::{Env, Need, Run, Server, Workspace, binaries, static_coder, static_program};

pub(super) const BUSYBOX: Need = Need::Static("busybox", "busybox-static");

/// What [`Image`] needs from the machine.
pub(super) const NEEDS: [Need; 3] = [Need::Root, Need::Program("runc", "runc"), BUSYBOX];

const CAPABILITIES: [&str; 4] = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"];

/// Makes a root file system of busybox.
pub(super) fn busybox(root: &Path) {
    for directory in ["bin", "dev", "etc", "proc", "tmp", "home/alice"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let busybox = static_program("busybox", "busybox-static").unwrap();
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for name in ["sh", "sleep", "cat", "grep", "id", "touch", "kill", "seq", "setsid"] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
}

/// A bundle: a root file system and how to run it.
pub(super) struct Image {
    env: Env,
    bundle: PathBuf,
    config: Value,
}

impl Image {
    /// One that boots `workspace` and runs `command`, with the libraries that `coder` needs.
    pub(super) fn new(env: &Env, server: &Server, workspace: &Workspace, command: &[&str]) -> Self {
        let image = Self::without_coder(env, server, workspace, command);
        fs::copy(&binaries().coder, image.path("bin/coder")).unwrap();
        copy_libraries(&binaries().coder, &image.path(""));
        image
    }

    /// The same with the static executable, and no library.
    pub(super) fn minimal(env: &Env, server: &Server, workspace: &Workspace, command: &[&str]) -> Self {
        let image = Self::without_coder(env, server, workspace, command);
        fs::copy(static_coder(), image.path("bin/coder")).unwrap();
        image
    }

    fn without_coder(env: &Env, server: &Server, workspace: &Workspace, command: &[&str]) -> Self {
        let bundle = env.path("bundle");
        let root = bundle.join("rootfs");
        busybox(&root);

        let args: Vec<_> = ["coder", "agent", "--"].iter().chain(command).collect();
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": args,
                // What engines give to root.
                "capabilities": { "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES },
                "env": [
                    "PATH=/bin",
                    format!("CODER_AGENT_URL={}", server.url()),
                    format!("CODER_AGENT_TOKEN={}", workspace.token()),
                ],
                "cwd": "/",
            },
            "root": { "path": "rootfs", "readonly": false },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
            ],
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }] },
        });
        Self { env: env.clone(), bundle, config }
    }

    pub(super) fn read_only(mut self) -> Self {
        self.config["root"]["readonly"] = true.into();
        self
    }

    pub(super) fn user(mut self, uid: u32) -> Self {
        chown(self.path("home/alice"), Some(uid), None).unwrap();
        self.config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        self
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        let variables = self.config["process"]["env"].as_array_mut().unwrap();
        variables.retain(|it| !it.as_str().unwrap().starts_with(&format!("{name}=")));
        variables.push(format!("{name}={value}").into());
        self
    }

    /// An init of the engine's own in front, as with `docker run --init`.
    pub(super) fn behind(mut self, init: &str) -> Self {
        fs::copy(init, self.path("bin/init")).unwrap();
        let args = self.config["process"]["args"].as_array_mut().unwrap();
        args.splice(0..0, ["/bin/init".into(), "--".into()]);
        self
    }

    /// A path in the root file system.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.bundle.join("rootfs").join(inside)
    }

    /// The command that runs it.
    pub(super) fn run(&self) -> Run {
        // Written here, so that the hunt for values sees a token in no file: the bundle is a home.
        self.env.new_home("bundle");
        fs::write(self.bundle.join("config.json"), self.config.to_string()).unwrap();
        let name = self
            .env
            .path("")
            .file_name()
            .map_or_else(|| "coder-e2e".to_owned(), |name| name.to_string_lossy().into_owned());
        self.env
            .program("/usr/sbin/runc")
            .arg("--root")
            .arg(self.env.path("runc"))
            .args(["run", "--bundle"])
            .arg(&self.bundle)
            .arg(name)
    }
}

/// What the dynamic linker would load, and the linker itself.
fn copy_libraries(program: &Path, root: &Path) {
    let listed = Command::new("ldd").arg(program).output().expect("ldd");
    for word in String::from_utf8_lossy(&listed.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        let target = root.join(word.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(word, target).unwrap();
    }
}
