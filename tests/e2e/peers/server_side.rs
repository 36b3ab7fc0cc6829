//! `coder-server` against an independent agent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use futures_util::FutureExt as _;
use tests::World;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;

use super::End;
use super::client::{Client, GO};
use super::control_plane::{LIFECYCLE, MANIFEST, STARTUP};
use super::wire::{self, CLOSE_SEND, INVOKE, MESSAGE, Packets, Proto, Reply, all, fields, one};

const DEFINITION: &str = r#"
owner: alice
name: dev
agent:
  name: main
  dir: ~/project
  env: { API_URL: "https://$HOSTNAME/api" }
  scripts:
    - { display_name: Install tools, script: "make tools", run_on_start: true, start_blocks_login: true, timeout: 300 }
  metadata:
    - { key: disk, display_name: Disk, script: "df -h /", interval: 60, timeout: 5 }
"#;

fn dial(world: &World) -> Client {
    Client::dial(&world.server, world.workspace.token())
}

#[test]
fn the_manifest_field_by_field() {
    let world = World::with(DEFINITION);
    // Sorted by name, which is not the order they are made in.
    let second = world.alice.secret("b-env", &["--env", "B_TOKEN"]);
    let first = world.alice.secret("a-file", &["--file", "~/.config/tool"]);
    world.alice.secret("c-disabled", &["--env", "C_TOKEN", "--enabled=false"]);
    world.alice.secret("d-nowhere", &[]);
    let client = dial(&world);
    let (reply, bytes) = client.call_raw(include_bytes!("../../../protocol/testdata/req.bin"));
    let body = reply.message();
    assert_eq!(bytes, wire::answer(&body), "one Message, one CloseSend, numbered from 1");

    let manifest = fields(&body);
    for id in [1, 14] {
        let id = one(&manifest, id);
        assert!(id.bytes().len() == 16 && id.bytes() != [0; 16]);
    }
    let variables: Vec<_> = all(&manifest, 3).iter().map(|entry| fields(entry.bytes())).collect();
    assert_eq!(variables, [fields(&super::variable("API_URL", "https://$HOSTNAME/api").0)]);
    assert_eq!(one(&manifest, 9).bytes(), [0x0a, 0], "a derp map without home_params ends a Go agent");
    for (number, text) in [(4, "~/project"), (13, "alice"), (15, "main"), (16, "dev")] {
        assert_eq!(one(&manifest, number).text(), text);
    }
    assert!(all(&manifest, 18).is_empty(), "an empty parent_id is an error for a Go agent");

    let script = fields(one(&manifest, 10).bytes());
    assert_eq!((one(&script, 1).bytes().len(), one(&script, 10).bytes().len()), (16, 16));
    assert_eq!(one(&script, 3).text(), "make tools");
    assert_eq!((one(&script, 5).number(), one(&script, 7).number()), (1, 1));
    assert_eq!(fields(one(&script, 8).bytes()), fields(&Proto::default().number(1, 300).0));
    let metadata = fields(one(&manifest, 12).bytes());
    assert_eq!((one(&metadata, 1).text(), one(&metadata, 2).text()), ("Disk".to_owned(), "disk".to_owned()));
    // Seconds, counted in nanoseconds.
    assert_eq!(one(&metadata, 4).bytes(), Proto::default().number(2, 60).0);
    assert_eq!(one(&metadata, 5).bytes(), Proto::default().number(2, 5).0);

    let text = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(client.secrets(), [text("", "~/.config/tool", &first), text("B_TOKEN", "", &second)]);
}

#[test]
fn a_token_is_taken_wherever_agents_put_it() {
    let world = World::with(DEFINITION);
    let token = world.workspace.token();
    let (cookie, bearer) = (format!("other=1; coder_session_token={token}"), format!("bearer {token}"));
    for headers in [[("Coder-Session-Token", token)], [("Cookie", &cookie)], [("Authorization", &bearer)]] {
        let client = Client::try_dial(&world.server, GO, &headers).unwrap_or_else(|refused| panic!("{refused:?}"));
        assert!(!client.manifest().is_empty());
    }
    for token in ["", "no-uuid", "00000000-0000-4000-8000-000000000000", &world.alice.token] {
        let refused = Client::try_dial(&world.server, GO, &[("Coder-Session-Token", token)]).err().expect("a refusal");
        assert_eq!(refused.status, 401, "{token}");
        assert_eq!(refused.headers["content-type"], "application/json; charset=utf-8");
        assert_eq!(refused.body["message"], "The agent token is missing or not valid.");
    }
}

#[test]
fn versions() {
    let world = World::with(DEFINITION);
    let token = [("Coder-Session-Token", world.workspace.token())];
    for good in ["?version=2.0", "?version=2.999", "?role=agent", "", "?version=2.4&role=logstream&other=1"] {
        assert!(Client::try_dial(&world.server, good, &token).is_ok(), "{good}");
    }
    for (bad, detail) in [
        ("3.0", "server is at version 2.10, behind requested major version 3.0"),
        ("1.0", "version 1.0 is no longer supported"),
        ("two", "invalid version string: two"),
        ("2.0.1", "invalid version string: 2.0.1"),
    ] {
        let refused = Client::try_dial(&world.server, &format!("?version={bad}"), &token).err().expect("a refusal");
        assert_eq!((refused.status, &refused.body["message"]), (400, &"Unknown or unsupported API version".into()));
        assert_eq!(refused.body["validations"], serde_json::json!([{ "field": "version", "detail": detail }]));
    }
}

/// Raw, because a WebSocket library refuses what this must not get.
#[test]
fn neither_subprotocol_nor_extension_is_taken_up() {
    let world = World::with(DEFINITION);
    let mut socket = TcpStream::connect(world.server.address()).unwrap();
    let head = format!(
        "GET /api/v2/workspaceagents/me/rpc HTTP/1.1\r\nHost: {}\r\nCoder-Session-Token: {}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        world.server.address(),
        world.workspace.token()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    assert!(!answer.contains("sec-websocket-protocol") && !answer.contains("sec-websocket-extensions"), "{answer}");
}

#[test]
fn a_dial_that_is_no_websocket_is_told_so() {
    let world = World::with(DEFINITION);
    let rest = tests::Rest::new(world.server.url(), world.workspace.token());
    let reply = rest.get("/workspaceagents/me/rpc");
    assert!((400..500).contains(&reply.status), "{}", reply.status);
    assert_eq!(reply.json["message"], "Failed to accept websocket.");
}

#[test]
fn reports_are_echoed_and_unknown_calls_have_code_12() {
    let world = World::with(DEFINITION);
    let client = dial(&world);
    let startup = Proto::default().bytes(1, "v2.35.0").bytes(2, "/home/alice/project").number(3, 2);
    let echo = client.call(STARTUP, &Proto::default().message(1, &startup).0).message();
    assert_eq!(echo[..2], startup.0[..2]);
    assert_eq!(one(&fields(&echo), 1).text(), "v2.35.0");
    let lifecycle = Proto::default().number(1, 2).message(2, &Proto::default().number(1, 1_790_000_000));
    let echo = client.call(LIFECYCLE, &Proto::default().message(1, &lifecycle).0).message();
    assert_eq!(echo, lifecycle.0);
    let shown = world.workspace.show_agent();
    assert_eq!((&shown["lifecycle_state"], &shown["version"]), (&"starting".into(), &"v2.35.0".into()));

    for path in ["/coder.agent.v2.Agent/Nope", "/coder.agent.v2.Nope/GetManifest", "nonsense", ""] {
        let Reply::Error(code, _) = client.call(path, &[]) else { panic!("{path} is answered") };
        assert_eq!(code, 12, "{path}");
    }
    for (path, body) in [(STARTUP, &b""[..]), (LIFECYCLE, b""), (LIFECYCLE, b"\xff\xff"), (MANIFEST, b"\x0f")] {
        let Reply::Error(code, text) = client.call(path, body) else { panic!("{path} is answered") };
        assert!(code == 0 && !text.is_empty(), "{path}: {code} {text}");
    }
    assert!(client.is_open());
}

#[test]
fn tailnet_streams_stay_open() {
    let world = World::with(DEFINITION);
    let client = dial(&world);
    let (mut coordinate, mut maps) = (client.open(), client.open());
    let (mut answers, mut map_answers) = (Packets::default(), Packets::default());
    let node = Proto::default().message(1, &Proto::default().message(1, &Proto::default().number(1, 7)));
    client
        .block_on(async {
            let path = b"/coder.tailnet.v2.Tailnet/Coordinate";
            coordinate.write_all(&[wire::packet(INVOKE, 1, path), wire::packet(MESSAGE, 2, &node.0)].concat()).await?;
            maps.write_all(&wire::request("/coder.tailnet.v2.Tailnet/StreamDERPMaps", &[])).await?;
            let first = map_answers.next(&mut maps).await?;
            assert_eq!(first, Some((MESSAGE, vec![0x0a, 0])));
            Ok::<_, std::io::Error>(())
        })
        .unwrap();
    for _ in 0..50 {
        client.manifest();
    }
    client.block_on(async {
        assert!(answers.next(&mut coordinate).now_or_never().is_none(), "Coordinate has ended");
        assert!(map_answers.next(&mut maps).now_or_never().is_none(), "StreamDERPMaps has ended");
        // Disconnect: the agent says goodbye.
        let goodbye = Proto::default().message(2, &Proto::default());
        coordinate.write_all(&wire::packet(MESSAGE, 3, &goodbye.0)).await.unwrap();
        assert_eq!(answers.next(&mut coordinate).await.unwrap(), Some((CLOSE_SEND, Vec::new())));
    });
    assert!(client.is_open());
}

#[test]
fn text_is_closed_with_1003_and_nonsense_ends_only_its_session() {
    let world = World::with(DEFINITION);
    let (text, nonsense, bystander) = (dial(&world), dial(&world), dial(&world));
    text.send(Message::text("hello"));
    assert_eq!(text.ending(), End::Close(1003));
    nonsense.send(Message::binary(b"\x07 these are no yamux frames at all".to_vec()));
    let _ = nonsense.ending();
    assert!(bystander.is_open() && !bystander.manifest().is_empty());
}
