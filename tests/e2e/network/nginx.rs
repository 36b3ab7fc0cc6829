//! A reverse proxy in front of the server, set up as people do and as they should not.

use tests::{LONG, requires};

use super::world::{NGINX_NEEDS, Nginx, World, free_port};

#[test]
fn a_reverse_proxy_without_websockets_is_told_from_an_old_server() {
    if !requires("network::nginx::upgrade", &NGINX_NEEDS) {
        return;
    }
    let world = World::http();
    for version in ["", "proxy_http_version 1.1;"] {
        let nginx = Nginx::start(&world.env, &format!("location / {{ proxy_pass {}; {version} }}", world.server.url()));
        let mut agent = world.env.agent(&nginx.url(), &world.workspace).start();
        let line = agent.line_with("trying again until it works", LONG);
        assert!(line.contains("a proxy in between does not pass WebSockets on"), "{line}");
        assert!(line.contains("have it pass the headers Upgrade and Connection on"), "{line}");
        assert!(!line.contains("too old"), "{line}");
        assert_eq!(agent.terminate().code, Some(0));
    }
}

#[test]
fn pages_of_what_is_in_between_are_explained() {
    if !requires("network::nginx::pages", &NGINX_NEEDS) {
        return;
    }
    let world = World::http();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let html = |status: &str, title: &str| {
        format!("location / {{ default_type text/html; return {status} '<html><title>{title}</title></html>'; }}")
    };
    for (directives, said, advice) in [
        (
            format!("location / {{ proxy_pass {nobody}; }}"),
            "a web page answers in place of the server: 502 Bad Gateway (502 Bad Gateway)",
            "a proxy in front of the server cannot reach it; check that the server runs",
        ),
        (
            html("504", "Gateway Time-out"),
            "a web page answers in place of the server: 504 Gateway Timeout (Gateway Time-out)",
            "a proxy in front of the server cannot reach it; check that the server runs",
        ),
        (
            html("200", "Welcome to Hotel Wi-Fi"),
            "a web page answers in place of the server: 200 OK (Welcome to Hotel Wi-Fi)",
            "the portal of a guest network",
        ),
        (
            html("403", "Forbidden"),
            "a web page answers in place of the server: 403 Forbidden (Forbidden)",
            "an access proxy may stand in front of the server; give the agent the headers",
        ),
    ] {
        let nginx = Nginx::start(&world.env, &directives);
        let mut agent = world.env.agent(&nginx.url(), &world.workspace).start();
        let line = agent.line_with("trying again until it works", LONG);
        assert!(line.contains(said) && line.contains(advice), "{line}");
        assert_eq!(agent.terminate().code, Some(0));
    }
}
