//! `coder agent` that cannot start.

use std::fs;

use tests::{Env, Need, Proxy, Run, requires};

const TOKEN: &str = "9f0e6f2a-5f0c-4a57-9b1f-0d4c9b9f1a11";

/// An agent whose server is not there.
struct NoServer {
    env: Env,
    /// Before no server; it counts who calls.
    proxy: Proxy,
}

impl NoServer {
    fn new() -> Self {
        Self { env: Env::new(), proxy: Proxy::new("http://127.0.0.1:1") }
    }

    fn bare(&self) -> Run {
        let run = self.env.coder(["agent", "--log-dir"]).arg(self.env.path("logs"));
        let run = run.env("CODER_AGENT_SOCKET", self.env.home().join("agent.sock"));
        run.env("CODER_AGENT_ALLOW_ROOT", "true")
    }

    /// With an address and a token.
    fn agent(&self) -> Run {
        self.bare().env("CODER_AGENT_URL", self.proxy.url()).env("CODER_AGENT_TOKEN", TOKEN)
    }

    #[track_caller]
    fn refused(&self, run: Run, complaint: &str) {
        let output = run.run().exits(2).complains(complaint);
        assert_eq!(output.stdout, "");
        assert_eq!(self.proxy.accepted(), 0, "it has called the server");
    }
}

#[test]
fn address_and_token() {
    let world = NoServer::new();
    world.refused(world.bare(), "error: CODER_AGENT_URL must be set");
    world.refused(world.agent().env("CODER_AGENT_URL", ""), "error: CODER_AGENT_URL must be set");
    let no_token = "error: Either CODER_AGENT_TOKEN or CODER_AGENT_TOKEN_FILE must be set";
    world.refused(world.bare().env("CODER_AGENT_URL", world.proxy.url()), no_token);
    world.refused(world.agent().env("CODER_AGENT_TOKEN", ""), no_token);
    for url in ["coder.example", "ftp://coder.example", "http://", "/path"] {
        world.refused(world.agent().env("CODER_AGENT_URL", url), &format!("the agent URL {url:?} is not usable: "));
    }
    let password = world.env.canary("password");
    let url = format!("http://alice:{password}@coder.example");
    world.refused(world.agent().env("CODER_AGENT_URL", url), "it must not hold a user or password");
    let two_words = format!("{} {}", world.env.canary("word"), world.env.canary("word"));
    let spaces = "the agent token in CODER_AGENT_TOKEN is unusable: it holds spaces";
    world.refused(world.agent().env("CODER_AGENT_TOKEN", two_words), spaces);
}

#[test]
fn token_files() {
    let world = NoServer::new();
    let from = |path: &str| world.agent().args(["--agent-token-file", path]);
    let missing = world.env.home().join("missing");
    let missing = missing.to_str().unwrap();
    world.refused(from(missing), &format!("cannot read agent token file {missing}: No such file or directory"));
    world.refused(world.agent().env("CODER_AGENT_TOKEN_FILE", missing), "cannot read agent token file");
    world.refused(from("/"), "cannot read agent token file /: Is a directory");
    let file = world.env.home().join("token");
    fs::write(&file, "").unwrap();
    let path = file.to_str().unwrap();
    world.refused(from(path), &format!("the agent token in {path} is unusable: it is empty"));
    fs::write(&file, format!("{}\n{}\n", world.env.canary("line"), world.env.canary("line"))).unwrap();
    world.refused(from(path), &format!("the agent token in {path} is unusable: it holds spaces"));
    let both = from(path).args(["--agent-token", TOKEN]);
    world.refused(both, "--agent-token-file");
}

#[test]
fn configuration_files() {
    let world = NoServer::new();
    let with = |text: &str| {
        let file = world.env.home().join("agent.toml");
        fs::write(&file, text).unwrap();
        world.agent().arg("--config").arg(file)
    };
    let canary = world.env.canary("token in a file");
    world.refused(with("strict = true\nurl = 'x'\n"), "agent.toml line 2: unknown field `url`");
    world.refused(with("strict = yes please\n"), "agent.toml line 1: ");
    world.refused(with("\n\nready-after = 'soon'\n"), "agent.toml line 3: not a length of time such as 30s or 5m");
    world.refused(with(&format!("agent-token = '{canary}'\n")), "agent-token must not be in this file");
    world.refused(with(&format!("strict = {canary}\n")), "agent.toml line 1: ");
    let absent = world.agent().args(["--config", "/nonexistent/agent.toml"]);
    world.refused(absent, "cannot read configuration file /nonexistent/agent.toml: No such file or directory");
}

#[test]
fn flags() {
    let world = NoServer::new();
    world.refused(world.agent().args(["--ready-after", "soon"]), "not a length of time such as 30s or 5m");
    world.refused(world.agent().args(["--strict=perhaps"]), "--strict");
    world.refused(world.agent().args(["--no-such-flag"]), "--no-such-flag");
    world.refused(world.agent().env("CODER_AGENT_LOG", "verbose"), "CODER_AGENT_LOG is not a level or a list such as");
    // Forgotten `--`.
    world.refused(world.agent().args(["sleep", "1"]), "sleep");
}

#[test]
fn root_and_other_users() {
    if !requires("root_and_other_users", &[Need::Root]) {
        return;
    }
    let world = NoServer::new();
    let denied = world.agent().args(["--allow-root=false"]);
    world.refused(denied, "the agent would run everything as root: name the workspace's user with --user");
    world.refused(world.agent().args(["--user", "nobody-of-that-name"]), "no user nobody-of-that-name in the passwd");
}

/// A dry run is the one form that does not try for ever.
#[test]
fn a_dry_run_tells_why_there_is_no_manifest() {
    let env = Env::new();
    let server = env.server();
    let dry = |url: &str| {
        let run = env.coder(["agent", "--dry-run", "--allow-root", "--log-dir"]).arg(env.path("logs"));
        run.env("CODER_AGENT_URL", url).env("CODER_AGENT_TOKEN", TOKEN)
    };
    let _ = dry("http://127.0.0.1:1").run().exits(1).complains("cannot reach 127.0.0.1 port 1: Connection refused");
    let _ = dry(server.url()).run().exits(1).complains("the server refuses the agent token");
}
