//! `coder-server` by the wrong user, in the wrong place, with the wrong files.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use tests::{Env, Need, Run, World, binaries, requires};

const NOBODY: u32 = 65_534;

/// The server as a user who owns nothing here.
struct Nobody {
    env: Env,
    server: PathBuf,
}

impl Nobody {
    fn new() -> Self {
        let env = Env::new();
        // The build directory may be closed to others.
        let server = env.path("coder-server");
        fs::copy(&binaries().server, &server).unwrap();
        fs::set_permissions(env.path(""), Permissions::from_mode(0o755)).unwrap();
        Self { env, server }
    }

    fn run(&self, args: &[&str], data_dir: &Path) -> Run {
        let run = self.env.program("/usr/bin/setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        run.arg(&self.server).args(args).arg("--data-dir").arg(data_dir).cwd("/")
    }
}

#[test]
fn every_command_names_the_owner_of_the_data_directory() {
    let needs = [Need::Root, Need::Program("setpriv", "util-linux")];
    if !requires("every_command_names_the_owner_of_the_data_directory", &needs) {
        return;
    }
    let nobody = Nobody::new();
    let env = &nobody.env;
    drop(env.server());
    let data = env.data_dir();
    let complaint = format!("data directory {} belongs to root; run this as that user", data.display());
    for args in [
        &["serve"][..],
        &["user", "create", "bob"],
        &["token", "create", "alice"],
        &["token", "list"],
        &["workspace", "list"],
        &["keys", "rotate"],
        &["audit"],
        &["backup", "/tmp/never-written"],
        &["restore", "/tmp/never-written"],
    ] {
        let output = nobody.run(args, &data).run();
        let code = output.exit.code;
        assert!(code == Some(2), "{args:?}: {code:?}\n{}", output.stderr);
        let _ = output.complains(&complaint).complains("sudo -u root");
    }
    assert!(!Path::new("/tmp/never-written").exists());
}

#[test]
fn a_data_directory_that_cannot_be_written() {
    let needs = [Need::Root, Need::Program("setpriv", "util-linux")];
    if !requires("a_data_directory_that_cannot_be_written", &needs) {
        return;
    }
    let nobody = Nobody::new();
    let data = nobody.env.path("closed");
    fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o500)).unwrap();
    let refused = nobody.run(&["serve"], &data).run().exits(2);
    let _ = refused.complains(&format!("data directory {} is not writable", data.display()));
    let below = data.join("below");
    let refused = nobody.run(&["serve"], &below).run().exits(2);
    let _ = refused.complains(&format!("cannot create data directory {}: Permission denied", below.display()));
    let hidden = nobody.env.path("hidden");
    fs::create_dir(&hidden).unwrap();
    fs::set_permissions(&hidden, Permissions::from_mode(0o700)).unwrap();
    let refused = nobody.run(&["serve"], &hidden.join("data")).run().exits(2);
    let _ = refused.complains("cannot inspect data directory").complains("Permission denied");
}

#[test]
fn a_port_in_use() {
    let env = Env::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = env.admin(["serve", "--listen", &address]).run().exits(2);
    let _ = refused.complains(&format!("cannot listen on {address}: Address already in use"));
}

#[test]
fn keys_that_are_no_files() {
    let World { env, server: _server, .. } = World::new();
    let with = |path: &str| env.admin(["token", "list", "--encryption-key-file", path]).run().exits(2);
    let _ = with("/nonexistent/key").complains("encryption key file /nonexistent/key: No such file or directory");
    let _ = with("/dev/null").complains("encryption key file /dev/null: not a regular file");
    let empty = env.write("empty", "# no key\n");
    fs::set_permissions(&empty, Permissions::from_mode(0o600)).unwrap();
    let _ = with(empty.to_str().unwrap()).complains("holds no encryption key");
    fs::set_permissions(&empty, Permissions::from_mode(0o640)).unwrap();
    let _ = with(empty.to_str().unwrap()).complains("has mode 0640; other users must not be able to read it");
}

#[test]
fn certificates_that_are_none() {
    let env = Env::new();
    let serve = |cert: &str, key: &str| {
        let run = env.admin(["serve", "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key]);
        run.run().exits(2)
    };
    let text = env.write("text.pem", "no certificate\n");
    let text = text.to_str().unwrap();
    let _ = serve("/nonexistent.pem", text)
        .complains("cannot read TLS certificate /nonexistent.pem")
        .complains("No such file or directory");
    let _ = serve(text, "/nonexistent.pem").complains("text.pem");
    let _ = serve(text, text).complains("text.pem");
}

#[test]
fn definitions_with_faults_are_told_by_file_and_line() {
    let World { env, server: _server, .. } = World::new();
    let value = env.canary("value of the template");
    let head = "owner: alice\nname: dev\n";
    for (rest, line, word) in [
        ("agnet: { name: main }\n".to_owned(), 3, "agnet"),
        ("agent:\n  name: main\n  enviroment: {}\n".to_owned(), 5, "enviroment"),
        ("agent:\n  name: main\n  scripts:\n    - { display_name: x, scirpt: y }\n".to_owned(), 6, "scirpt"),
        (
            format!("agent: {{ name: main }}\nenv:\n  - {{ name: X, value: {value}, strategy: append }}\n"),
            5,
            "strategy",
        ),
        (
            format!("agent: {{ name: main }}\nenv:\n  - {{ name: X, value: {value}, merge_strategy: maybe }}\n"),
            5,
            "maybe",
        ),
        (format!("agent:\n  name: main\n  env: {{ X: [{value}] }}\n"), 5, ""),
        ("agent: { name: main\n".to_owned(), 0, ""),
    ] {
        // In a home, because it holds a value of a template.
        let file = env.home().join("dev.yaml");
        fs::write(&file, format!("{head}{rest}")).unwrap();
        let refused = env.admin(["workspace", "apply"]).arg(&file).run().exits(2);
        let place = if line == 0 { "dev.yaml:".to_owned() } else { format!("dev.yaml:{line}:") };
        let _ = refused.complains(&place).complains(word);
    }
    let _ = env.admin(["workspace", "show", "alice/dev"]).run().exits(1);
}
