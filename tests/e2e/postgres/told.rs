//! What one server, or a command beside it, does reaches the agents of the other.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{DEV, LONG, Rest, SHORT, wait_until};

use super::Pair;
use crate::peers::End;
use crate::peers::client::Client;

/// By notification. The poll behind it comes every five seconds.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn a_token_that_is_rotated_at_one_server_ends_the_session_at_the_other() {
    let test = "a_token_that_is_rotated_at_one_server_ends_the_session_at_the_other";
    let Some(pair) = Pair::start(test) else { return };
    let sessions = pair.urls().map(|url| Client::dial(url, pair.workspace.token()));
    let bystander = pair.env.workspace(&DEV.replace("dev", "other"));
    let bystander = Client::dial(&pair.servers[1], bystander.token());
    let file = pair.env.home().join("dev.yaml");
    fs::write(&file, DEV).unwrap();
    let apply = pair.env.admin(["workspace", "apply", "--rotate-tokens", "--json"]).arg(file);
    let applied = apply.reveals().run().success().json();
    let start = Instant::now();
    let token = applied["workspaces"][0]["agents"][0]["token"].as_str().unwrap();
    pair.env.watch("rotated token", token.as_bytes());
    for session in &sessions {
        assert_eq!(session.ending(), End::Close(1000));
    }
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert!(bystander.is_open());
    for url in pair.urls() {
        let refused = Client::try_dial(url, "", &[("Coder-Session-Token", pair.workspace.token())]);
        assert_eq!(refused.err().map(|refused| refused.status), Some(401));
        drop(Client::dial(url, token));
    }
}

#[test]
fn a_session_token_revoked_beside_one_server_is_refused_by_the_other() {
    let Some(pair) = Pair::start("a_session_token_revoked_beside_one_server_is_refused_by_the_other") else { return };
    let there = Rest::new(pair.servers[1].url(), &pair.alice.token);
    let _ = there.get("/users/me").expect(200);
    let id = pair.alice.token.split('-').next().unwrap();
    let _ = pair.env.admin(["token", "revoke", id]).run().success();
    let _ = there.get("/users/me").expect(401);
}

#[test]
fn what_is_written_at_one_server_is_delivered_by_the_other() {
    let Some(pair) = Pair::start("what_is_written_at_one_server_is_delivered_by_the_other") else { return };
    let agent = Client::dial(&pair.servers[1], pair.workspace.token());
    let secrets = "/users/me/secrets";
    for round in 0..20 {
        let value = pair.env.canary(&format!("round-{round}"));
        let body = json!({ "name": format!("s{round}"), "value": value, "env_name": format!("S{round}") });
        let _ = pair.alice.rest().post(secrets, &body).expect(201);
        assert!(agent.secrets().iter().any(|(_, _, found)| *found == value), "the manifest after the answer");
    }
    let deleted = pair.env.admin(["workspace", "delete", "alice/dev"]).run();
    let _ = deleted.success();
    assert_eq!(agent.ending(), End::Close(1000));
}

/// The server that an agent left does not take it out of the books of the other.
#[test]
fn an_agent_that_moved_is_shown_as_connected_whoever_its_server_is() {
    moved("an_agent_that_moved_is_shown_as_connected_whoever_its_server_is");
}

/// By its lease: nobody says goodbye for a server that was killed.
#[test]
#[ignore = "long: waits for the end of a lease"]
fn an_agent_whose_server_was_killed_is_not_connected_for_ever() {
    let test = "an_agent_whose_server_was_killed_is_not_connected_for_ever";
    let Some((mut pair, _agent)) = moved(test) else { return };
    pair.servers[1].kill();
    // Half a minute after it was seen last.
    let status = || pair.workspace.show_agent()["status"].as_str().unwrap_or_default().to_owned();
    wait_until("the end of the lease", LONG, || status() != "connected");
}

/// An agent that has dialed the second server while the first one still had it, and then left that one.
fn moved(test: &str) -> Option<(Pair, Client)> {
    let mut pair = Pair::start(test)?;
    let status = || pair.workspace.show_agent()["status"].as_str().unwrap_or_default().to_owned();
    let first = Client::dial(&pair.servers[0], pair.workspace.token());
    wait_until("the connection", SHORT, || status() == "connected");
    let second = Client::dial(&pair.servers[1], pair.workspace.token());
    wait_until("the move", SHORT, || {
        let moved = "SELECT count(DISTINCT server_id) FROM agent_presence p JOIN servers s ON s.id = p.server_id
            WHERE s.started_at = (SELECT max(started_at) FROM servers)";
        pair.env.sql(moved).trim() == "1"
    });
    drop(first);
    assert_eq!(status(), "connected");
    pair.servers[0].kill();
    assert!(second.is_open() && pair.workspace.show_agent()["status"] == "connected");
    Some((pair, second))
}
