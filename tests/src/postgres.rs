//! A PostgreSQL server of the test's own, which it may kill, lock up or put behind something.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use crate::command::Run;
use crate::database::Database;
use crate::env::Env;
use crate::needs::postgres_program;
use crate::process::Process;
use crate::wait::{LONG, wait_until};

/// The superuser, and the owner of everything in the cluster.
const OWNER: &str = "coder";

/// A PostgreSQL server; needs [`Need::PostgreSql`](crate::Need::PostgreSql).
///
/// Its files are below the scratch directory, and its log among the others, with every statement and the values of its parameters: the
/// hunt searches them all.
pub struct Postgres {
    env: Env,
    dir: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl Postgres {
    /// A server on a port of this machine that trusts everybody, and that the world's servers use.
    pub fn of(env: &Env) -> Self {
        let postgres = Self::start(env, &[], "host all all 127.0.0.1/32 trust");
        env.use_database(&postgres.url());
        postgres
    }

    /// A server with further settings, such as `ssl=on`, and with these rules for who may come.
    pub fn start(env: &Env, settings: &[&str], rules: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let dir = env.path(format!("postgres-{port}"));
        let postgres = Self { env: env.clone(), dir, port, process: None };
        postgres.owned_dir(&postgres.dir);
        let init = postgres.program("initdb").args(["--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8"]);
        // Segments of 1 MiB: they are searched at the end.
        let init = init.args(["--wal-segsize=1", &format!("--username={OWNER}"), "--pgdata"]).arg(postgres.data_dir());
        let _ = init.run().success();
        let ours = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\nfsync = off\n\
                    log_statement = all\nlog_min_duration_statement = 0\nlog_parameter_max_length = -1\n";
        let lines = format!("{ours}{}\n", settings.join("\n"));
        fs::write(postgres.data_dir().join("postgresql.auto.conf"), lines).expect("write the settings");
        fs::write(postgres.data_dir().join("pg_hba.conf"), format!("{rules}\n")).expect("write the rules");
        let mut postgres = postgres;
        postgres.restart();
        postgres
    }

    /// Its URL, without a password and in clear.
    pub fn url(&self) -> String {
        format!("postgres://{OWNER}@{}/postgres", self.address())
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs statements and returns the rows.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        self.each(&[statements])
    }

    /// The same for a statement with a password, which is not written to the log.
    #[track_caller]
    pub fn sql_with_password(&self, statement: &str) {
        self.each(&["SET log_statement = 'none'", "SET log_min_duration_statement = -1", statement]);
    }

    #[track_caller]
    fn each(&self, statements: &[&str]) -> String {
        let done = Database::given(self.url()).psql(statements);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    }

    /// Makes a file that belongs to the server and is closed to others.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, content).expect("write a file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("close a file");
        give(&path);
        path
    }

    /// A program as the user that the server runs as: one that refuses root.
    pub fn program(&self, name: &str) -> Run {
        let program = postgres_program(name).unwrap_or_else(|| panic!("no {name}"));
        self.as_owner(program)
    }

    /// The same for any program.
    pub fn as_owner(&self, program: impl AsRef<Path>) -> Run {
        if !rustix::process::geteuid().is_root() {
            return self.env.program(program);
        }
        let run = self.env.program("/usr/bin/setpriv").cwd(&self.dir);
        run.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program.as_ref())
    }

    /// Ends it and all its sessions as a power failure would.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let children = format!("/proc/{0}/task/{0}/children", process.pid());
        let children = fs::read_to_string(children).unwrap_or_default();
        process.kill();
        for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
        }
    }

    /// Ends its sessions and itself, as an administrator in a hurry does, and waits for that.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGINT);
            process.exit_within(LONG);
        }
    }

    /// Ends it and deletes its data, for one that has more of it than the hunt can read.
    pub fn remove(mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }

    /// Starts it again, at the same address with the same data.
    pub fn restart(&mut self) {
        self.kill();
        let port = self.port.to_string();
        wait_until("PostgreSQL", LONG, || {
            // A predecessor that was killed may hold its memory for a moment, which the successor refuses to share.
            if self.process.as_mut().is_none_or(|process| process.try_exit().is_some()) {
                let run = self.program("postgres").args(["-p", &port, "-D"]).arg(self.data_dir());
                self.process = Some(run.spawn("postgres"));
            }
            self.program("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &port]).run().exit.code == Some(0)
        });
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A directory that the user of the server can reach.
    fn owned_dir(&self, dir: &Path) {
        fs::create_dir(dir).expect("make a directory");
        fs::set_permissions(self.env.path(""), Permissions::from_mode(0o711)).expect("let the server through");
        give(dir);
    }
}

/// To the user that the server runs as.
fn give(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let user = User::from_name("postgres").ok().flatten().expect("the user postgres");
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("give it to the server");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}
