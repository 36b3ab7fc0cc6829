//! `coder agent` against an independent control plane.

use std::fs;

use tests::{Agent, Env, LONG, SHORT, wait_until};
use tokio_tungstenite::tungstenite::Message;

use super::control_plane::{ControlPlane, LIFECYCLE, LOGS, MANIFEST, SCRIPT, STARTUP};
use super::wire::{self, CLOSE_SEND, Proto, all, fields, one};
use super::{End, SOURCE, TOKEN, manifest, on_start, secret, variable};

const STARTING: u64 = 2;
const READY: u64 = 5;
const SHUTTING_DOWN: u64 = 6;
const OFF: u64 = 9;

/// Lines of logs that the control plane was sent, with their source.
pub fn lines(server: &ControlPlane) -> Vec<(Vec<u8>, String)> {
    let lines_of = |body: &[u8]| {
        let request = fields(body);
        let source = one(&request, 1).bytes().to_vec();
        let line = |log: &wire::Field| (source.clone(), one(&fields(log.bytes()), 2).text());
        all(&request, 2).iter().map(line).collect::<Vec<_>>()
    };
    server.heard(LOGS).iter().flat_map(|heard| lines_of(&heard.body)).collect()
}

#[track_caller]
pub fn wait_line(server: &ControlPlane, text: &str) {
    wait_until(&format!("a line with {text:?}"), LONG, || lines(server).iter().any(|(_, line)| line.contains(text)));
}

#[test]
fn a_whole_life() {
    let env = Env::new();
    let (key, config) = (env.canary("key"), env.canary("config"));
    let manifest = manifest()
        .message(3, &variable("API_KEY", "placeholder"))
        .message(10, &on_start("printf %s \"$API_KEY\" > ~/saw; cat ~/.config/tool > ~/read; echo the key: $API_KEY"))
        .message(19, &secret("API_KEY", "", &key))
        .message(19, &secret("", "~/.config/tool", &config));
    let server = ControlPlane::new(&manifest);
    let mut agent = env.agent_with_token(&server, TOKEN).start();
    server.wait_state(READY);
    assert_eq!((agent.read("saw"), agent.read("read")), (key, config));

    let (uri, headers) = server.handshakes().remove(0);
    assert_eq!(uri, "/api/v2/workspaceagents/me/rpc?role=agent&version=2.4&live=1");
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(header("coder-session-token"), Some(TOKEN));
    for absent in ["sec-websocket-protocol", "sec-websocket-extensions", "origin", "cookie"] {
        assert_eq!(header(absent), None, "{absent}");
    }
    assert_eq!(server.heard(MANIFEST)[0].bytes, include_bytes!("../../../protocol/testdata/req.bin"));
    let startup = fields(one(&fields(&server.heard(STARTUP)[0].body), 1).bytes());
    assert!(one(&startup, 1).text().starts_with('v'), "semver with a v");
    assert_eq!(one(&startup, 2).text(), agent.home().to_str().unwrap());

    wait_line(&server, "the key: ");
    let (source, line) = lines(&server).into_iter().find(|(_, line)| line.contains("the key: ")).unwrap();
    assert_eq!((source.as_slice(), line.ends_with('*')), (SOURCE.as_slice(), true), "{line}");
    wait_until("the result of the script", SHORT, || !server.heard(SCRIPT).is_empty());
    let timing = fields(one(&fields(&server.heard(SCRIPT)[0].body), 1).bytes());
    assert_eq!(one(&timing, 1).bytes(), [0x50; 16]);
    let second = |number| one(&fields(one(&timing, number).bytes()), 1).number();
    assert!(second(2) <= second(3));
    // Exit code, stage and status are all 0, and a zero is not written.
    assert!([all(&timing, 4), all(&timing, 5), all(&timing, 6)].concat().is_empty());

    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(server.states(), [STARTING, READY, SHUTTING_DOWN, OFF]);
    wait_until("the close frame", SHORT, || server.endings() == [Some(End::Close(1000))]);
}

#[test]
fn names_that_are_not_for_secrets() {
    let env = Env::new();
    let manifest = manifest()
        .message(3, &variable("", "v"))
        .message(3, &variable("A=B", "v"))
        .message(3, &variable("TEMPLATE_NUL", "a\0b"))
        .message(19, &secret("LD_PRELOAD", "~/preload", "evil.so"))
        .message(19, &secret("path", "", "/evil"))
        .message(19, &secret("CODER_AGENT_TOKEN", "", "evil-token"))
        .message(19, &secret("1X", "", "v"))
        .message(19, &secret("C=D", "", "v"))
        .message(19, &secret("SECRET_NUL", "~/nul", "a\0b"))
        .message(19, &secret("GOOD", "", "good-value"))
        .message(10, &on_start("env -0 > ~/env.tmp; mv ~/env.tmp ~/env"));
    let server = ControlPlane::new(&manifest);
    let mut agent = env.agent_with_token(&server, TOKEN).start();
    server.wait_state(READY);
    let variables = agent.read("env");
    let variables: Vec<_> = variables.split('\0').collect();
    assert!(variables.contains(&"GOOD=good-value"), "{variables:?}");
    for name in ["LD_PRELOAD=", "path=", "CODER_AGENT_TOKEN=", "1X=", "C=", "A=", "SECRET_NUL=", "TEMPLATE_NUL="] {
        assert!(!variables.iter().any(|variable| variable.starts_with(name)), "{name}");
    }
    assert_eq!((agent.read("preload"), agent.read("nul")), ("evil.so".to_owned(), "a\0b".to_owned()));
    for text in [
        r#"variable "LD_PRELOAD" is not set: environment variables starting with LD_ are reserved"#,
        r#"variable "path" is not set: path is a reserved environment variable name"#,
        r#"variable "CODER_AGENT_TOKEN" is not set: environment variable names starting with CODER_ are reserved"#,
        r#"variable "1X" is not set: must start with a letter or underscore"#,
        r#"variable "C=D" is not set: must start with a letter or underscore"#,
        r#"variable "SECRET_NUL" is not set: its value holds a null byte"#,
        r#"variable "" is not set: a name must not be empty"#,
        r#"variable "A=B" is not set: a name must not be empty or hold ="#,
        r#"variable "TEMPLATE_NUL" is not set: a name must not be empty or hold = or a null byte, and a value no null"#,
    ] {
        let _ = agent.line_with(text, SHORT);
        wait_line(&server, text);
    }
    assert_eq!(agent.terminate().code, Some(0));
}

#[test]
fn paths_that_lead_elsewhere_or_nowhere() {
    let env = Env::new();
    let long = format!("/{}", "x".repeat(4096));
    let manifest = manifest()
        .message(19, &secret("", "~/a/../cleaned", "one"))
        .message(19, &secret("", "~/../beside", "two"))
        .message(19, &secret("", "/nul\0byte", "v"))
        .message(19, &secret("", "relative", "v"))
        .message(19, &secret("", "~root/x", "v"))
        .message(19, &secret("", "/", "v"))
        .message(19, &secret("", "/proc/version/x", "v"))
        .message(19, &secret("", &long, "v"))
        .message(19, &secret("", "~/line\nbreak\u{1b}[2J", "three"))
        .message(19, &secret("", "~/last", "four"));
    let server = ControlPlane::new(&manifest);
    let mut agent = env.agent_with_token(&server, TOKEN).start();
    server.wait_state(READY);
    assert_eq!((agent.read("cleaned"), agent.read("../beside")), ("one".to_owned(), "two".to_owned()));
    assert_eq!((agent.read("line\nbreak\u{1b}[2J"), agent.read("last")), ("three".to_owned(), "four".to_owned()));
    for text in [
        r#"cannot deliver the secret to "/nul\0byte": it is refused"#,
        r#"cannot deliver the secret to "relative": it is refused: file path must start with ~/ or /"#,
        r#"cannot deliver the secret to "~root/x": it is refused: file path must start with ~/ or /"#,
        r#"cannot deliver the secret to "/": it is refused: it is a directory"#,
        r#"cannot deliver the secret to "/proc/version/x""#,
        "4096 bytes",
    ] {
        let _ = agent.line_with(text, SHORT);
        wait_line(&server, text);
    }
    assert!(!agent.stderr().contains('\u{1b}'), "an escape sequence reaches the terminal");
    assert_eq!(agent.terminate().code, Some(0));
}

#[test]
fn what_a_newer_server_adds_and_an_odd_one_leaves_out() {
    let env = Env::new();
    let newer = |message: Proto| message.bytes(500, "from the future").number(501, 7);
    let manifest = newer(manifest())
        .message(3, &Proto::default())
        .message(10, &newer(on_start("printf %s \"$GOOD\" > ~/saw")))
        .message(11, &Proto::default())
        .message(12, &Proto::default())
        .message(17, &Proto::default())
        .message(19, &Proto::default())
        .message(19, &newer(secret("GOOD", "", "good-value")));
    let server = ControlPlane::new(&manifest);
    // The sub-messages of these answers are absent.
    server.answer(STARTUP, wire::answer(&[]));
    server.answer(LIFECYCLE, wire::answer(&[]));
    server.answer(LOGS, wire::answer(&newer(Proto::default()).0));
    server.answer(SCRIPT, wire::refusal(12, "Unimplemented"));
    let mut agent = env.agent_with_token(&server, TOKEN).start();
    server.wait_state(READY);
    assert_eq!(agent.read("saw"), "good-value");
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(server.states(), [STARTING, READY, SHUTTING_DOWN, OFF]);
}

#[test]
fn ids_that_are_none() {
    let env = Env::new();
    let with_script = |id: &[u8]| manifest().message(10, &Proto::default().bytes(1, SOURCE).bytes(10, id));
    for (manifest, text) in [
        (Proto::default(), "manifest: agent_id must be 16 bytes, not 0"),
        (Proto::default().bytes(1, "short").bytes(14, [2; 16]), "manifest: agent_id must be 16 bytes, not 5"),
        (Proto::default().bytes(1, [0; 16]).bytes(14, [2; 16]), "manifest: agent_id is all zeros"),
        (Proto::default().bytes(1, [1; 16]), "manifest: workspace_id must be 16 bytes, not 0"),
        (with_script(&[7; 17]), "manifest: scripts[0].id must be 16 bytes, not 17"),
    ] {
        let server = ControlPlane::new(&manifest.message(19, &secret("", "~/file", "v")));
        let mut agent = env.agent_with_token(&server, TOKEN).start();
        let _ = agent.line_with(&format!("the manifest cannot be used: {text}"), SHORT);
        assert!(!agent.home().join("file").exists());
        assert!(server.states().is_empty());
        assert_eq!(agent.terminate().code, Some(0));
    }
}

/// Every failed fetch is a session, and the next dial is another attempt.
#[test]
fn answers_that_are_no_manifest() {
    let env = Env::new();
    let good = manifest().message(19, &secret("", "~/file", "v"));
    let server = ControlPlane::new(&good);
    let failures: [(Vec<u8>, &str); 6] = [
        (wire::refusal(0, "the database is \u{1b}[31mred"), "cannot fetch the manifest: the server refused the call"),
        (wire::refusal(12, "Unimplemented"), "Unimplemented"),
        (wire::answer(b"\xff\xff\xff no protobuf"), "cannot fetch the manifest: cannot decode the answer"),
        (b"\x2b\x01\x01\x00 no packet".to_vec(), "cannot fetch the manifest: the server broke the protocol"),
        (wire::packet(CLOSE_SEND, 1, &[]), "cannot fetch the manifest: the server ended the call without an answer"),
        (wire::answer(&good.clone().bytes(13, b"\xff").0), "invalid string value"),
    ];
    server.answer(MANIFEST, failures[0].0.clone());
    let mut agent = env.agent_with_token(&server, TOKEN).start();
    for (answer, text) in failures {
        server.answer(MANIFEST, answer);
        let _ = agent.line_with(text, LONG);
    }
    server.answer(MANIFEST, wire::answer(&good.0));
    server.wait_state(READY);
    assert_eq!(agent.read("file"), "v");
    assert!(!agent.stderr().contains('\u{1b}'), "an escape sequence reaches the terminal");
    assert_eq!(agent.terminate().code, Some(0));
}

/// What goes on beside the byte stream, and bytes that are no yamux.
#[test]
fn messages_that_do_not_belong_here() {
    let env = Env::new();
    let server = ControlPlane::new(&manifest());
    let mut agent = env.agent_with_token(&server, TOKEN).start();
    server.wait_state(READY);
    server.send(&Message::text("hello"));
    wait_until("the close frame", SHORT, || server.endings()[0] == Some(End::Close(1003)));
    let reconnected = |agent: &mut Agent, count: usize| {
        wait_until("another session", LONG, || server.heard(MANIFEST).len() == count);
        assert_eq!(agent.try_exit(), None);
    };
    reconnected(&mut agent, 2);
    server.send(&Message::binary(b"\x07 these are no yamux frames at all".to_vec()));
    wait_until("the end of the session", SHORT, || server.endings()[1].is_some());
    reconnected(&mut agent, 3);
    // A report whose acknowledgement was on its way when the session ended comes again.
    let mut states = server.states();
    states.dedup();
    assert_eq!(states, [STARTING, READY]);
    assert_eq!(agent.terminate().code, Some(0));
    let log = fs::read_to_string(agent.log_dir().join("coder-secrets-agent.log")).unwrap();
    assert!(log.contains("the connection has ended"), "{log}");
}

/// The largest packet there is, and one byte more.
#[test]
fn a_manifest_of_four_mebibytes() {
    let env = Env::new();
    let sized = |size: usize| {
        let empty = |value: &str| manifest().message(19, &secret("", "~/large", value));
        // The lengths before a value of that size are longer than before none.
        let value = "x".repeat(size - empty("").0.len() - 6);
        let manifest = empty(&value);
        assert_eq!(manifest.0.len(), size);
        (manifest, value)
    };
    let limit = 4 * 1024 * 1024;
    let (whole, value) = sized(limit);
    let server = ControlPlane::new(&sized(limit + 1).0);
    let mut agent = env.agent_with_token(&server, TOKEN).start();
    let _ = agent.line_with("cannot fetch the manifest: message over 4194304 bytes", LONG);
    server.answer(MANIFEST, wire::answer(&whole.0));
    server.wait_state(READY);
    assert!(agent.read("large") == value);
    assert_eq!(agent.terminate().code, Some(0));
}
