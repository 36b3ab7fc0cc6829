//! What the log says, and how much of it a stranger can make.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use reqwest::Method;
use serde_json::Value;
use tests::{Env, Rest, SHORT, Server, World};

/// Sends `count` requests over one connection, and waits for the last answer.
fn pipeline(server: &Server, request: &str, count: usize) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let requests = request.repeat(count - 1) + &request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let writer = std::thread::spawn(move || stream.write_all(requests.as_bytes()));
    let mut answers = String::new();
    reader.read_to_string(&mut answers).unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(answers.matches("HTTP/1.1 ").count(), count);
}

#[test]
fn requests_without_a_token_are_counted_with_their_address() {
    let env = Env::quiet();
    let mut server = env.server();
    env.user("alice");
    let wrong = "GET /api/v2/users/me HTTP/1.1\r\nHost: x\r\nCoder-Session-Token: wrong\r\n\r\n";
    pipeline(&server, wrong, 500);
    pipeline(&server, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 500);
    pipeline(&server, "GET /wp-login/Admin1 HTTP/1.1\r\nHost: x\r\n\r\n", 500);
    // The counts of the last minute are written at a stop, too.
    assert_eq!(server.terminate().code, Some(0));
    let log = server.stderr();
    assert!(log.lines().count() < 30, "{log}");
    assert!(log.contains("status=401") && log.contains("address=127.0.0.1"), "{log}");
    let count = |line: &str| -> u64 {
        line.split("count=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or_default()
    };
    let logged = log.lines().filter(|line| line.contains("request method=")).count() as u64;
    assert_eq!(log.lines().map(count).sum::<u64>() + logged, 1500, "{log}");
}

#[test]
fn a_line_names_the_event_the_caller_and_the_address() {
    let World { server, alice, env: _env, .. } = World::builder().within(Env::quiet()).with(tests::DEV);
    let _ = alice.rest().get("/users/me").expect(200);
    let _ = alice.rest().send(Method::DELETE, "/templates/Secret-9", None).expect(404);
    let log = server.stderr();
    let line = |text: &str| {
        let found = log.lines().find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("no {text:?} in {log}")).to_owned()
    };
    let request = line("route=\"/api/v2/users/{user}\"");
    for part in ["INFO request method=GET", "status=200", "user=\"alice\"", "address=127.0.0.1"] {
        assert!(request.contains(part), "no {part:?} in {request}");
    }
    assert!(line("method=DELETE").contains("route=\"/api/v2/templates/{}\""));
    assert!(!log.contains("server_stub") && !log.contains("Secret-9"), "{log}");
}

#[test]
fn json_lines_are_json() {
    let env = Env::quiet();
    let mut server = env.server_with(["--log-format", "json"]);
    env.user("alice");
    let workspace = env.workspace(tests::DEV);
    let agent = crate::peers::client::Client::dial(&server, workspace.token());
    agent.manifest();
    let _ = Rest::new(server.url(), "").get("/users/me").expect(401);
    let _ = server.line_with("delivering the manifest", SHORT);
    let lines: Vec<Value> = server.stderr().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |message: &str| {
        let found = lines.iter().find(|line| line["message"].as_str().is_some_and(|text| text.starts_with(message)));
        found.unwrap_or_else(|| panic!("no {message:?} in {lines:?}"))
    };
    assert_eq!(of("request")["address"], "127.0.0.1");
    assert_eq!(of("request")["level"], "INFO");
    let connected = of("agent connected");
    assert_eq!((&connected["agent"], &connected["address"]), (&"alice/dev/main".into(), &"127.0.0.1".into()));
    assert!(connected["timestamp"].is_string());
}
