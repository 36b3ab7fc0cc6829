//! Who may ask for what: each route, asked by its owner, by somebody else, by an agent, with nothing.

use tests::DEV;

use super::*;

/// Routes with what they need of a user: `USER` and `AGENT` are filled in, and what another user is told.
const ROUTES: [(&str, &str, Option<&str>, u16); 16] = [
    ("GET", "/users/USER", None, 404),
    ("GET", "/users/USER/gitsshkey", None, 404),
    ("PUT", "/users/USER/gitsshkey", None, 403),
    ("GET", "/users/USER/secrets", None, 404),
    ("POST", "/users/USER/secrets", Some(r#"{"name": "new", "value": "v"}"#), 403),
    ("POST", "/users/USER/secrets/batch", Some(r#"{"format": "env", "content": "B=1"}"#), 403),
    ("GET", "/users/USER/secrets/a", None, 404),
    ("PATCH", "/users/USER/secrets/a", Some(r#"{"description": "d"}"#), 403),
    ("DELETE", "/users/USER/secrets/a", None, 404),
    ("GET", "/users/USER/workspace/dev", None, 404),
    ("GET", "/workspaces/WORKSPACE", None, 404),
    ("GET", "/workspaceagents/AGENT", None, 404),
    ("GET", "/workspaceagents/AGENT/logs", None, 404),
    ("GET", "/workspaceagents/me/gitsshkey", None, 401),
    ("POST", "/workspaceagents/me/log-source", Some(r#"{"id": "00000000-0000-0000-0000-000000000001"}"#), 401),
    ("PATCH", "/workspaceagents/me/logs", Some(r#"{"logs": []}"#), 401),
];

struct Everything {
    world: Api,
    agent_token: String,
    workspace: String,
    agent: String,
}

impl Everything {
    fn new() -> Self {
        let world = Api::new();
        let body = json!({ "name": "a", "value": world.env.canary("a"), "env_name": "A" });
        world.create(body).is(201);
        let workspace = world.env.workspace(DEV);
        world.env.workspace("owner: bob\nname: dev\nagent: { name: main }\n");
        let shown = world.get("/users/me/workspace/dev").is(200).body;
        let id = |value: &Value| value.as_str().expect("an id").to_owned();
        let agent = id(&shown["latest_build"]["resources"][0]["agents"][0]["id"]);
        Self { agent_token: workspace.token().to_owned(), workspace: id(&shown["id"]), agent, world }
    }

    fn ask(&self, route: &(&str, &str, Option<&str>, u16), token: &str) -> u16 {
        let (method, path, body, _) = *route;
        let path = path.replace("USER", "alice").replace("AGENT", &self.agent).replace("WORKSPACE", &self.workspace);
        let rest = Rest::new(self.world.server.url(), token);
        let reply = rest.send(method.parse().unwrap(), &path, body.map(str::to_owned));
        // Searched for values by the world's end.
        self.world.env.write(&format!("answer-{method}-{}-{}", path.replace('/', "_"), reply.status), reply.text);
        reply.status
    }
}

#[test]
fn nobody_reaches_what_is_alices() {
    let everything = Everything::new();
    let bob = everything.world.bob.token.clone();
    for route in &ROUTES {
        assert_eq!(everything.ask(route, &bob), route.3, "bob: {route:?}");
        assert_eq!(everything.ask(route, ""), 401, "nobody: {route:?}");
        assert_eq!(everything.ask(route, &everything.agent_token[1..]), 401, "half a token: {route:?}");
    }
    // None of them did anything.
    assert_eq!(everything.world.alice.names(), ["a"]);
}

/// It has no account: what its owner may ask for by REST it may not, and the other way round.
#[test]
fn an_agent_token_is_no_session_token() {
    let everything = Everything::new();
    for route in &ROUTES {
        let of_agents = route.1.contains("/me/");
        let status = everything.ask(route, &everything.agent_token);
        assert_eq!(status != 401, of_agents, "{route:?}: {status}");
        let status = everything.ask(route, &everything.world.alice.token.clone());
        assert_eq!(status == 401, of_agents, "alice: {route:?}: {status}");
    }
}
