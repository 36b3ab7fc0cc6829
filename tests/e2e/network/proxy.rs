//! tinyproxy between the programs and the server, which only the proxy can find by its name.

use std::os::unix::fs::PermissionsExt as _;

use tests::{Agent, LONG, SHORT, requires};

use super::world::{NAME, PROXY_NEEDS, Proxy, World, free_port};

#[track_caller]
fn delivers(world: &World, mut agent: Agent, value: &str) {
    world.workspace.wait_lifecycle("ready");
    assert_eq!(agent.read("seen"), value);
    assert_eq!(agent.terminate().code, Some(0), "{}", agent.stderr());
}

/// The connection, and the request for the git key of `coder publickey`, go where the command line goes.
fn through(test: &str, world: &World, scheme: &str) {
    if !requires(test, &PROXY_NEEDS) {
        return;
    }
    let value = world.env.canary("tool");
    let create = world.alice.coder(["secret", "create", "tool", "--file", "~/seen"]).stdin(&value);
    let _ = create.env("CODER_URL", world.url_as("127.0.0.1")).env("SSL_CERT_FILE", world.ca()).run().success();
    let proxy = Proxy::start(&world.env, "");
    let variable = format!("{}_PROXY", scheme.to_uppercase());
    let url = world.url_as(NAME);
    let agent = world.env.agent(&url, &world.workspace).env(&variable, proxy.url()).env("SSL_CERT_FILE", world.ca());
    let mut agent = agent.start();
    let line = agent.line_with("agent starts", LONG);
    assert!(line.contains(&format!("{} ({variable})", proxy.url())), "{line}");
    let key = agent.coder(["publickey"]).run().success().stdout;
    assert!(key.starts_with("ssh-ed25519 "), "{key}");
    let target = url.split("://").nth(1).unwrap();
    let connect = format!("CONNECT {target} HTTP/1.1");
    assert!(proxy.requests().contains(&connect), "{:?}", proxy.requests());
    delivers(world, agent, &value);

    let before = proxy.requests().len();
    let whoami = world.alice.coder(["whoami", "--url", &url]).env(variable.to_lowercase(), proxy.url());
    let _ = whoami.env("SSL_CERT_FILE", world.ca()).run().success().says("as alice.");
    assert_eq!(proxy.requests().len(), before + 1, "{:?}", proxy.requests());
    // gitssh without an agent.
    let fetched = world
        .env
        .coder(["publickey", "--signing-key"])
        .env("CODER_AGENT_SOCKET", "/nonexistent/agent.sock")
        .env("CODER_AGENT_URL", &url);
    let fetched = fetched.env("CODER_AGENT_TOKEN", world.workspace.token()).env(&variable, proxy.url());
    let fetched = fetched.env("SSL_CERT_FILE", world.ca()).run().success().stdout;
    assert_eq!(fetched.trim(), format!("key::{}", key.trim()));
}

#[test]
fn a_name_that_only_the_proxy_knows_over_https() {
    through("network::proxy::https", &World::https(&[NAME, "127.0.0.1"]), "https");
}

#[test]
fn a_name_that_only_the_proxy_knows_over_http() {
    let world = World::http();
    world.env.write("ca.pem", rcgen::generate_simple_self_signed(["x.test".to_owned()]).unwrap().cert.pem());
    through("network::proxy::http", &world, "http");
}

#[test]
fn a_proxy_for_the_agent_alone_with_a_password() {
    if !requires("network::proxy::agent_alone", &PROXY_NEEDS) {
        return;
    }
    let world = World::http();
    let value = world.alice.secret("tool", &["--file", "~/seen"]);
    let proxy = Proxy::start(&world.env, "BasicAuth alice hunter-2\n");
    world.env.watch("password of the proxy", b"hunter%2D2");
    let with_password = format!("http://alice:hunter%2D2@127.0.0.1:{}", proxy.port);
    let url = world.url_as(NAME);
    let agent = || world.env.agent(&url, &world.workspace).env("NO_PROXY", "*").env("HTTP_PROXY", "http://127.0.0.1:1");

    let mut refused = agent().env("CODER_AGENT_PROXY", proxy.url()).start();
    let line = refused.line_with("trying again until it works", LONG);
    let shown =
        format!("the proxy {} (CODER_AGENT_PROXY) refuses our user name and password, or wants some", proxy.url());
    assert!(line.contains(&shown) && line.contains("http://USER:PASSWORD@HOST:PORT"), "{line}");
    assert_eq!(refused.terminate().code, Some(0));

    let script = ["sh", "-c", "env > ~/variables; cat ~/seen > ~/copied"];
    let mut taken = agent().env("CODER_AGENT_PROXY", &with_password).command(script).start();
    assert_eq!(taken.exit().code, Some(0), "{}", taken.stderr());
    assert_eq!(taken.read("copied"), value);
    // Programs of the workspace have their own settings, and not the agent's.
    let variables = taken.read("variables");
    assert!(
        !variables.contains("CODER_AGENT_PROXY") && variables.contains("HTTP_PROXY=http://127.0.0.1:1"),
        "{variables}"
    );

    // From the configuration file, which must not show the password to everybody.
    let file = world.env.new_home("configuration").join("config.toml");
    std::fs::write(&file, format!("proxy = '{with_password}'\n")).unwrap();
    let configured = || agent().args(["--config"]).args([&file]).command(script).into_run();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let _ = configured().run().exits(2).complains("proxy must not hold a password in a file that others may read");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let _ = configured().run().success();
}

#[test]
fn the_exceptions_are_kept_and_loopback_is_one() {
    let world = World::http();
    let value = world.alice.secret("tool", &["--file", "~/seen"]);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let agent = world.env.agent(&world.server, &world.workspace).env("HTTP_PROXY", &nobody).env("ALL_PROXY", &nobody);
    delivers(&world, agent.start(), &value);
    let agent = world.env.agent(&world.server, &world.workspace).env("CODER_AGENT_PROXY", "direct");
    delivers(&world, agent.start(), &value);
    // The machine by its name is no loopback for anybody.
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let url = world.url_as(&hostname);
    let list = |variable: &str, value: &str| {
        world.alice.coder(["secret", "list", "--url", &url]).env("http_proxy", &nobody).env(variable, value).run()
    };
    let _ = list("X", "").exits(1).complains(&format!("through the proxy {nobody} (http_proxy): Connection refused"));
    let excepted = list("no_proxy", &hostname);
    assert!(!excepted.stderr.contains("through the proxy"), "{}", excepted.stderr);
}

#[test]
fn a_proxy_that_fails_is_named() {
    if !requires("network::proxy::fails", &PROXY_NEEDS) {
        return;
    }
    let world = World::http();
    let filter = world.env.write("filter", "refused.test\n");
    let proxy = Proxy::start(&world.env, &format!("Filter \"{}\"\nFilterURLs Off\n", filter.display()));
    let shown = format!("the proxy {} (HTTP_PROXY)", proxy.url());
    let starts = |url: &str, proxy: &str| world.env.agent(&url, &world.workspace).env("HTTP_PROXY", proxy).start();
    for (url, said, advice) in [
        (
            "http://refused.test:7080",
            format!("{shown} refuses to connect to refused.test:7080: it answers 403"),
            "NO_PROXY",
        ),
        (
            "http://unknown.invalid:7080",
            format!("{shown} cannot reach unknown.invalid:7080: it answers 50"),
            "NO_PROXY",
        ),
    ] {
        let mut agent = starts(url, &proxy.url());
        let line = agent.line_with("trying again until it works", LONG);
        assert!(line.contains(&said) && line.contains(advice), "{line}");
        assert_eq!(agent.terminate().code, Some(0));
    }
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let mut agent = starts("http://refused.test:7080", &nobody);
    let _ = agent.line_with(&format!("cannot reach the proxy {nobody} (HTTP_PROXY): Connection refused"), SHORT);
    // A server that is none of a proxy's.
    let mut agent = starts("http://refused.test:7080", world.server.url());
    let line = agent.line_with("trying again until it works", LONG);
    assert!(line.contains("refuses to connect") || line.contains("does not answer as an HTTP proxy"), "{line}");
}

#[test]
fn what_is_no_proxy_address_is_refused_before_anything_is_sent() {
    let world = World::http();
    let run =
        |proxy: &str| world.env.agent(&"http://c.test", &world.workspace).env("HTTP_PROXY", proxy).into_run().run();
    let said = "the proxy in HTTP_PROXY is not usable: it is a SOCKS proxy; name an HTTP proxy";
    let socks = run("socks5://me:hunter2@127.0.0.1:1080").exits(2).complains(said);
    assert!(!socks.stderr.contains("hunter2"), "{}", socks.stderr);
    let _ = run("ftp://127.0.0.1").exits(2).complains("it should look like http://proxy.example.com:3128");
    let list = world.alice.coder(["secret", "list", "--url", "http://c.test"]).env("http_proxy", "socks5h://p");
    let _ = list.run().exits(2).complains("the proxy in http_proxy is not usable: it is a SOCKS proxy");
}
