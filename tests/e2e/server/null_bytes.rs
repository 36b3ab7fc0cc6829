//! Null bytes, which PostgreSQL stores in no text: refused in what people name, replaced in what agents report.

use serde_json::json;
use tests::World;

use crate::peers::client::Client;
use crate::peers::control_plane::{LOGS, STARTUP};
use crate::peers::wire::Proto;

use super::hostile::{CONNECTION, METADATA};

const DEFINITION: &str =
    "owner: alice\nname: dev\nagent: { name: main, metadata: [{ key: load, script: uptime, interval: 60 }] }\n";

#[test]
fn a_name_or_description_is_refused_by_field() {
    let world = World::new();
    let rest = world.alice.rest();
    let create = |name: &str, description: &str| {
        let body = json!({ "name": name, "value": "v", "description": description });
        rest.post("/users/me/secrets", &body).expect(400).validations()
    };
    assert_eq!(create("a\0b", ""), ["name: Name must not contain null bytes."]);
    assert_eq!(create("a", "x\0"), ["description: Description must not contain null bytes."]);
    let import = json!({ "format": "json", "content": r#"{ "A\u0000B": "v" }"# });
    let imported = rest.post("/users/me/secrets/batch", &import).expect(400).validations();
    assert!(imported.len() == 1 && imported[0].ends_with("Name must not contain null bytes."), "{imported:?}");
    assert!(world.alice.names().is_empty());

    let _ = rest.post("/users/me/secrets", &json!({ "name": "a", "value": "v" })).expect(201);
    let updated = rest.patch("/users/me/secrets/a", &json!({ "description": "\0" })).expect(400).validations();
    assert_eq!(updated, ["description: Description must not contain null bytes."]);
    // Nothing has such a name, which is no failure of the server.
    for path in ["/users/me/secrets/a%00b", "/users/a%00b", "/users/me/workspace/a%00b", "/users/a%00/gitsshkey"] {
        assert_eq!(rest.get(path).status, 404, "{path}");
    }
    assert_eq!(rest.delete("/users/me/secrets/a%00b").status, 404);
    assert_eq!(rest.patch("/users/me/secrets/a%00b", &json!({ "description": "d" })).status, 404);
    let _ = world.env.admin(["audit"]).run().success().says("a\u{fffd}b");
}

#[test]
fn what_an_agent_reports_is_kept_with_a_mark_in_their_place() {
    let world = World::with(DEFINITION);
    let client = Client::dial(&world.server, world.workspace.token());
    let startup = Proto::default().bytes(1, "v1.0.0").bytes(2, "/home/a\0b");
    let log = Proto::default().bytes(1, [0; 16]).message(2, &Proto::default().bytes(2, "before\0after").number(3, 3));
    let result = Proto::default().bytes(3, "1\x002").bytes(4, "3\x004");
    let metadata = |key: &str| Proto::default().message(2, &Proto::default().bytes(1, key).message(2, &result)).0;
    let connection = Proto::default().bytes(1, [7; 16]).number(2, 1).number(3, 1).bytes(7, "a\0reason");
    for (path, body) in [
        (STARTUP, Proto::default().message(1, &startup).0),
        (LOGS, log.0),
        (METADATA, metadata("load")),
        (METADATA, metadata("lo\0ad")),
        (CONNECTION, Proto::default().message(1, &connection).0),
    ] {
        // An answer, not an error.
        let _ = client.call(path, &body).message();
    }
    let source = json!({ "id": uuid::Uuid::new_v4(), "display_name": "a\0source", "icon": "\0" });
    let agent = tests::Rest::new(world.server.url(), world.workspace.token());
    let kept = agent.post("/workspaceagents/me/log-source", &source).expect(201).json;
    assert_eq!((&kept["display_name"], &kept["icon"]), (&"a\u{fffd}source".into(), &"\u{fffd}".into()));
    assert!(client.is_open());

    let shown = world.workspace.show_agent();
    assert_eq!(shown["expanded_directory"], "/home/a\u{fffd}b", "{shown}");
    assert!(shown["startup_log"].to_string().contains("before\u{fffd}after"), "{shown}");
    let item = &shown["metadata"][0];
    assert_eq!((&item["value"], &item["error"]), (&"1\u{fffd}2".into(), &"3\u{fffd}4".into()), "{shown}");
}
