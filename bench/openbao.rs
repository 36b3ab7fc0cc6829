//! The agent of `OpenBao`, which renders secrets into the environment of the command that it starts.

use std::fmt::Write as _;
use std::path::PathBuf;

use tests::{Env, LONG, Process, wait_until};

use crate::bao::Bao;
use crate::peers::Peer;
use crate::rounds::Contender;

/// Of its one entry, each a variable.
pub const FIELDS: usize = 50;

/// A server of `OpenBao` with the secrets, and what asks it.
pub struct OpenBao<'a> {
    env: &'a Env,
    peer: &'a Peer,
    server: Bao,
}

impl<'a> OpenBao<'a> {
    pub fn start(env: &'a Env, peer: &'a Peer) -> Self {
        let server = Bao::in_memory(env, &peer.program);
        let fields: Vec<_> = (0..FIELDS).map(|number| format!("FIELD_{number}=value-{number}")).collect();
        server.keep("bench", &fields);
        Self { env, peer, server }
    }

    /// From its start until `true` has run with all variables.
    pub fn boot(&self) -> Contender {
        let command = format!("{} agent -log-level=error -config={}", self.peer.program, self.config("true").display());
        self.peer.contender(command).named("OpenBao's agent, 50 secrets as variables")
    }

    /// One secret with its fields, printed.
    pub fn read(&self) -> Contender {
        let command = format!("{} kv get -format=json secret/bench", self.peer.program);
        let contender = self.peer.contender(command).named("`bao kv get`, one secret of 50 fields");
        contender.variable("BAO_ADDR", &self.server.url).variable("BAO_TOKEN", "root")
    }

    /// An agent that has rendered all of them and waits for nothing to happen.
    pub fn idle(&self) -> Process {
        let ready = self.env.path("work/openbao-ready");
        let config = self.config(&format!("sh\", \"-c\", \"touch {}; exec sleep infinity", ready.display()));
        let agent = self.env.program(&self.peer.program).args(["agent", "-log-level=error"]);
        let agent = agent.arg(format!("-config={}", config.display())).spawn("openbao-agent");
        wait_until("OpenBao's agent to start its command", LONG, || ready.exists());
        agent
    }

    fn config(&self, command: &str) -> PathBuf {
        let token = self.env.write("openbao.token", "root");
        let mut config = format!(
            "vault {{ address = \"{}\" }}\nauto_auth {{\n  method \"token_file\" {{ config = {{ token_file_path = \"{}\" }} }}\n}}\n\
             exec {{\n  command = [\"{command}\"]\n  restart_on_secret_changes = \"never\"\n}}\n",
            self.server.url,
            token.display()
        );
        for number in 0..FIELDS {
            let field = format!(
                "{{{{ with secret \\\"secret/data/bench\\\" }}}}{{{{ .Data.data.FIELD_{number} }}}}{{{{ end }}}}"
            );
            let _ = writeln!(config, "env_template \"FIELD_{number}\" {{ contents = \"{field}\" }}");
        }
        self.env.write("openbao.hcl", config)
    }
}
