//! A database of many users, made in minutes: rows as the server writes them, sealed with its key, but without a flush for each.

use std::fmt::Write as _;

use server_stub::store::workspaces::token_hash;
use server_stub::store::{BulkSealer, DataDir, KeySource};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};
use tests::Env;
use uuid::Uuid;

/// Users of one transaction.
const BATCH: usize = 500;
/// Users of one statement.
const ROWS: usize = 50;
/// Any time will do: microseconds since 1970.
const THEN: i64 = 1_750_000_000_000_000;

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

/// What a database was filled with so far.
pub struct Filled {
    /// Of each of its users the token of one agent.
    pub tokens: Vec<String>,
    secrets: usize,
}

impl Filled {
    /// A database that will have this many secrets a user.
    pub fn new(secrets: usize) -> Self {
        Self { tokens: Vec::new(), secrets }
    }

    /// The name of a user.
    pub fn user(number: usize) -> String {
        format!("user{number}")
    }

    /// The name of a secret that every user has.
    pub fn secret(number: usize) -> String {
        format!("secret-{number}")
    }

    /// Adds users, each with secrets, a workspace and an agent, until there are this many. No server may run meanwhile.
    pub fn up_to(&mut self, env: &Env, users: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
        runtime.block_on(async {
            let data = DataDir::open(&env.data_dir()).expect("the server's directory");
            let keys = BulkSealer::load(KeySource::File(data.key_file())).expect("the server's key");
            // Nothing to lose: a machine that fails now makes the run worthless anyway.
            let options = SqliteConnectOptions::new().filename(data.database()).pragma("synchronous", "OFF");
            let mut connection = options.disable_statement_logging().connect().await.expect("open the database");
            while self.tokens.len() < users {
                let batch = BATCH.min(users - self.tokens.len());
                run(&mut connection, sqlx::query("BEGIN IMMEDIATE")).await;
                self.add(&mut connection, &keys, batch).await;
                run(&mut connection, sqlx::query("COMMIT")).await;
            }
            connection.close().await.expect("close the database");
        });
    }

    async fn add(&mut self, connection: &mut SqliteConnection, keys: &BulkSealer, users: usize) {
        let first = self.tokens.len();
        for start in (first..first + users).step_by(ROWS) {
            let new: Vec<User> = (start..(first + users).min(start + ROWS)).map(User::new).collect();
            insert(connection, "users (id, username, created_at)", 3, &new, |query, user| {
                query.bind(user.id).bind(&user.name).bind(THEN)
            })
            .await;
            insert(connection, "workspaces (id, owner_id, name, created_at, updated_at)", 5, &new, |query, user| {
                query.bind(user.workspace).bind(user.id).bind("dev").bind(THEN).bind(THEN)
            })
            .await;
            let agents = "agents (id, workspace_id, name, position, token_hash, directory, motd_path, \
                          connection_timeout, created_at, updated_at, mac, mac_key_id)";
            insert(connection, agents, 12, &new, |query, user| {
                let hash = token_hash(&user.token).expect("a token");
                let (key, mac) = keys.agent_mac(id(user.number), user.workspace, user.id, &hash).expect("a MAC");
                let query = query.bind(id(user.number)).bind(user.workspace).bind("main").bind(0).bind(hash.to_vec());
                let query = query.bind("~").bind("").bind(120).bind(THEN).bind(THEN);
                query.bind(mac).bind(key.as_str().to_owned())
            })
            .await;
            for user in new {
                self.add_secrets(connection, keys, &user).await;
                self.tokens.push(user.token);
            }
        }
    }

    async fn add_secrets(&self, connection: &mut SqliteConnection, keys: &BulkSealer, user: &User) {
        let numbers: Vec<usize> = (0..self.secrets).collect();
        let columns = "user_secrets (id, user_id, name, description, value, value_key_id, value_bytes, env_name, \
                       file_path, enabled, created_at, updated_at)";
        insert(connection, columns, 12, &numbers, |query, number| {
            let row = id(user.number * self.secrets + number);
            let value = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
            let (key, sealed) = keys.seal_secret(user.id, row, value.as_bytes()).expect("seal");
            let (variable, file) = match number % 2 {
                0 => (format!("SECRET_{number}"), String::new()),
                _ => (String::new(), format!("~/.secrets/{number}/token")),
            };
            let query = query.bind(row).bind(user.id).bind(Self::secret(*number)).bind("").bind(sealed);
            let query = query.bind(key.as_str().to_owned()).bind(64).bind(variable).bind(file);
            query.bind(true).bind(THEN).bind(THEN)
        })
        .await;
    }
}

struct User {
    number: usize,
    id: Uuid,
    name: String,
    workspace: Uuid,
    token: String,
}

impl User {
    fn new(number: usize) -> Self {
        let token = Uuid::new_v4().to_string();
        Self { number, id: id(number), name: Filled::user(number), workspace: id(number), token }
    }
}

/// The server's ids are random. These grow, so that each page of an index is written once and not a thousand times.
fn id(number: usize) -> Uuid {
    Uuid::from_u64_pair(number as u64, Uuid::new_v4().as_u64_pair().1)
}

/// One statement for all rows: `table`, with its columns where not all are given, and how many each row has.
async fn insert<'q, T>(
    connection: &mut SqliteConnection,
    table: &str,
    columns: usize,
    rows: &'q [T],
    bind: impl Fn(Query<'q>, &'q T) -> Query<'q>,
) {
    let row = format!("({})", vec!["?"; columns].join(","));
    let mut sql = String::new();
    let _ = write!(sql, "INSERT INTO {table} VALUES {}", vec![row.as_str(); rows.len()].join(","));
    let query = rows.iter().fold(sqlx::query(AssertSqlSafe(sql)), bind);
    run(connection, query).await;
}

async fn run(connection: &mut SqliteConnection, query: Query<'_>) {
    query.execute(connection).await.expect("fill the database");
}
