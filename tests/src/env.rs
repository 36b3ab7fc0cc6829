//! The scratch directory of one test and everything that starts in it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tempfile::TempDir;

use crate::agent::AgentBuilder;
use crate::binaries::binaries;
use crate::canary::{Canaries, Leak};
use crate::command::Run;
use crate::database::Database;
use crate::server::{Server, User};
use crate::workspace::Workspace;

/// How much of each log a failing test prints.
const TAIL_LINES: usize = 40;

/// One test's world: a scratch directory, a cleared environment, and every value that was made in it.
///
/// When the last handle goes, everything written below the scratch directory is searched for those values; only homes
/// may hold them. A failing test keeps its directory and prints where it is.
#[derive(Clone)]
pub struct Env(Arc<Inner>);

struct Inner {
    dir: Option<TempDir>,
    canaries: Canaries,
    leaks: Mutex<Vec<Leak>>,
    homes: Mutex<Vec<PathBuf>>,
    logs: AtomicUsize,
    trace: bool,
    url: Mutex<Option<String>>,
    admin_flags: Mutex<Vec<OsString>>,
    database: OnceLock<Option<Database>>,
}

impl Default for Env {
    fn default() -> Self {
        Self::new()
    }
}

impl Env {
    /// An empty world. Daemons log everything they can, so that the hunt has everything to search.
    pub fn new() -> Self {
        Self::with_trace(true)
    }

    /// An empty world whose daemons log as they do by default: for measuring, and for tests of what they log.
    pub fn quiet() -> Self {
        Self::with_trace(false)
    }

    fn with_trace(trace: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("coder-e2e-").tempdir().expect("make a scratch directory");
        let env = Self(Arc::new(Inner {
            dir: Some(dir),
            canaries: Canaries::default(),
            leaks: Mutex::default(),
            homes: Mutex::default(),
            logs: AtomicUsize::new(0),
            trace,
            url: Mutex::default(),
            admin_flags: Mutex::default(),
            database: OnceLock::new(),
        }));
        for name in ["tmp", "logs", "work"] {
            fs::create_dir(env.path(name)).expect("make a directory");
        }
        env.new_home("home");
        env
    }

    /// A path below the scratch directory.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.root().join(relative)
    }

    /// The home of the developer who types `coder`.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// Makes a further home, where values may be.
    pub fn new_home(&self, relative: &str) -> PathBuf {
        let home = self.path(relative);
        fs::create_dir_all(&home).expect("make a home");
        self.0.homes.lock().unwrap().push(home.clone());
        home
    }

    /// The server's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.path("server")
    }

    /// Writes a file into the work directory, which is where commands run.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("work").join(name);
        fs::write(&path, content).expect("write a file");
        path
    }

    pub(crate) fn new_log(&self, name: &str) -> PathBuf {
        let number = self.0.logs.fetch_add(1, Ordering::Relaxed);
        self.path("logs").join(format!("{number:02}-{name}"))
    }

    // --- values ---

    /// A new recognisable value that must be seen nowhere but in homes.
    pub fn canary(&self, label: &str) -> String {
        self.0.canaries.mint(label)
    }

    /// Treats `value` like a canary.
    pub fn watch(&self, label: &str, value: &[u8]) {
        self.0.canaries.watch(label, value);
    }

    pub(crate) fn search(&self, place: &str, text: &[u8]) {
        let leaks = self.0.canaries.find(place, text);
        self.0.leaks.lock().unwrap().extend(leaks);
    }

    /// Searches files and command lines now, while things run; panics at the first value.
    #[track_caller]
    pub fn hunt(&self) {
        let mut leaks = self.0.hunt();
        leaks.extend(self.0.canaries.find_in_command_lines());
        assert!(leaks.is_empty(), "{}", listed(&leaks));
    }

    /// What the hunt finds, for tests of the hunt itself: it forgets what it reports.
    pub fn take_leaks(&self) -> Vec<Leak> {
        let leaks = self.0.hunt();
        self.0.leaks.lock().unwrap().clear();
        leaks
    }

    // --- commands ---

    /// Any program in the test's environment.
    pub fn program(&self, program: impl AsRef<Path>) -> Run {
        Run::new(self, program.as_ref(), &self.home())
    }

    /// `coder ARGS…`, knowing no server and no token.
    pub fn coder<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.program(&binaries().coder).args(args)
    }

    /// `coder-server ARGS…` on the test's data directory.
    pub fn admin<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        let flags = self.0.admin_flags.lock().unwrap().clone();
        let run = self.program(&binaries().server).args(args).args(flags).arg("--data-dir").arg(self.data_dir());
        self.with_database(run)
    }

    /// Tells a command of `coder-server` where the database is, unless it is the file in the data directory.
    pub fn with_database(&self, run: Run) -> Run {
        match self.0.database() {
            Some(database) => run.env("CODER_SERVER_DATABASE_URL_FILE", database.url_file(&self.home())),
            None => run,
        }
    }

    /// Keeps the data in this PostgreSQL database. Before anything else is done with the world.
    pub fn use_database(&self, url: &str) {
        assert!(self.0.database.set(Some(Database::given(url.to_owned()))).is_ok(), "the data is somewhere already");
    }

    /// Whether the server's data is in a PostgreSQL database.
    pub fn is_on_postgres(&self) -> bool {
        self.0.database().is_some()
    }

    /// Runs statements behind the back of the server, as somebody would who can write the database, and returns the
    /// rows. They are for the engine that there is; [`Need::SqlClient`](crate::Need::SqlClient) runs them.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        let Some(database) = self.0.database() else {
            let client = self.program("/usr/bin/sqlite3").args(["-cmd", ".timeout 10000"]);
            return client.arg(self.data_dir().join("coder.db")).arg(statements).run().success().stdout;
        };
        let done = database.psql(&[statements]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    }

    /// Adds a flag to each `coder-server` command from now on, such as the place of the keys.
    pub fn admin_flag(&self, flag: impl Into<OsString>) {
        self.0.admin_flags.lock().unwrap().push(flag.into());
    }

    // --- what a test is made of ---

    /// A server on a free port.
    #[track_caller]
    pub fn server(&self) -> Server {
        self.server_with::<&str>([])
    }

    /// A server with further flags. `--listen` with the address of an earlier one makes it its successor.
    #[track_caller]
    pub fn server_with<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Server {
        let server = Server::start(self, self.admin(["serve"]), args);
        self.server_at(server.url());
        server
    }

    /// A further server on the same PostgreSQL database, with the same keys and a data directory of its own.
    /// [`Env::user`] and its like stay with the first one.
    #[track_caller]
    pub fn server_beside<A: AsRef<OsStr>>(&self, name: &str, args: impl IntoIterator<Item = A>) -> Server {
        Server::start(self, self.with_database(self.serve_beside(name)), args)
    }

    /// The same, with another way to the database.
    #[track_caller]
    pub fn server_by_way_of<A: AsRef<OsStr>>(
        &self,
        url: &str,
        name: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Server {
        Server::start(self, self.serve_beside(name).env("CODER_SERVER_DATABASE_URL", url), args)
    }

    fn serve_beside(&self, name: &str) -> Run {
        let serve = self.program(&binaries().server).args(["serve", "--data-dir"]).arg(self.path(name));
        serve.arg("--encryption-key-file").arg(self.data_dir().join("encryption.key"))
    }

    /// Says where the server is, when it was started by something else than this world.
    pub fn server_at(&self, url: &str) {
        *self.0.url.lock().unwrap() = Some(url.to_owned());
    }

    /// Makes a daemon log as this world wants it to.
    pub(crate) fn tracing(&self, run: Run) -> Run {
        if self.0.trace { run.env("RUST_LOG", "trace") } else { run }
    }

    /// The address of the server that was started last.
    pub(crate) fn url(&self) -> String {
        self.0.url.lock().unwrap().clone().expect("start a server first")
    }

    /// Makes a user.
    #[track_caller]
    pub fn user(&self, name: &str) -> User {
        User::create(self, name)
    }

    /// A user who has a token already.
    pub fn user_with_token(&self, name: &str, token: &str) -> User {
        User::known(self, name, token)
    }

    /// Applies a workspace definition and returns what its agents need.
    #[track_caller]
    pub fn workspace(&self, definition: &str) -> Workspace {
        Workspace::apply(self, definition)
    }

    /// An agent of `workspace` with a home of its own, about to start. `server` is a [`Server`] or a
    /// [`Proxy`](crate::Proxy).
    pub fn agent(&self, server: &impl AsRef<str>, workspace: &Workspace) -> AgentBuilder {
        self.agent_with_token(server, workspace.token())
    }

    /// An agent with a token that no server of this world may know.
    pub fn agent_with_token(&self, server: &impl AsRef<str>, token: &str) -> AgentBuilder {
        AgentBuilder::new(self, server.as_ref(), token)
    }
}

impl Inner {
    fn root(&self) -> &Path {
        self.dir.as_ref().expect("the directory lives as long as its Env").path()
    }

    fn hunt(&self) -> Vec<Leak> {
        let homes = self.homes.lock().unwrap().clone();
        let mut leaks = self.leaks.lock().unwrap().clone();
        leaks.extend(self.canaries.find_in_files(self.root(), &homes));
        if let Some(Some(database)) = self.database.get() {
            leaks.extend(self.canaries.find("the database", &database.content()));
        }
        leaks
    }

    fn database(&self) -> Option<&Database> {
        self.database.get_or_init(|| Database::of_test(&self.canaries)).as_ref()
    }

    fn print_logs(&self) {
        let mut paths: Vec<_> =
            fs::read_dir(self.root().join("logs")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
            let lines: Vec<_> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
            if !tail.is_empty() {
                eprintln!("--- {}\n{}", path.display(), tail.join("\n"));
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let leaks = if std::thread::panicking() { Vec::new() } else { self.hunt() };
        let database = self.database.get().and_then(Option::as_ref);
        if leaks.is_empty() && !std::thread::panicking() {
            database.inspect(|database| database.remove());
            return;
        }
        self.print_logs();
        if let Some(database) = database {
            eprintln!("kept: {}", database.place());
        }
        if let Some(dir) = self.dir.take() {
            eprintln!("kept: {}", dir.keep().display());
        }
        assert!(leaks.is_empty(), "{}", listed(&leaks));
    }
}

fn listed(leaks: &[Leak]) -> String {
    let lines: Vec<_> = leaks.iter().map(ToString::to_string).collect();
    format!("a value is where none may be:\n{}", lines.join("\n"))
}
