//! What Coder's own agent and command line ask for by themselves.

use tests::{DEV, World};

use crate::peers::client::Client;

#[test]
fn calls_that_a_coder_agent_makes_by_itself_are_answered() {
    let World { server, workspace, .. } = World::with(DEV);
    let agent = Client::dial(&server, workspace.token());
    for call in [
        "/coder.agent.v2.Agent/ListSubAgents",
        "/coder.agent.v2.Agent/BatchUpdateAppHealths",
        "/coder.agent.v2.Agent/PushResourcesMonitoringUsage",
        "/coder.agent.v2.Agent/PushContextState",
        "/coder.agent.v2.Agent/ReportBoundaryLogs",
        "/coder.tailnet.v2.Tailnet/PostTelemetry",
    ] {
        // A datapoint, or whatever else has a sub-message as its first field.
        assert_eq!(agent.call(call, &[0x0a, 0x02, 0x08, 0x01]).message(), Vec::<u8>::new(), "{call}");
    }
}

#[test]
fn coder_show_finds_nothing_rather_than_an_error() {
    let World { server: _server, alice, .. } = World::with(DEV);
    let rest = alice.rest();
    let workspace = rest.get("/users/me/workspace/dev").expect(200).json;
    let agent = workspace["latest_build"]["resources"][0]["agents"][0]["id"].as_str().unwrap().to_owned();
    let ports = rest.get(&format!("/workspaceagents/{agent}/listening-ports")).expect(200).json;
    assert_eq!(ports, serde_json::json!({ "ports": [] }));
    let containers = rest.get(&format!("/workspaceagents/{agent}/containers")).expect(200).json;
    assert_eq!(containers["containers"], serde_json::json!([]));
    let unknown = "/workspaceagents/00000000-0000-4000-8000-000000000000/listening-ports";
    let _ = rest.get(unknown).expect(404);
}

#[test]
fn what_the_server_does_not_do_is_said_in_a_sentence() {
    let World { server: _server, alice, .. } = World::with(DEV);
    let rest = alice.rest();
    for (path, word) in [
        ("/templates", "no templates"),
        ("/organizations/default/templates", "no templates"),
        ("/workspaces/00000000-0000-4000-8000-000000000000/builds", "does not start, stop or build"),
        ("/workspaceagents/00000000-0000-4000-8000-000000000000/coordinate", "does not connect to workspaces"),
        ("/nowhere", "Route not found."),
    ] {
        let refused = rest.get(path).expect(404);
        assert!(refused.json["message"].as_str().unwrap().contains(word), "{}", refused.text);
        assert!(refused.json["detail"].as_str().unwrap().contains("coder-server"), "{}", refused.text);
    }
}

#[test]
fn the_version_is_coders_and_names_ours() {
    let World { server, alice, .. } = World::with(DEV);
    let reply = tests::Rest::new(server.url(), "").get("/buildinfo").expect(200);
    let version = reply.json["version"].as_str().unwrap();
    assert!(version.starts_with("v2.36.") && version.contains("+coder-server."), "{version}");
    assert_eq!(reply.headers["x-coder-build-version"], version);
    assert!(reply.json["upgrade_message"].as_str().unwrap().contains("coder-server"));
    // Our own command line does not take it for another product.
    let said = alice.coder(["whoami"]).run().success();
    assert_eq!(said.stderr, "");
}
