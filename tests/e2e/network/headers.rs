//! Headers for an access proxy: nginx that lets nobody through without them.

use tests::{LONG, requires};

use super::world::{NGINX_NEEDS, Nginx, World};

/// Lets those through who know `key`, and sends everybody else to a login page, as Cloudflare Access does.
fn access_proxy(world: &World, key: &str) -> Nginx {
    Nginx::start(
        &world.env,
        &format!(
            "location / {{\n if ($http_x_access_key != \"{key}\") {{ return 302 \
             https://team.access.test/cdn-cgi/access/login?meta=$http_x_access_key; }}\n proxy_pass {};\n \
             proxy_http_version 1.1;\n proxy_set_header Upgrade $http_upgrade;\n proxy_set_header Connection \"upgrade\";\n \
             proxy_read_timeout 1h;\n }}",
            world.server.url()
        ),
    )
}

#[test]
fn every_request_of_the_agent_carries_them() {
    if !requires("network::headers::agent", &NGINX_NEEDS) {
        return;
    }
    let world = World::http();
    let value = world.alice.secret("tool", &["--file", "~/seen"]);
    // The key is in nginx's configuration, so only its text in what we print is looked for.
    let key = "access-key-4711";
    let nginx = access_proxy(&world, key);
    let agent = || world.env.agent(&nginx.url(), &world.workspace);
    let login = "the server sends us to a login page: https://team.access.test/cdn-cgi/access/login; an access proxy wants a login; give the agent the headers that it asks for by --agent-header";

    let mut refused = agent().start();
    let _ = refused.line_with(login, LONG);
    assert_eq!(refused.terminate().code, Some(0));

    let header = format!("X-Access-Key={key}");
    let command =
        format!("test \"$CODER_URL\" = {}/ && test -z \"$CODER_AGENT_TOKEN\" && echo '{header}'", nginx.url());
    let ways = [
        agent().args(["--agent-header", &header]),
        agent().env("CODER_AGENT_HEADER", format!("X-Other=1,{header}")),
        agent().args(["--agent-header-command", &command]),
        agent().env("CODER_AGENT_HEADER_COMMAND", &command),
    ];
    for way in ways {
        let mut agent = way.command(["sh", "-c", "env > ~/env.new; mv ~/env.new ~/env; exec sleep 1000"]).start();
        let variables = agent.wait_read("env");
        assert_eq!(agent.read("seen"), value);
        // The request for the key is made by HTTP.
        assert!(agent.coder(["publickey"]).run().success().stdout.starts_with("ssh-ed25519 "));
        let log = agent.stderr();
        assert!(!variables.contains("CODER_AGENT_HEADER") && !variables.contains(key), "{variables}");
        assert!(!log.contains(key), "{log}");
        let _ = agent.terminate();
    }
    let fetched = world
        .env
        .coder(["publickey", "--signing-key"])
        .env("CODER_AGENT_SOCKET", "/nonexistent/agent.sock")
        .env("CODER_AGENT_URL", nginx.url());
    let fetched = fetched.env("CODER_AGENT_TOKEN", world.workspace.token());
    let _ = fetched.env("CODER_AGENT_HEADER", &header).run().success().says("key::ssh-ed25519 ");
    let fetched = world
        .env
        .coder(["publickey", "--signing-key"])
        .env("CODER_AGENT_SOCKET", "/nonexistent/agent.sock")
        .env("CODER_AGENT_URL", nginx.url());
    let fetched = fetched.env("CODER_AGENT_TOKEN", world.workspace.token()).run().exits(1);
    let _ = fetched.complains("the server sends us to a login page: https://team.access.test/cdn-cgi/access/login");
}

#[test]
fn a_header_that_is_none_ends_the_start_without_being_shown() {
    let world = World::http();
    let run = world.env.agent(&world.server, &world.workspace).args(["--agent-header", "hunter2"]).into_run();
    let refused = run.run().exits(2).complains("an --agent-header is not NAME=VALUE");
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
    let mut agent = world.env.agent(&world.server, &world.workspace).args(["--agent-header-command", "exit 3"]).start();
    let line = agent.line_with("trying again until it works", LONG);
    assert!(line.contains("no headers for the server: the header command failed: exit status: 3"), "{line}");
    let _ = world.env.coder(["agent", "--header", "a=b"]).run().exits(2).complains("it has --agent-header");
}

#[test]
fn every_command_carries_them() {
    if !requires("network::headers::command", &NGINX_NEEDS) {
        return;
    }
    let world = World::http();
    let nginx = access_proxy(&world, "a,b");
    let list = || world.alice.coder(["secret", "list", "--url", &nginx.url()]);
    let _ = list().args(["--header", "\"X-Access-Key=a,b\""]).run().success();
    let _ = list().env("CODER_HEADER_COMMAND", "echo X-Access-Key=a,b").run().success();
    let _ = list().run().exits(1).complains("sends us on to https://team.access.test/cdn-cgi/access/login");
}
