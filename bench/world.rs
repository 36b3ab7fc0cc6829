//! A server, a user with fifty secrets, and a workspace whose startup script can end the run.

use std::path::Path;

use tests::{Env, Server, User, Workspace};

/// Half of the secrets are variables and half are files.
const SECRETS: usize = 50;

/// What every scenario starts from.
pub struct World {
    pub env: Env,
    pub server: Server,
    pub alice: User,
    /// Its startup script kills the agent with its first instruction, so that a run lasts exactly until there.
    pub stopwatch: Workspace,
    /// It has no script.
    pub idle: Workspace,
}

impl World {
    pub fn new() -> Self {
        let env = Env::quiet();
        let server = serve(&env, &[]);
        let alice = env.user("alice");
        for number in 0..SECRETS / 2 {
            alice.secret(&format!("variable-{number}"), &["--env", &format!("SECRET_{number}")]);
            alice.secret(&format!("file-{number}"), &["--file", &format!("~/.secrets/{number}/token")]);
        }
        let scripts = "scripts: [{ display_name: Stopwatch, run_on_start: true, script: \"kill -9 $PPID\" }]";
        let stopwatch = env.workspace(&format!("owner: alice\nname: stopwatch\nagent:\n  name: main\n  {scripts}\n"));
        let idle = env.workspace("owner: alice\nname: idle\nagent: { name: main }\n");
        Self { env, server, alice, stopwatch, idle }
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

/// Mean and spread of one command line, in milliseconds.
pub struct Timing {
    pub mean: f64,
    pub deviation: f64,
    pub min: f64,
}

impl Timing {
    pub fn text(&self) -> String {
        format!("{:.1} ms ± {:.1} (min {:.1})", self.mean, self.deviation, self.min)
    }
}

/// Runs `command` under hyperfine without a shell in between. `failing` says that it ends by a signal on purpose.
pub fn hyperfine(env: &Env, command: &str, variables: &[(&str, &str)], prepare: Option<&str>, failing: bool) -> Timing {
    let result = env.path("work/hyperfine.json");
    let mut run = env
        .program("/usr/bin/hyperfine")
        .args(["-N", "--warmup", "5", "--min-runs", "50", "--style", "none", "--export-json"])
        .arg(&result);
    for (name, value) in variables {
        run = run.env(name, value);
    }
    if let Some(prepare) = prepare {
        run = run.args(["--prepare", prepare]);
    }
    if failing {
        run = run.arg("--ignore-failure");
    }
    let _ = run.arg(command).run().success();
    read(&result)
}

fn read(path: &Path) -> Timing {
    let text = std::fs::read_to_string(path).expect("hyperfine's result");
    let parsed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let milliseconds = |name: &str| parsed["results"][0][name].as_f64().expect("a figure") * 1000.0;
    Timing { mean: milliseconds("mean"), deviation: milliseconds("stddev"), min: milliseconds("min") }
}
