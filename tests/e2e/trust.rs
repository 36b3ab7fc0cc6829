//! Who is let in: by rows that a server with the keys wrote, and by no others.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use tests::{DEV, Env, Need, Output, Rest, Server, User, Workspace, World, requires};

use crate::peers::client::Client;

const GIT_KEY_OF_AGENT: &str = "/workspaceagents/me/gitsshkey";

fn user(server: &Server, token: &str) -> u16 {
    Rest::new(server.url(), token).get("/users/me").status
}

fn agent(server: &Server, token: &str) -> u16 {
    Rest::new(server.url(), token).get(GIT_KEY_OF_AGENT).status
}

fn sqlite(env: &Env, statements: &str) -> Output {
    env.program("/usr/bin/sqlite3").arg(env.data_dir().join("coder.db")).arg(statements).run().success()
}

/// Public id of a session token.
fn id(token: &str) -> &str {
    token.split('-').next().unwrap()
}

fn needs_sqlite(test: &str) -> bool {
    requires(test, &[Need::Program("sqlite3", "sqlite3")])
}

/// A workspace `dev` of a user.
fn workspace(env: &Env, user: &User) -> Workspace {
    env.workspace(&DEV.replace("alice", &user.name))
}

/// What mallory tries, with an account for each way to alice.
struct Attempts {
    users: [User; 5],
    agents: [Workspace; 3],
}

impl Attempts {
    fn new(env: &Env) -> Self {
        let users = ["swapped", "moved", "owned", "given", "bare"].map(|name| env.user(name));
        let agents = [&users[0], &users[1], &users[2]].map(|user| workspace(env, user));
        Self { users, agents }
    }

    /// By hand, as somebody would who can write the database and has no key. Returns the session token of a row that is made up.
    fn carry_out(&self, env: &Env) -> String {
        let agent_of = |name: &str| {
            format!(
                "(SELECT a.id FROM agents a JOIN workspaces w ON w.id = a.workspace_id JOIN users u ON u.id = w.owner_id \
                 WHERE u.username = '{name}')"
            )
        };
        let id_of = |name: &str| format!("(SELECT id FROM users WHERE username = '{name}')");
        let [_, moved, _, given, bare] = self.users.each_ref().map(|user| id(&user.token));
        let statements = format!(
            "CREATE TEMP TABLE mine AS SELECT token_hash FROM agents WHERE id = {swapped_agent};
             DELETE FROM agents WHERE id = {swapped_agent};
             UPDATE agents SET token_hash = (SELECT token_hash FROM mine) WHERE id = {alices_agent};
             UPDATE agents SET name = 'moved', workspace_id = (SELECT id FROM workspaces WHERE owner_id = {alice})
               WHERE id = {moved_agent};
             UPDATE workspaces SET name = 'owned', owner_id = {alice} WHERE owner_id = {owned};
             UPDATE session_tokens SET user_id = {alice} WHERE id = '{given}';
             UPDATE session_tokens SET mac = NULL, mac_key_id = NULL WHERE id = '{bare}';
             INSERT INTO session_tokens (id, user_id, secret_hash, created_at, mac, mac_key_id)
               SELECT 'aaaaaaaaaa', {alice}, secret_hash, created_at, mac, mac_key_id FROM session_tokens WHERE id = '{moved}'",
            swapped_agent = agent_of("swapped"),
            alices_agent = agent_of("alice"),
            moved_agent = agent_of("moved"),
            alice = id_of("alice"),
            owned = id_of("owned"),
        );
        let _ = sqlite(env, &statements);
        let copied = format!("aaaaaaaaaa-{}", self.users[1].token.split('-').nth(1).unwrap());
        env.watch("a token put together", copied.as_bytes());
        copied
    }
}

#[test]
fn a_token_in_a_row_that_somebody_without_the_key_changed_is_refused() {
    if !needs_sqlite("a_token_in_a_row_that_somebody_without_the_key_changed_is_refused") {
        return;
    }
    let World { env, server, alice, workspace } = World::with(DEV);
    alice.secret("api-key", &["--env", "API_KEY"]);
    let attempts = Attempts::new(&env);
    for workspace in &attempts.agents {
        assert_eq!(agent(&server, workspace.token()), 200);
    }
    let copied = attempts.carry_out(&env);
    for workspace in &attempts.agents {
        assert_eq!(agent(&server, workspace.token()), 401, "{}", workspace.owner);
        let dialled = Client::try_dial(&server, "", &[("Coder-Session-Token", workspace.token())]);
        assert_eq!(dialled.err().map(|refused| refused.status), Some(401));
    }
    let [swapped, moved, owned, given, bare] = attempts.users.each_ref().map(|user| user.token.as_str());
    assert_eq!([given, bare, &copied].map(|token| user(&server, token)), [401; 3]);
    assert_eq!([&alice.token, swapped, moved, owned].map(|token| user(&server, token)), [200; 4]);
    let log = server.stderr();
    for kind in ["an agent token", "a session token"] {
        assert!(log.contains(&format!("refused {kind} that no server with the keys made")), "{log}");
    }
    // Alice's own agent has lost its token, and gets a new one.
    assert_eq!(agent(&server, workspace.token()), 401);
    let apply = env.admin(["workspace", "apply", "--rotate-tokens", "--json"]).arg(env.write("dev.yaml", DEV));
    let again = apply.reveals().run().success().json()["workspaces"][0]["agents"][0]["token"].take();
    let again = again.as_str().unwrap();
    env.watch("new token", again.as_bytes());
    assert_eq!(agent(&server, again), 200);
}

/// Whoever exchanges the public key waits for its owner to add it to a git host.
#[test]
fn a_public_key_that_was_exchanged_is_not_shown() {
    if !needs_sqlite("a_public_key_that_was_exchanged_is_not_shown") {
        return;
    }
    let World { env, server, alice, workspace } = World::with(DEV);
    let mallory = env.user("mallory");
    let theirs = mallory.coder(["publickey"]).run().success().stdout;
    let _ = sqlite(
        &env,
        "UPDATE git_ssh_keys SET public_key = (SELECT k.public_key FROM git_ssh_keys k JOIN users u ON u.id = k.user_id
           WHERE u.username = 'mallory')",
    );
    let shown = alice.coder(["publickey"]).run().exits(1);
    assert!(!shown.stdout.contains("ssh-ed25519"), "{}", shown.stdout);
    assert_eq!(agent(&server, workspace.token()), 500);
    assert!(server.stderr().contains("was changed by somebody without the encryption key"));
    assert_eq!(mallory.coder(["publickey"]).run().success().stdout, theirs);
    let _ = alice.coder(["publickey", "--reset", "--yes"]).run().success();
    assert_ne!(alice.coder(["publickey"]).run().success().stdout, theirs);
    assert_eq!(agent(&server, workspace.token()), 200);
}

/// A backup knows nothing of what was revoked after it.
#[test]
fn a_restore_ends_the_tokens_of_its_backup_unless_told_otherwise() {
    let World { env, mut server, alice, workspace } = World::with(DEV);
    let value = alice.secret("api-key", &["--env", "API_KEY"]);
    let backup = env.path("backup.db");
    let _ = env.admin(["backup"]).arg(&backup).run().success();
    let _ = env.admin(["token", "revoke", id(&alice.token)]).run().success();
    let definition = env.write("dev.yaml", DEV);
    let apply = |flags: &[&str]| {
        let applied = env.admin(["workspace", "apply", "--json"]).args(flags).arg(&definition).reveals().run();
        let token = applied.success().json()["workspaces"][0]["agents"][0]["token"].take();
        let token = token.as_str().unwrap_or_default().to_owned();
        if !token.is_empty() {
            env.watch("agent token", token.as_bytes());
        }
        token
    };
    assert!(!apply(&["--rotate-tokens"]).is_empty());
    assert_eq!((user(&server, &alice.token), agent(&server, workspace.token())), (401, 401));

    assert_eq!(server.terminate().code, Some(0));
    let restored = env.admin(["restore", "--force"]).arg(&backup).run().success();
    let _ = restored.says("Ended 1 session tokens and 1 agent tokens").says("--keep-tokens");
    let mut server = env.server();
    assert_eq!((user(&server, &alice.token), agent(&server, workspace.token())), (401, 401));
    let token = apply(&[]);
    let secrets = Client::dial(&server, &token).secrets();
    assert_eq!(secrets, [("API_KEY".to_owned(), String::new(), value)]);
    assert_eq!(apply(&[]), "", "a token that works stays");
    let made = env.admin(["token", "create", "alice", "--json"]).reveals().run().success().json();
    let made = made["session_token"].as_str().unwrap();
    env.watch("session token", made.as_bytes());
    assert_eq!(user(&server, made), 200);

    assert_eq!(server.terminate().code, Some(0));
    let restored = env.admin(["restore", "--force", "--keep-tokens"]).arg(&backup).run().success();
    let _ = restored.says("Its tokens work again");
    let server = env.server();
    assert_eq!((user(&server, &alice.token), agent(&server, workspace.token())), (200, 200));
    assert_eq!((user(&server, made), agent(&server, &token)), (401, 401));
}

/// What is known of a database of an earlier version.
fn earlier(env: &Env) -> Value {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server-stub/testdata/schema-4");
    let known: Value = serde_json::from_str(&fs::read_to_string(data.join("sqlite.json")).unwrap()).unwrap();
    fs::create_dir(env.data_dir()).unwrap();
    fs::set_permissions(env.data_dir(), Permissions::from_mode(0o700)).unwrap();
    let key = env.data_dir().join("encryption.key");
    fs::write(&key, known["encryption_key"].as_str().unwrap()).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    // A dump does not say that the server's databases have a write-ahead log.
    let sql = fs::read_to_string(data.join("sqlite.sql")).unwrap() + "PRAGMA journal_mode = WAL;\n";
    let _ = env.program("/usr/bin/sqlite3").arg(env.data_dir().join("coder.db")).stdin(sql).run().success();
    known
}

/// A command of the new version beside the old server changes nothing. The new server migrates, once, and keeps a copy.
#[test]
fn a_data_directory_of_an_earlier_version_is_migrated_by_serve_alone() {
    if !needs_sqlite("a_data_directory_of_an_earlier_version_is_migrated_by_serve_alone") {
        return;
    }
    let env = Env::new();
    let known = earlier(&env);
    let (database, copy) = (env.data_dir().join("coder.db"), env.data_dir().join("coder.db.schema-4"));
    let before = fs::read(&database).unwrap();
    for args in [&["user", "create", "bob"][..], &["token", "list"], &["workspace", "list"], &["backup", "copy.db"]] {
        let _ = env.admin(args).run().exits(2).complains("start the new server once: coder-server serve");
    }
    assert!(fs::read(&database).unwrap() == before && !copy.exists());

    let mut server = env.server();
    let log = server.stderr();
    let line = log.lines().find(|line| line.contains("a copy of it is kept")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(copy.to_str().unwrap()), "{line}");
    assert!(log.contains("bound tokens and git keys to the encryption key"), "{log}");
    let token = |name: &str| known[name].as_str().unwrap();
    let alice = env.user_with_token("alice", token("session_token"));
    assert_eq!(alice.names(), ["api-key"]);
    let secrets = Client::dial(&server, token("agent_token")).secrets();
    assert_eq!(secrets[0].2, "a value of the earlier version");
    let _ = alice.coder(["publickey"]).run().success().says(token("public_key"));
    let version = env.program("/usr/bin/sqlite3").arg(&copy).arg("PRAGMA user_version").run().success().stdout;
    assert_eq!(version, "4\n");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let _ = env.admin(["token", "list"]).run().success().says(id(token("session_token")));

    assert_eq!(server.terminate().code, Some(0));
    let server = env.server();
    assert!(!server.stderr().contains("a copy of it is kept"));
    assert_eq!(user(&server, token("session_token")), 200);
}
