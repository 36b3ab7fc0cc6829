//! Copies of a database begin an epoch: agents must not take the numbers of a copy for those that they know.

use std::net::TcpListener;

use tests::{Env, LONG, Need, Postgres, is_about_the_file, requires, wait_until};

const RULES: &str = "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust";
const EPOCH: &str = "SELECT epoch FROM deployment";

/// Starts a server on the database and stops it, and tells the epoch that it has then.
fn epoch_after_a_server(env: &Env, url: &str, sql: impl Fn(&str) -> String) -> String {
    let mut server = env.server_with(["--database-url", url]);
    assert_eq!(server.terminate().code, Some(0));
    sql(EPOCH).trim().to_owned()
}

#[test]
fn a_restored_backup_begins_an_epoch() {
    let name = "a_restored_backup_begins_an_epoch";
    if !is_about_the_file(name) || !requires(name, &[Need::SqlClient]) {
        return;
    }
    let env = Env::new();
    let mut server = env.server();
    env.user("alice");
    assert_eq!(server.terminate().code, Some(0));
    let before = env.sql(EPOCH);
    let _ = env.admin(["backup", "backup.db"]).run().success();
    assert_eq!(env.sql(EPOCH), before);
    let _ = env.admin(["restore", "backup.db", "--force"]).run().success();
    let after = env.sql(EPOCH);
    assert!(after != before && after.trim() != "0", "{before} {after}");
}

#[test]
fn a_restored_dump_begins_an_epoch_and_a_restart_does_not() {
    let name = "a_restored_dump_begins_an_epoch_and_a_restart_does_not";
    if !is_about_the_file(name) || !requires(name, &[Need::PostgreSql]) {
        return;
    }
    let env = Env::quiet();
    let postgres = Postgres::start(&env, &[], RULES);
    let sql = |statement: &str| postgres.sql(statement);
    let first = epoch_after_a_server(&env, &postgres.url(), sql);
    assert_eq!(epoch_after_a_server(&env, &postgres.url(), sql), first);

    let dump = postgres.file("coder.dump", "");
    let run = postgres.program("pg_dump").args(["--format=custom", "--file"]).arg(&dump).arg(postgres.url());
    let _ = run.run().success();
    let restore = postgres.program("pg_restore").args(["--clean", "--if-exists", "--dbname", &postgres.url()]);
    let _ = restore.arg(&dump).run().success();
    let second = epoch_after_a_server(&env, &postgres.url(), sql);
    assert!(second != first && second != "0", "{first} {second}");
    assert_eq!(epoch_after_a_server(&env, &postgres.url(), sql), second);
}

/// A standby of `postgres` that takes over; dropping it stops it.
struct Standby<'p> {
    postgres: &'p Postgres,
    dir: std::path::PathBuf,
    url: String,
}

impl<'p> Standby<'p> {
    fn promoted(postgres: &'p Postgres) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = postgres.file("standby-marker", "").with_file_name("standby");
        let url = postgres.url();
        let copy =
            postgres.program("pg_basebackup").args(["--checkpoint=fast", "--write-recovery-conf", "--dbname", &url]);
        let _ = copy.arg("--pgdata").arg(&dir).run().success();
        let standby =
            Self { postgres, url: url.replace(postgres.address().as_str(), &format!("127.0.0.1:{port}")), dir };
        let _ = standby.pg_ctl(&["start", "-w", "-l", "/dev/null", "-o", &format!("-p {port}")]).run().success();
        let _ = standby.pg_ctl(&["promote", "-w"]).run().success();
        standby
    }

    fn pg_ctl(&self, args: &[&str]) -> tests::Run {
        self.postgres.program("pg_ctl").args(args).arg("-D").arg(&self.dir)
    }

    fn sql(&self, statement: &str) -> String {
        let psql = self.postgres.program("psql").args(["-X", "-A", "-t", "-c", statement, &self.url]);
        psql.run().success().stdout
    }
}

impl Drop for Standby<'_> {
    fn drop(&mut self) {
        let _ = self.pg_ctl(&["stop", "-m", "immediate"]).run();
    }
}

#[test]
fn a_promoted_standby_begins_an_epoch() {
    let name = "a_promoted_standby_begins_an_epoch";
    if !is_about_the_file(name) || !requires(name, &[Need::PostgreSql]) {
        return;
    }
    let env = Env::quiet();
    let postgres = Postgres::start(&env, &[], RULES);
    let before = epoch_after_a_server(&env, &postgres.url(), |statement| postgres.sql(statement));
    let standby = Standby::promoted(&postgres);
    assert_eq!(standby.sql(EPOCH).trim(), before);
    let after = epoch_after_a_server(&env, &standby.url, |statement| standby.sql(statement));
    assert!(after != before && after != "0", "{before} {after}");
    // A server that was connected all the while sees it as well: with its next lease.
    let server = env.server_with(["--database-url", &standby.url]);
    standby.sql("UPDATE deployment SET home = 'elsewhere'");
    wait_until("the lease after that", LONG, || standby.sql(EPOCH).trim() != after);
    drop(server);
}
