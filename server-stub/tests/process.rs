//! `coder-server` as a process: what it refuses, with which words and exit code, and what it does to itself.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const EXE: &str = env!("CARGO_BIN_EXE_coder-server");

fn command(data_dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(EXE);
    command.args(args).arg("--data-dir").arg(data_dir).env_clear().stdin(Stdio::null());
    command
}

fn run(data_dir: &Path, args: &[&str]) -> Output {
    command(data_dir, args).output().unwrap()
}

#[track_caller]
fn succeeds(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code, no output, and one line on standard error that has all of `words`.
#[track_caller]
fn refused(output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(output.stdout.is_empty());
    let line = text.lines().find(|line| line.starts_with("coder-server: ")).unwrap_or_else(|| panic!("{text}"));
    for word in words {
        assert!(line.contains(word), "no {word:?} in: {line}");
    }
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.map(Result::unwrap).find(|line| line.contains("listening on ")).unwrap();
        let url = line.split("listening on ").nth(1).unwrap().to_owned();
        Self { child, url }
    }

    fn stop(&mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A data directory with a user in it.
fn used() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(&mut command(dir.path(), &["serve", "--listen", "127.0.0.1:0"]));
    succeeds(run(dir.path(), &["user", "create", "alice"]));
    assert_eq!(server.stop(), Some(0));
    dir
}

/// A mistyped directory must not become a server.
#[test]
fn only_serve_and_restore_make_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let typo = dir.path().join("typo");
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, Permissions::from_mode(0o755)).unwrap();
    for place in [&typo, &empty] {
        let said = format!("there is no server in {}: start one with coder-server serve", place.display());
        for args in [
            &["user", "create", "alice"][..],
            &["token", "list"],
            &["workspace", "list"],
            &["keys", "rotate"],
            &["audit"],
            &["backup", "x"],
        ] {
            refused(&run(place, args), 2, &[&said]);
        }
    }
    assert!(!typo.exists());
    assert_eq!((fs::read_dir(&empty).unwrap().count(), fs::metadata(&empty).unwrap().mode() & 0o777), (0, 0o755));
}

#[test]
fn a_data_directory_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let refusal = format!("{} is not a directory", file.display());
    refused(&run(&file, &["serve"]), 2, &[&refusal]);
    refused(&run(&file.join("below"), &["serve"]), 2, &["file/below"]);
    refused(&run(Path::new("/proc/coder-server"), &["serve"]), 2, &["cannot create data directory"]);
}

#[test]
fn a_data_directory_of_somebody_else_names_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (path, owner) = if nix::unistd::Uid::effective().is_root() {
        std::os::unix::fs::chown(dir.path(), Some(54_321), None).unwrap();
        (dir.path(), "belongs to #54321")
    } else {
        (Path::new("/usr"), "belongs to root")
    };
    refused(&run(path, &["serve"]), 2, &[owner, "sudo -u"]);
    if path == dir.path() {
        fs::write(path.join("coder.db"), "").unwrap();
        for args in [&["user", "create", "alice"][..], &["keys", "rotate"], &["backup", "x"]] {
            refused(&run(path, args), 2, &[owner, "sudo -u"]);
        }
    }
}

#[test]
fn a_data_directory_open_to_others_is_closed() {
    let dir = used();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    succeeds(run(dir.path(), &["token", "list"]));
    assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);
    let shared = tempfile::tempdir().unwrap();
    fs::set_permissions(shared.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(shared.path().join("theirs"), "").unwrap();
    refused(&run(shared.path(), &["serve"]), 2, &["is open to other users and holds other things"]);
    assert_eq!(fs::metadata(shared.path()).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn keys_that_do_not_serve() {
    let dir = used();
    let key = dir.path().join("encryption.key");
    let saved = fs::read(&key).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    refused(&run(dir.path(), &["serve"]), 2, &["encryption.key", "mode 0644"]);
    fs::remove_file(&key).unwrap();
    refused(&run(dir.path(), &["serve"]), 2, &["cannot read encryption key file", "encryption.key"]);
    fs::write(&key, "not a key").unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let output = run(dir.path(), &["serve"]);
    refused(&output, 2, &["key 1 in", "encryption.key", "32 bytes in base64"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("not a key"));
    fs::write(&key, saved).unwrap();
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let output = command(dir.path(), &["serve"]).env("CODER_SERVER_ENCRYPTION_KEYS", other).output().unwrap();
    refused(&output, 2, &["needs encryption key", "CODER_SERVER_ENCRYPTION_KEYS"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("AAAA"));
    let both = command(dir.path(), &["serve", "--encryption-key-file", "x"])
        .env("CODER_SERVER_ENCRYPTION_KEYS", other)
        .output();
    refused(&both.unwrap(), 2, &["given twice"]);
}

/// With the password in no message, and without touching what lies in the data directory.
#[test]
fn what_only_a_file_can_do_is_refused_for_postgresql() {
    let dir = tempfile::tempdir().unwrap();
    for (args, words) in [
        (&["restore", "backup"][..], &["this server's database is PostgreSQL", "pg_restore"][..]),
        (&["token", "list"], &["cannot connect to postgres://alice@127.0.0.1:1/coder"]),
    ] {
        let url = "postgres://alice:hunter2@127.0.0.1:1/coder";
        let output = command(dir.path(), args).env("CODER_SERVER_DATABASE_URL", url).output().unwrap();
        let code = output.status.code().unwrap();
        refused(&output, code, words);
        assert!(code > 0 && !String::from_utf8_lossy(&output.stderr).contains("hunter2"));
    }
    assert!(!dir.path().join("coder.db").exists());
}

#[test]
fn flags_that_do_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    refused(&run(dir.path(), &["serve", "--audit-retention", "soon"]), 2, &["--audit-retention", "soon"]);
    refused(&run(dir.path(), &["serve", "--tls-cert", "c"]), 2, &["--tls-key"]);
    refused(&run(dir.path(), &["serve", "--listen", "nowhere"]), 2, &["--listen is \"nowhere\"; give HOST:PORT"]);
    assert_eq!(run(dir.path(), &["serve", "--no-such-flag"]).status.code(), Some(2));
    let wrong = command(dir.path(), &["serve"]).env("CODER_SERVER_RATE_LIMIT", "many").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn what_is_not_there_or_there_already() {
    let dir = used();
    refused(&run(dir.path(), &["user", "create", "no body"]), 2, &["no body"]);
    refused(&run(dir.path(), &["user", "create", "Alice"]), 1, &["user Alice exists already"]);
    refused(&run(dir.path(), &["token", "create", "bob"]), 1, &["there is no user bob"]);
    refused(&run(dir.path(), &["token", "revoke", "x"]), 1, &["there is no token x"]);
    let existing = dir.path().join("coder.db");
    let backup = run(dir.path(), &["backup", existing.to_str().unwrap()]);
    refused(&backup, 1, &["cannot create", "coder.db"]);
    refused(&run(dir.path(), &["restore", "/nonexistent"]), 1, &["cannot read /nonexistent"]);
}

#[test]
fn a_database_from_the_future_or_of_another_program() {
    let dir = used();
    let path = dir.path().join("coder.db");
    let mut bytes = fs::read(&path).unwrap();
    // user_version and application_id in the header of the file format.
    bytes[60..64].copy_from_slice(&999_u32.to_be_bytes());
    fs::write(&path, &bytes).unwrap();
    refused(&run(dir.path(), &["serve"]), 2, &["newer version", "schema 999", "upgrade coder-server"]);
    bytes[68..72].copy_from_slice(&1_u32.to_be_bytes());
    fs::write(&path, &bytes).unwrap();
    refused(&run(dir.path(), &["serve"]), 2, &["is not a database of coder-server"]);
    fs::write(&path, "no database at all, only some text in its place").unwrap();
    refused(&run(dir.path(), &["serve"]), 2, &["cannot open database", "coder.db"]);
}

#[test]
fn commands_beside_a_running_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::start(&mut command(&data, &["serve", "--listen", "127.0.0.1:0"]));
    let pid = server.child.id().to_string();
    refused(&run(&data, &["serve", "--listen", "127.0.0.1:0"]), 2, &["already served by process", &pid]);
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    refused(&run(&dir.path().join("other"), &["serve", "--listen", &address]), 2, &["cannot listen on", &address]);

    let made: serde_json::Value =
        serde_json::from_str(&succeeds(run(&data, &["user", "create", "alice", "--json"]))).unwrap();
    assert_eq!(made["username"], "alice");
    let listed = succeeds(run(&data, &["token", "list", "--json"]));
    let id = made["session_token"].as_str().unwrap().split('-').next().unwrap();
    assert!(listed.contains(id) && !listed.contains(made["session_token"].as_str().unwrap()));
    let backup = dir.path().join("backup.db");
    let text = succeeds(run(&data, &["backup", backup.to_str().unwrap()]));
    assert!(text.contains("It holds no key"));
    succeeds(run(&data, &["keys", "rotate", "--forget"]));
    refused(&run(&data, &["restore", backup.to_str().unwrap()]), 1, &["is running", &pid]);
    assert_eq!(server.stop(), Some(0));
    refused(&run(&data, &["restore", backup.to_str().unwrap(), "--force"]), 1, &["needs encryption key"]);
}

#[test]
fn files_are_private_under_any_umask_and_the_process_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    for (n, umask) in ["000", "077", "777"].into_iter().enumerate() {
        let data = dir.path().join(n.to_string());
        let script = format!("umask {umask}; exec {EXE} serve --listen 127.0.0.1:0 --data-dir {}", data.display());
        let server = Server::start(Command::new("sh").arg("-c").arg(script));
        for path in fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()) {
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{} under {umask}", path.display());
        }
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o700);
        let mut limits = String::new();
        let process = Path::new("/proc").join(server.child.id().to_string());
        fs::File::open(process.join("limits")).unwrap().read_to_string(&mut limits).unwrap();
        let limit = |name: &str| {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(limit("Max core file size"), ["0", "0"]);
        let files = limit("Max open files");
        assert_eq!(files[0], files[1]);
        // What is not dumpable belongs to root in /proc, whoever runs it.
        assert_eq!(fs::metadata(process.join("environ")).unwrap().uid(), 0);
    }
}
