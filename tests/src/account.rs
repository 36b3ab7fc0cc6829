//! A user of this machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::command::Run;
use crate::env::Env;
use crate::wait::{LONG, wait_until};

/// The group for which the shipped drop-in of sshd holds.
const GROUP: &str = "coder-workspace";

/// An account with a home below the scratch directory; gone with the test. Making one needs root and `useradd`.
pub struct Account {
    env: Env,
    /// Login name.
    pub name: String,
    /// Home directory.
    pub home: PathBuf,
    /// Its number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
}

impl Account {
    /// Makes one; each of a test needs a home of its own.
    #[track_caller]
    pub fn create(env: &Env, home: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("coder-e2e-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // The account has to get through to its home.
        fs::set_permissions(env.path(""), PermissionsExt::from_mode(0o711)).unwrap();
        let home = env.new_home(home);
        administer("groupadd", &["--force", "--system", GROUP]);
        let home_flag = home.display().to_string();
        let flags = ["--no-create-home", "--home-dir", &home_flag, "--shell", "/bin/bash", "--groups", GROUP];
        administer("useradd", &[&flags[..], &["--password", "*", &name]].concat());
        let id = |which: &str| {
            env.program("/usr/bin/id").args([which, name.as_str()]).run().success().stdout.trim().parse().unwrap()
        };
        let (uid, gid) = (id("-u"), id("-g"));
        let account = Self { env: env.clone(), name, home, uid, gid };
        chown(&account.home, Some(account.uid), None).unwrap();
        for directory in [".ssh", "project"] {
            fs::create_dir(account.home.join(directory)).unwrap();
            chown(account.home.join(directory), Some(account.uid), None).unwrap();
        }
        account
    }

    /// `sh -c SCRIPT` as this account, outside of any session.
    pub fn sh(&self, script: &str) -> Run {
        let run = self.env.program("/usr/sbin/runuser").args(["-u", &self.name, "--", "/bin/sh", "-c", script]);
        run.env("HOME", &self.home).cwd("/")
    }

    /// Writes a file into its home.
    pub fn write(&self, relative: &str, content: &str) {
        let path = self.home.join(relative);
        fs::write(&path, content).unwrap();
        chown(&path, Some(self.uid), None).unwrap();
    }

    /// A file of its home.
    #[track_caller]
    pub fn read(&self, relative: &str) -> Vec<u8> {
        let path = self.home.join(relative);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The environment of its process of this name, where there is one.
    pub fn environ_of(&self, program: &str) -> Option<Vec<u8>> {
        fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let has = |start: String| status.lines().any(|line| format!("{line}\t").starts_with(&start));
            let is_its = has(format!("Name:\t{program}\t")) && has(format!("Uid:\t{}\t", self.uid));
            is_its.then(|| fs::read(entry.path().join("environ")).ok())?
        })
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = Command::new("/usr/sbin/userdel").args(["--force", &self.name]).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(Path::new("/run/coder-agent").join(&self.name));
    }
}

/// Other tests may hold the lock of the user database.
fn administer(program: &str, args: &[&str]) {
    wait_until(&format!("{program} {args:?}"), LONG, || {
        Command::new(Path::new("/usr/sbin").join(program)).args(args).status().is_ok_and(|status| status.success())
    });
}
