//! PostgreSQL servers of these tests' own: several servers of the product on one database, and what goes wrong between them.

mod balanced;
mod cap;
mod connecting;
mod network;
mod outage;
mod told;
mod versions;

use tests::{DEV, Env, Need, Postgres, Server, User, Workspace, requires};

/// People ask more slowly than these tests.
pub const UNLIMITED: [&str; 2] = ["--rate-limit", "0"];

/// Two servers on one database, alice and her workspace.
pub struct Pair {
    pub env: Env,
    /// Commands run beside the first.
    pub servers: [Server; 2],
    pub alice: User,
    pub workspace: Workspace,
    pub postgres: Postgres,
}

impl Pair {
    /// None where there is no PostgreSQL, which is told in the name of `test`.
    pub fn start(test: &str) -> Option<Self> {
        requires(test, &[Need::PostgreSql]).then(|| {
            let env = Env::new();
            let postgres = Postgres::of(&env);
            let servers = [env.server_with(UNLIMITED), env.server_beside("second", UNLIMITED)];
            let (alice, workspace) = (env.user("alice"), env.workspace(DEV));
            Self { env, servers, alice, workspace, postgres }
        })
    }

    /// The URLs of both.
    pub fn urls(&self) -> [&str; 2] {
        self.servers.each_ref().map(Server::url)
    }
}
