//! `coder-server move`, from SQLite to PostgreSQL and back.

use std::fs;

use serde_json::json;
use tests::{Env, Fault, Need, Postgres, Proxy, Server, World, is_about_the_file, requires};

use crate::peers::client::Client;
use crate::peers::control_plane::{LIFECYCLE, LOGS};
use crate::peers::wire::{Field, Proto};

/// Fields of the manifest from here on are of this product alone: the generation.
const PRIVATE: u32 = 1000;
const TO: &str = "CODER_SERVER_MOVE_TO";
const DATABASE: &str = "CODER_SERVER_DATABASE_URL";
const DEFINITION: &str = r"
owner: alice
name: dev
agent:
  name: main
  dir: ~/project
  env: { TEMPLATE: value }
  scripts:
    - { display_name: Install, script: make, run_on_start: true }
  metadata:
    - { key: load, script: uptime, interval: 60 }
";

/// A world on SQLite that has something in most tables, and a PostgreSQL server beside it.
struct Moving {
    world: World,
    postgres: Postgres,
}

impl Moving {
    /// None where the test is left out.
    fn new(test: &str) -> Option<Self> {
        if !is_about_the_file(test) || !requires(test, &[Need::PostgreSql, Need::SqlClient]) {
            return None;
        }
        let world = World::with(DEFINITION);
        world.alice.secret("first", &["--env", "FIRST"]);
        world.alice.secret("second", &["--file", "~/second", "--description", "a description"]);
        let client = Client::dial(&world.server, world.workspace.token());
        let line = Proto::default().bytes(2, "a line").number(3, 3);
        let _ = client.call(LOGS, &Proto::default().bytes(1, [0; 16]).message(2, &line).0).message();
        let _ = client.call(LIFECYCLE, &Proto::default().message(1, &Proto::default().number(1, 2)).0).message();
        let postgres = Postgres::start(&world.env, &[], "host all all 127.0.0.1/32 trust");
        Some(Self { world, postgres })
    }

    fn env(&self) -> &Env {
        &self.world.env
    }

    fn to_postgres(&self) -> tests::Run {
        self.env().admin(["move"]).env(TO, self.postgres.url())
    }

    fn back(&self) -> tests::Run {
        self.env().admin(["move", "--to", "sqlite"]).env(DATABASE, self.postgres.url())
    }

    /// A server on the PostgreSQL database.
    fn server(&self) -> Server {
        self.env().server_with(["--database-url", &self.postgres.url()])
    }

    /// What an agent and a user get.
    fn seen(&self, server: &Server) -> Seen {
        let manifest = Client::dial(server, self.world.workspace.token()).manifest();
        let (manifest, generation) = manifest.into_iter().partition(|(number, _)| *number < PRIVATE);
        Seen { manifest, generation, secrets: self.world.alice.rest().get("/users/me/secrets").expect(200).text }
    }
}

/// What an agent and a user get.
struct Seen {
    manifest: Vec<(u32, Field)>,
    generation: Vec<(u32, Field)>,
    secrets: String,
}

impl Seen {
    /// The same as before, as another generation: of another epoch.
    #[track_caller]
    fn is_the_same_after_a_move(&self, before: &Self) {
        assert!(self.manifest == before.manifest, "another manifest");
        assert_eq!(self.secrets, before.secrets);
        assert!(!self.generation.is_empty() && self.generation != before.generation, "the same generation");
    }
}

/// Whether the log of PostgreSQL, which is among the others, has the parameters of a write of a secret.
fn has_parameters(env: &Env) -> bool {
    let logs = fs::read_dir(env.path("logs")).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap_or_default());
    let mut texts = logs.map(|log| String::from_utf8_lossy(&log).into_owned());
    texts.any(|text| {
        let mut after = text.split("INSERT INTO user_secrets").skip(1);
        after.any(|text| text.lines().nth(1).is_some_and(|line| line.contains("parameters: $1 = ")))
    })
}

#[test]
fn everything_arrives_and_comes_back() {
    let Some(mut moving) = Moving::new("everything_arrives_and_comes_back") else { return };
    let before = moving.seen(&moving.world.server);
    let _ = moving.to_postgres().run().exits(1).complains("is running; stop it first");
    assert_eq!(moving.world.server.terminate().code, Some(0));
    let moved = moving.to_postgres().run().success();
    let _ = moved.says("and compared each").says("user_secrets").says("Next: set CODER_SERVER_DATABASE_URL");
    let data = moving.env().data_dir();
    assert!(!data.join("coder.db").exists() && data.join("coder.db.moved").exists());
    let _ = moving.env().admin(["token", "list"]).run().exits(2).complains("was moved to PostgreSQL");

    let mut server = moving.server();
    moving.seen(&server).is_the_same_after_a_move(&before);
    moving.world.alice.secret("third", &["--env", "THIRD"]);
    let before = moving.seen(&server);
    // Its output is searched for every value, as the files and the log of PostgreSQL are.
    let dump = moving.postgres.program("pg_dump").arg(moving.postgres.url()).run().success();
    let _ = dump.says("COPY public.user_secrets").says("COPY public.session_tokens");
    assert!(has_parameters(moving.env()), "the log of PostgreSQL has no statement with its parameters");
    let epoch = moving.postgres.sql("SELECT epoch FROM deployment");
    let running = moving.back().run().exits(1);
    let _ = running.complains("is running");
    // Nor beside another data directory, where only the lease tells.
    let elsewhere = moving.env().path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(data.join("encryption.key"), elsewhere.join("encryption.key")).unwrap();
    let back = moving.env().program(&tests::binaries().server).args(["move", "--to", "sqlite", "--data-dir"]);
    let back = back.arg(&elsewhere).env(DATABASE, moving.postgres.url()).run().exits(1);
    let _ = back.complains("a server of postgres://").complains("stop all servers");
    assert!(!elsewhere.join("coder.db").exists());

    assert_eq!(server.terminate().code, Some(0));
    let _ = moving.back().run().success().says("Next: unset CODER_SERVER_DATABASE_URL");
    let server = moving.env().server();
    moving.seen(&server).is_the_same_after_a_move(&before);
    let sqlite = moving.env().sql("SELECT epoch FROM deployment");
    assert!(sqlite.trim() != "0" && sqlite.trim() != epoch.trim(), "{sqlite} {epoch}");
    let shown = moving.world.workspace.show_agent();
    assert!(shown["startup_log"].to_string().contains("a line"), "{shown}");
    let _ = moving.env().admin(["audit"]).run().success().says("move database");
}

#[test]
fn a_database_with_data_is_refused_and_stays_as_it_is() {
    let Some(mut moving) = Moving::new("a_database_with_data_is_refused_and_stays_as_it_is") else { return };
    assert_eq!(moving.world.server.terminate().code, Some(0));
    let _ = moving.to_postgres().run().success();
    let rows = || moving.postgres.sql("SELECT count(*) FROM user_secrets");
    let (data, before) = (moving.env().data_dir(), rows());
    fs::rename(data.join("coder.db.moved"), data.join("coder.db")).unwrap();
    let _ = moving.to_postgres().run().exits(1).complains("is not empty: table").complains("give an empty database");
    assert_eq!(rows(), before);
    let _ = moving.back().run().exits(1).complains("coder.db has users already");
    let both = moving.env().admin(["move"]).env(TO, moving.postgres.url()).env(DATABASE, moving.postgres.url());
    let _ = both.run().exits(2).complains("both name PostgreSQL databases");
    // A table of somebody else is no empty database either.
    moving.postgres.sql("CREATE SCHEMA other; CREATE TABLE other.users (id int)");
    let url = format!("{}?options=-csearch_path%3Dother", moving.postgres.url());
    let foreign = moving.env().admin(["move"]).env(TO, url).run().exits(1);
    let _ = foreign.complains("has tables that are not of coder-server");
}

#[test]
fn old_names_with_null_bytes_are_named_and_records_are_kept() {
    let Some(mut moving) = Moving::new("old_names_with_null_bytes_are_named_and_records_are_kept") else { return };
    let env = moving.env();
    env.sql(
        "UPDATE user_secrets SET name = 'x' || char(0) || 'y' WHERE name = 'first';
         UPDATE user_secrets SET description = 'd' || char(0) WHERE name = 'second';
         UPDATE audit SET target = target || char(0) WHERE action = 'create';",
    );
    assert_eq!(moving.world.server.terminate().code, Some(0));
    let refused = moving.to_postgres().run().exits(1);
    let _ = refused.complains("name of alice's secret x%00y").complains("description of alice's secret second");
    assert_eq!(moving.postgres.sql("SELECT count(*) FROM users").trim(), "0", "nothing of it is kept");

    // As the message and the documentation say.
    let mut server = moving.env().server();
    let rest = moving.world.alice.rest();
    assert_eq!(rest.delete("/users/me/secrets/x%00y").status, 204);
    let _ = rest.patch("/users/me/secrets/second", &json!({ "description": "d" })).expect(200);
    assert_eq!(server.terminate().code, Some(0));
    let _ = moving.to_postgres().run().success().says("had null bytes");
    let kept = moving.postgres.sql("SELECT count(*) FROM audit WHERE target LIKE '%' || chr(65533)");
    assert!(kept.trim().parse::<u32>().unwrap() > 0, "{kept}");
}

#[test]
fn a_move_that_is_cut_leaves_the_new_database_empty_and_the_old_one_whole() {
    let name = "a_move_that_is_cut_leaves_the_new_database_empty_and_the_old_one_whole";
    let Some(mut moving) = Moving::new(name) else { return };
    let before = moving.seen(&moving.world.server);
    assert_eq!(moving.world.server.terminate().code, Some(0));
    let proxy = Proxy::new(format!("http://{}", moving.postgres.address()));
    let url = moving.postgres.url().replace(&moving.postgres.address(), proxy.url().split("://").nth(1).unwrap());
    // Somewhere between the login and the last row: each connection of the command gets so many bytes.
    for bytes in [600, 2000, 4000, 6000] {
        proxy.set(Fault::CloseAfter(bytes));
        assert_ne!(moving.env().admin(["move"]).env(TO, &url).run().exit.code, Some(0), "{bytes}");
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename = 'users'";
        if moving.postgres.sql(tables).trim() == "1" {
            assert_eq!(moving.postgres.sql("SELECT count(*) FROM users").trim(), "0", "{bytes}");
        }
    }
    let after = moving.seen(&moving.env().server());
    assert!(
        after.manifest == before.manifest && after.generation == before.generation && after.secrets == before.secrets
    );
}
