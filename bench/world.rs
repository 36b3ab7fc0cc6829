//! A server, a user with fifty secrets, and a workspace whose startup script can end the run.

use tests::{Env, Server, User, Workspace};

use crate::peers::Peers;

/// Half of the secrets are variables and half are files.
const SECRETS: usize = 50;

/// What every scenario starts from.
pub struct World {
    pub env: Env,
    pub peers: Peers,
    /// Whether slow scenarios run as well.
    pub long: bool,
    pub server: Server,
    pub alice: User,
    /// Its startup script kills the agent with its first instruction, so that a run lasts exactly until there.
    pub stopwatch: Workspace,
    /// It has no script.
    pub idle: Workspace,
}

impl World {
    pub fn new(long: bool) -> Self {
        let env = Env::quiet();
        let server = serve(&env, &[]);
        let alice = env.user("alice");
        for number in 0..SECRETS / 2 {
            alice.secret(&format!("variable-{number}"), &["--env", &format!("SECRET_{number}")]);
            alice.secret(&format!("file-{number}"), &["--file", &format!("~/.secrets/{number}/token")]);
        }
        let stopwatch = stopwatch(&env, &alice);
        let idle = env.workspace("owner: alice\nname: idle\nagent: { name: main }\n");
        Self { env, peers: Peers::installed(), long, server, alice, stopwatch, idle }
    }

    /// A workspace of `user` whose startup script kills the agent with its first instruction.
    pub fn stopwatch(&self, user: &User) -> Workspace {
        stopwatch(&self.env, user)
    }

    /// Starts the server anew on the same data, with further flags.
    pub fn restart(&mut self, flags: &[&str]) {
        let _ = self.server.terminate();
        self.server = serve(&self.env, flags);
    }
}

fn serve(env: &Env, flags: &[&str]) -> Server {
    // hyperfine alone asks for more than a person may.
    env.server_with([&["--rate-limit", "0"], flags].concat())
}

fn stopwatch(env: &Env, user: &User) -> Workspace {
    let scripts = "scripts: [{ display_name: Stopwatch, run_on_start: true, script: \"kill -9 $PPID\" }]";
    env.workspace(&format!("owner: {}\nname: stopwatch\nagent:\n  name: main\n  {scripts}\n", user.name))
}
