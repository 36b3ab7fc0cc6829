//! The network between a server and its database: cut, refused, slow, silent.

use std::fs;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tests::{DEV, Fault, LONG, Proxy, Rest, SHORT, Server, wait_until};

use super::{Pair, UNLIMITED};
use crate::peers::End;
use crate::peers::client::Client;
use crate::server::connections::ask;

/// Both servers of a pair, and a third one that reaches the database by a proxy.
struct Distant {
    pair: Pair,
    server: Server,
    proxy: Proxy,
}

impl Distant {
    fn start(test: &str) -> Option<Self> {
        let pair = Pair::start(test)?;
        let proxy = Proxy::new(pair.postgres.url().replace("postgres://coder@", "tcp://").replace("/postgres", ""));
        let address = proxy.url().trim_start_matches("tcp://").to_owned();
        let url = format!("postgres://coder@{address}/postgres");
        let server = pair.env.server_by_way_of(&url, "distant", UNLIMITED);
        Some(Self { pair, server, proxy })
    }

    fn rest(&self) -> Rest {
        Rest::new(self.server.url(), &self.pair.alice.token)
    }

    fn is_ready(&self) -> bool {
        ask(self.server.address(), "/readyz").starts_with("HTTP/1.1 200")
    }

    /// Reads and writes that must all be answered as ever.
    #[track_caller]
    fn works(&self, name: &str) {
        let rest = self.rest();
        for number in 0..10 {
            let secret = format!("{name}-{number}");
            let _ = rest.post("/users/me/secrets", &json!({ "name": secret, "value": "v" })).expect(201);
            let _ = rest.get(&format!("/users/me/secrets/{secret}")).expect(200);
            let _ = rest.delete(&format!("/users/me/secrets/{secret}")).expect(204);
        }
    }

    /// Requests at once, so that the server has as many connections as it may.
    fn crowd(&self) {
        std::thread::scope(|scope| {
            for number in 0..40 {
                scope.spawn(move || {
                    let path = format!("/users/me/secrets/crowd-{number}");
                    for _ in 0..3 {
                        let _ = self.rest().send(Method::PATCH, &path, Some(r#"{"value":"v"}"#.into())).expect(404);
                    }
                });
            }
        });
    }
}

/// Connections that are dead in the pool are nobody's problem.
#[test]
fn a_cut_connection_is_replaced_and_no_request_fails_for_it() {
    let Some(distant) = Distant::start("a_cut_connection_is_replaced_and_no_request_fails_for_it") else { return };
    let agent = Client::dial(&distant.server, distant.pair.workspace.token());
    for round in 0..3 {
        distant.crowd();
        distant.proxy.cut();
        distant.works(&format!("round-{round}"));
    }
    assert!(agent.is_open());
    assert!(distant.is_ready());
}

/// A server without its database says so; its agents stay, and hear afterwards of what they missed.
#[test]
fn a_server_without_its_database_is_not_ready_and_keeps_its_agents() {
    let Some(distant) = Distant::start("a_server_without_its_database_is_not_ready_and_keeps_its_agents") else {
        return;
    };
    let env = &distant.pair.env;
    let other = env.workspace(&DEV.replace("dev", "other"));
    let (agent, stays) =
        (Client::dial(&distant.server, distant.pair.workspace.token()), Client::dial(&distant.server, other.token()));
    distant.works("before");
    distant.proxy.set(Fault::Refuse);
    distant.proxy.cut();
    wait_until("the server to say that it is not ready", LONG, || !distant.is_ready());
    assert!(ask(distant.server.address(), "/healthz").starts_with("HTTP/1.1 200"));
    assert!(ask(distant.pair.servers[0].address(), "/readyz").starts_with("HTTP/1.1 200"));
    // Notifications of this are lost.
    let file = env.home().join("dev.yaml");
    fs::write(&file, DEV).unwrap();
    let applied = env.admin(["workspace", "apply", "--rotate-tokens", "--json"]).arg(file).reveals().run().success();
    env.watch("rotated", applied.json()["workspaces"][0]["agents"][0]["token"].as_str().unwrap().as_bytes());
    assert!(agent.is_open() && stays.is_open());
    distant.proxy.set(Fault::None);
    assert_eq!(agent.ending(), End::Close(1000));
    wait_until("the server to be ready again", LONG, || distant.is_ready());
    distant.works("after");
    assert!(stays.is_open() && !stays.secrets().iter().any(|_| true));
}

#[test]
fn a_slow_database_makes_answers_slow_and_nothing_else() {
    let Some(distant) = Distant::start("a_slow_database_makes_answers_slow_and_nothing_else") else { return };
    let delay = Duration::from_millis(60);
    distant.proxy.set(Fault::Delay(delay));
    let start = Instant::now();
    distant.works("slow");
    assert!(start.elapsed() > 30 * delay, "not slow: {:?}", start.elapsed());
    distant.crowd();
    assert!(distant.is_ready());
    let agent = Client::dial(&distant.server, distant.pair.workspace.token());
    assert!(agent.secrets().is_empty());
    let _ = distant.pair.env.admin(["workspace", "delete", "alice/dev"]).run().success();
    assert_eq!(agent.ending(), End::Close(1000));
}

/// A firewall that has forgotten the connection: nothing comes, and nothing is closed.
#[test]
fn a_silent_database_is_not_waited_for_without_end() {
    let Some(distant) = Distant::start("a_silent_database_is_not_waited_for_without_end") else { return };
    let agent = Client::dial(&distant.server, distant.pair.workspace.token());
    distant.works("before");
    distant.proxy.set(Fault::Stall);
    wait_until("the server to say that it is not ready", SHORT, || !distant.is_ready());
    distant.proxy.set(Fault::None);
    wait_until("the server to be ready again", LONG, || distant.is_ready());
    distant.works("after");
    assert!(agent.is_open());
}
