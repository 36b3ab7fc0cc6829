//! The ways to a database: TLS as libpq does it, passwords, schemas, poolers.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tests::{DEV, Env, LONG, Need, Output, Postgres, Process, Run, requires, wait_until};

use crate::network::world::free_port;
use crate::peers::End;
use crate::peers::client::Client;

/// A server of the product that is told this URL by its variable, and ends by itself only if it refuses.
fn serve(env: &Env, url: &str) -> Run {
    on(env.admin(["serve", "--listen", "127.0.0.1:0"]), url)
}

/// A command on a database that is there.
fn command(env: &Env, url: &str) -> Output {
    on(env.admin(["token", "list"]), url).run()
}

/// With this database, wherever the data of the world is.
fn on(run: Run, url: &str) -> Run {
    run.without("CODER_SERVER_DATABASE_URL_FILE").env("CODER_SERVER_DATABASE_URL", url)
}

/// An authority and a certificate of it for `localhost`: the first PEM, then certificate and key.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    (authority.pem(), certificate.pem(), key.serialize_pem())
}

#[test]
fn tls_modes_mean_what_they_mean_to_libpq() {
    if !requires("tls_modes_mean_what_they_mean_to_libpq", &[Need::PostgreSql]) {
        return;
    }
    let env = Env::new();
    let rules = "hostssl all tls 127.0.0.1/32 trust\nhost all coder 127.0.0.1/32 trust";
    let postgres = Postgres::start(&env, &[], rules);
    postgres.sql("CREATE ROLE tls SUPERUSER LOGIN");
    let [ca, other] = ["ca.pem", "other.pem"].map(|name| (name, certificates()));
    let root = env.write(ca.0, &ca.1.0).display().to_string();
    let stranger = env.write(other.0, &other.1.0).display().to_string();
    let port = postgres.address().split(':').next_back().unwrap().to_owned();
    let url = |user: &str, host: &str, options: &str| format!("postgres://{user}@{host}:{port}/postgres?{options}");
    let mut first = serve(&env, &url("coder", "127.0.0.1", "sslmode=disable")).spawn("server");
    let _ = first.line_with("listening on", LONG);
    assert!(first.stderr().contains("may be read on its way"), "{}", first.stderr());
    drop(first);

    // A server without TLS: who asks for it is not served in clear.
    let _ = command(&env, &url("coder", "127.0.0.1", "sslmode=prefer")).success();
    for mode in ["require", "verify-ca", "verify-full"] {
        let refused = command(&env, &url("coder", "127.0.0.1", &format!("sslmode={mode}"))).exits(2);
        let _ = refused.complains("cannot connect to postgres://coder@127.0.0.1").complains("TLS");
    }

    let certificate = postgres.file("server.crt", &ca.1.1);
    let key = postgres.file("server.key", &ca.1.2);
    postgres.sql(&format!("ALTER SYSTEM SET ssl_cert_file = '{}'", certificate.display()));
    postgres.sql(&format!("ALTER SYSTEM SET ssl_key_file = '{}'", key.display()));
    postgres.sql("ALTER SYSTEM SET ssl = on");
    postgres.sql("SELECT pg_reload_conf()");
    let verify = |mode: &str, root: &str| format!("sslmode={mode}&sslrootcert={root}");
    wait_until("PostgreSQL to have TLS", LONG, || {
        command(&env, &url("tls", "127.0.0.1", "sslmode=require")).exit.code == Some(0)
    });
    for (host, options, works) in [
        ("127.0.0.1", "sslmode=disable".to_owned(), false),
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        ("127.0.0.1", verify("verify-ca", &root), true),
        ("127.0.0.1", verify("verify-ca", &stranger), false),
        ("127.0.0.1", "sslmode=verify-ca".to_owned(), false),
        ("localhost", verify("verify-full", &root), true),
        ("127.0.0.1", verify("verify-full", &root), false),
        ("localhost", verify("verify-full", &stranger), false),
    ] {
        let code = command(&env, &url("tls", host, &options)).exit.code;
        assert_eq!(code, Some(if works { 0 } else { 2 }), "{host} {options}");
    }
    let mut server = serve(&env, &url("tls", "localhost", &verify("verify-full", &root))).spawn("server");
    let _ = server.line_with("listening on", LONG);
    assert!(!server.stderr().contains("may be read on its way"), "{}", server.stderr());
    let clear = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'tls' AND NOT ssl";
    assert_eq!(postgres.sql(clear).trim(), "0");
    let _ = command(&env, &url("tls", "127.0.0.1", "sslmode=sometimes")).exits(2).complains("URL");
}

/// The hunt looks for the password in logs, messages and command lines, those of PostgreSQL included.
#[test]
fn a_password_in_a_file_is_seen_by_nobody() {
    if !requires("a_password_in_a_file_is_seen_by_nobody", &[Need::PostgreSql]) {
        return;
    }
    let env = Env::new();
    let rules = "host all coder 127.0.0.1/32 trust\nhost all app 127.0.0.1/32 scram-sha-256";
    let postgres = Postgres::start(&env, &[], rules);
    let (password, wrong) = (env.canary("password"), env.canary("wrong"));
    postgres.sql_with_password(&format!("CREATE ROLE app LOGIN PASSWORD '{password}'"));
    postgres.sql("CREATE SCHEMA app AUTHORIZATION app");
    let url = |password: &str| format!("postgres://app:{password}@{}/postgres", postgres.address());
    // In a home, because it holds a password.
    let file = env.home().join("database-url");
    fs::write(&file, format!("{}\n", url(&password))).unwrap();
    env.admin_flag("--database-url-file");
    env.admin_flag(&file);
    let server = env.server();
    let alice = env.user("alice");
    let value = alice.secret("api-key", &["--env", "API_KEY"]);
    let workspace = env.workspace(DEV);
    assert_eq!(Client::dial(&server, workspace.token()).secrets()[0].2, value);
    env.hunt();
    // The schema of the role's own name, as PostgreSQL has it.
    assert_eq!(postgres.sql("SELECT count(*) FROM app.users").trim(), "1");

    fs::write(&file, url(&wrong)).unwrap();
    let refused = env.admin(["token", "list"]).run().exits(2).complains("password authentication failed");
    let _ = refused.complains(&format!("postgres://app@{}/postgres", postgres.address()));
    fs::write(&file, format!("mysql://app:{wrong}@x/y")).unwrap();
    let _ = env.admin(["token", "list"]).run().exits(2).complains("it does not start with postgres://");
    fs::write(&file, format!("{}?pasword={wrong}", url(&password))).unwrap();
    let _ = env.admin(["token", "list"]).run().exits(2).complains("a parameter that libpq does not know");
    // Those of libpq that mean nothing here are no reason to refuse a URL that others use as well.
    fs::write(&file, format!("{}?connect_timeout=10", url(&password))).unwrap();
    let _ = env.admin(["token", "list"]).run().success().complains("connect_timeout");
    fs::remove_file(&file).unwrap();
    let _ = env.admin(["token", "list"]).run().exits(2).complains("database-url: No such file");
}

#[test]
fn a_schema_is_used_if_it_is_there_and_nobody_elses() {
    if !requires("a_schema_is_used_if_it_is_there_and_nobody_elses", &[Need::PostgreSql]) {
        return;
    }
    let env = Env::new();
    let postgres = Postgres::start(&env, &[], "host all all 127.0.0.1/32 trust");
    let in_schema = |schema: &str| format!("{}?options=-csearch_path%3D{schema}", postgres.url());
    let refused = serve(&env, &in_schema("ours")).run().exits(2);
    let _ = refused.complains("CREATE SCHEMA");
    postgres.sql("CREATE SCHEMA ours; CREATE SCHEMA theirs; CREATE TABLE theirs.users (name text)");
    let _ = serve(&env, &in_schema("theirs")).run().exits(2).complains("tables that are not of coder-server");
    let refused = env.admin(["user", "create", "alice"]).env("CODER_SERVER_DATABASE_URL", in_schema("ours")).run();
    let _ = refused.exits(2).complains("coder-server serve");
    let mut server = serve(&env, &in_schema("ours")).spawn("server");
    let _ = server.line_with("listening on", LONG);
    assert_eq!(postgres.sql("SELECT count(*) FROM ours.users").trim(), "0");
    assert_eq!(postgres.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").trim(), "0");
}

/// `PgBouncer` in front of the database, in this mode; its port.
fn bouncer(postgres: &Postgres, mode: &str) -> (Process, u16) {
    let port = free_port();
    let users = postgres.file(&format!("users-{mode}"), "\"coder\" \"\"\n");
    let address = postgres.address();
    let upstream = address.rsplit(':').next().unwrap();
    let config = format!(
        "[databases]\n* = host=127.0.0.1 port={upstream}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\ndefault_pool_size = 60\n\
         ignore_startup_parameters = extra_float_digits\n",
        users.display()
    );
    let config = postgres.file(&format!("pgbouncer-{mode}.ini"), &config);
    let process = postgres.as_owner("/usr/sbin/pgbouncer").arg(config).spawn("pgbouncer");
    wait_until("PgBouncer", LONG, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    (process, port)
}

#[test]
fn pgbouncer_works_by_session_and_is_refused_by_transaction() {
    let needs = [Need::PostgreSql, Need::Program("pgbouncer", "pgbouncer")];
    if !requires("pgbouncer_works_by_session_and_is_refused_by_transaction", &needs) {
        return;
    }
    let env = Env::new();
    let postgres = Postgres::start(&env, &[], "host all all 127.0.0.1/32 trust");
    let (_sessions, port) = bouncer(&postgres, "session");
    env.use_database(&format!("postgres://coder@127.0.0.1:{port}/postgres"));
    let server = env.server();
    let alice = env.user("alice");
    let value = alice.secret("api-key", &["--env", "API_KEY"]);
    let workspace = env.workspace(DEV);
    let agent = Client::dial(&server, workspace.token());
    assert_eq!(agent.secrets()[0].2, value);
    // By a notification through the pooler.
    let _ = env.admin(["workspace", "delete", "alice/dev"]).run().success();
    assert_eq!(agent.ending(), End::Close(1000));

    drop(server);
    let (_transactions, port) = bouncer(&postgres, "transaction");
    let url = format!("postgres://coder@127.0.0.1:{port}/postgres");
    for refused in [serve(&env, &url).run(), command(&env, &url)] {
        let _ = refused.exits(2).complains("pool_mode = session");
    }
}
