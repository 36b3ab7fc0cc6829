//! A server that is not there, refuses, breaks off, or is none.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use tests::{Agent, DEV, Fault, LONG, SHORT, wait_until};

use super::Proxied;

const DIAL: &str = "/workspaceagents/me/rpc";

/// The agent says `text`, is not ready, and is not gone.
#[track_caller]
fn complains(world: &Proxied, agent: &mut Agent, text: &str) {
    let line = agent.line_with(text, SHORT);
    assert!(line.contains("trying again until it works"), "{line}");
    assert_eq!(world.workspace.show_agent()["lifecycle_state"], "created");
    assert_eq!(agent.try_exit(), None);
}

/// What must be so when the fault is over.
#[track_caller]
fn recovers(world: &Proxied, agent: &mut Agent) {
    world.workspace.wait_lifecycle("ready");
    assert!(agent.read(".config/tool") == world.value);
    assert_eq!(agent.terminate().code, Some(0), "{}", agent.stderr());
}

#[test]
fn a_server_that_is_absent_at_boot() {
    let world = Proxied::new(DEV);
    world.proxy.set(Fault::Refuse);
    let mut agent = world.env.agent(&world.proxy, &world.workspace).start();
    let port = world.proxy.url().rsplit(':').next().unwrap();
    complains(&world, &mut agent, &format!("cannot reach 127.0.0.1 port {port}: Connection refused"));
    let _ = agent.line_with("check that the server runs and that CODER_AGENT_URL", SHORT);
    // Said once; further attempts are not news.
    let _ = agent.line_with("next attempt in", SHORT);
    assert_eq!(agent.stderr().matches("trying again until it works").count(), 1, "{}", agent.stderr());
    world.proxy.set(Fault::None);
    recovers(&world, &mut agent);
}

#[test]
fn a_refused_token_is_told_and_a_new_one_in_its_file_taken() {
    let world = Proxied::new(DEV);
    let file = world.env.home().join("agent-token");
    fs::write(&file, "00000000-0000-4000-8000-000000000000\n").unwrap();
    let agent = world.env.agent(&world.proxy, &world.workspace).without("CODER_AGENT_TOKEN");
    let mut agent = agent.args(["--agent-token-file"]).args([&file]).start();
    complains(&world, &mut agent, "the server refuses the agent token (The agent token is missing or not valid");
    let _ = agent.line_with("a token file is read again before each attempt", SHORT);
    fs::write(&file, world.workspace.token()).unwrap();
    recovers(&world, &mut agent);
}

#[test]
fn a_server_that_answers_500() {
    let world = Proxied::new(DEV);
    world.proxy.set_for(DIAL, Fault::Answer(500));
    let mut agent = world.env.agent(&world.proxy, &world.workspace).start();
    complains(&world, &mut agent, "the server answers 500 Internal Server Error (injected 500)");
    let _ = agent.line_with("the server's own log tells more", SHORT);
    world.proxy.set_for(DIAL, Fault::Answer(404));
    complains(&world, &mut agent, "the server answers 404 Not Found (injected 404)");
    world.proxy.set_for(DIAL, Fault::None);
    recovers(&world, &mut agent);
}

#[test]
fn garbage_a_reset_and_silence() {
    let world = Proxied::new(DEV);
    world.proxy.set_for(DIAL, Fault::Garbage);
    let mut agent = world.env.agent(&world.proxy, &world.workspace).start();
    complains(&world, &mut agent, "the server does not speak HTTP as it should");
    world.proxy.set_for(DIAL, Fault::Reset);
    complains(&world, &mut agent, "the connection broke during the handshake");
    // Silence during the handshake; when it ends, the same dial goes through.
    world.proxy.set_for(DIAL, Fault::None);
    world.proxy.set(Fault::Stall);
    let dials = world.proxy.requests().len();
    wait_until("a dial into silence", SHORT, || world.proxy.requests().len() > dials);
    assert_eq!(agent.try_exit(), None);
    world.proxy.set(Fault::None);
    recovers(&world, &mut agent);
}

/// What somebody gets who types the address of a web page, or of a proxy that asks to log in.
#[test]
fn a_server_that_is_no_control_plane() {
    let world = Proxied::new(DEV);
    let mut agent = None;
    for (head, said) in [
        (
            "200 OK",
            "a web page answers in place of the server: 200 OK; is CODER_AGENT_URL the address of a Coder server?",
        ),
        (
            "302 Found\r\nLocation: https://login.example/?next=1",
            "the server sends us to a login page: https://login.example/; an access proxy wants a login",
        ),
        (
            "307 Moved\r\nLocation: https://new.example/api/v2/workspaceagents/me/rpc",
            "the server redirects to https://new.example/api/v2/workspaceagents/me/rpc; set CODER_AGENT_URL to where",
        ),
        (
            "101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade",
            "the server does not speak HTTP as it should",
        ),
        (
            "502 Bad Gateway",
            "a web page answers in place of the server: 502 Bad Gateway; a proxy in front of the server cannot reach it",
        ),
    ] {
        world.proxy.point_to(page(head));
        let agent = agent.get_or_insert_with(|| world.env.agent(&world.proxy, &world.workspace).start());
        complains(&world, agent, said);
        assert!(!agent.stderr().contains("<html>") && !agent.stderr().contains('\u{1b}'), "{}", agent.stderr());
    }
    world.proxy.point_to(&world.server);
    recovers(&world, &mut agent.unwrap());
}

/// A web server with one page.
fn page(head: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!("HTTP/1.1 {head}\r\nContent-Type: text/html\r\nContent-Length: 14\r\n\r\n<html>\x1b[31mred");
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(answer.as_bytes());
        }
    });
    url
}

/// In the handshake, at its end, and at several places of the manifest.
#[test]
fn a_connection_that_ends_mid_call() {
    let world = Proxied::new(DEV);
    let cuts = [40, 400, 12_000];
    world.proxy.set_for(DIAL, Fault::CloseAfter(cuts[0]));
    let mut agent = world.env.agent(&world.proxy, &world.workspace).start();
    for cut in cuts {
        world.proxy.set_for(DIAL, Fault::CloseAfter(cut));
        let dials = world.proxy.times(DIAL).len();
        // Two, because the first may have begun before the fault was set.
        wait_until("two more dials", LONG, || world.proxy.times(DIAL).len() >= dials + 2);
        assert!(!agent.home().join(".config/tool").exists(), "a file of half a manifest after {cut} bytes");
    }
    let _ = agent.line_with("the connection broke during the handshake", SHORT);
    let _ = agent.line_with("cannot fetch the manifest: the connection ended before the answer", SHORT);
    world.proxy.set_for(DIAL, Fault::None);
    recovers(&world, &mut agent);
}

/// Bits that TCP's checksum did not catch, or a middlebox that injects a page.
#[test]
fn a_connection_that_turns_to_garbage_mid_call() {
    let world = Proxied::new(DEV);
    world.proxy.set_for(DIAL, Fault::GarbageAfter(2_000));
    let mut agent = world.env.agent(&world.proxy, &world.workspace).start();
    wait_until("three dials", LONG, || world.proxy.times(DIAL).len() >= 3);
    assert_eq!(agent.try_exit(), None);
    // The garbage may lie within the value, where nothing but TLS could tell it.
    world.proxy.set_for(DIAL, Fault::None);
    world.proxy.cut();
    world.workspace.wait_lifecycle("ready");
    wait_until("the value", LONG, || {
        fs::read_to_string(agent.home().join(".config/tool")).ok().as_ref() == Some(&world.value)
    });
    assert_eq!(agent.terminate().code, Some(0));
}

/// A server that fails fast must not be dialled faster for it, nor one that takes the connection and drops it.
#[test]
fn pauses_between_dials_grow() {
    for fault in [Fault::Answer(503), Fault::CloseAfter(2_000)] {
        let world = Proxied::new(DEV);
        world.proxy.set_for(DIAL, fault.clone());
        let mut agent = world.env.agent(&world.proxy, &world.workspace).start();
        wait_until("six dials", LONG, || world.proxy.times(DIAL).len() >= 6);
        let times = world.proxy.times(DIAL);
        let pauses: Vec<_> = times.windows(2).take(5).map(|pair| pair[1] - pair[0]).collect();
        // From 100 ms by 1.6, each at least half of that: jitter. The sum, because single times blur on a busy machine.
        let shortest = (0..5).map(|n| 0.05 * 1.6_f64.powi(n)).sum::<f64>();
        let total: Duration = pauses.iter().sum();
        assert!(total.as_secs_f64() > 0.95 * shortest, "{fault:?}: {pauses:?}");
        world.proxy.set_for(DIAL, Fault::None);
        recovers(&world, &mut agent);
    }
}
