//! A server that cannot tell of changes is asked.

use serde_json::json;
use tests::control_plane::{ControlPlane, MANIFEST, wire};
use tests::{Agent, Env};

use super::*;
use crate::peers::{TOKEN, manifest, secret};

const WATCH: &str = "/usersecrets.agent.v1.Live/Watch";

struct Asked {
    env: Env,
    server: ControlPlane,
    agent: Agent,
}

impl Asked {
    fn new(refusal: (u64, &str)) -> Self {
        let env = Env::new();
        let server = ControlPlane::new(&manifest());
        server.answer(WATCH, wire::refusal(refusal.0, refusal.1));
        let agent = env.agent_with_token(&server, TOKEN).args(["--refresh", "1s"]).start();
        Self { env, server, agent: delivered(agent) }
    }

    fn give(&self, label: &str) -> String {
        let value = self.env.canary(label);
        let manifest = manifest().message(19, &secret("TOKEN", "~/token", &value));
        self.server.answer(MANIFEST, wire::answer(&manifest.0));
        value
    }
}

#[test]
fn in_whatever_words_it_says_so() {
    for refusal in [(0, "protocol error: unknown rpc: \"x\""), (12, "no"), (0, "Unimplemented")] {
        let asked = Asked::new(refusal);
        let value = asked.give("new");
        wait_arrived(&asked.agent, &value);
        let updates = status(&asked.agent)["updates"].take();
        assert_eq!((&updates["how"], &updates["every_seconds"]), (&json!("polling"), &json!(1)));
        let _ = asked.agent.coder(["status"]).run().says("polling since ").says("asking the server every 1 s");
        assert_eq!(asked.server.heard(WATCH).len(), 1, "it is not asked for that again");
    }
}

#[test]
fn what_has_not_changed_is_not_delivered_again() {
    let asked = Asked::new((12, ""));
    let value = asked.give("same");
    wait_arrived(&asked.agent, &value);
    let number = status(&asked.agent)["revision"]["number"].clone();
    let fetched = asked.server.heard(MANIFEST).len();
    wait_until("two more questions", LONG, || asked.server.heard(MANIFEST).len() >= fetched + 2);
    assert_eq!(status(&asked.agent)["revision"]["number"], number);
}

#[test]
fn zero_asks_never() {
    let env = Env::new();
    let server = ControlPlane::new(&manifest());
    let agent = delivered(env.agent_with_token(&server, TOKEN).args(["--refresh", "0"]).start());
    wait_until("a status", LONG, || status(&agent)["updates"]["how"] == "off");
    assert_eq!(server.heard(MANIFEST).len(), 1);
}
