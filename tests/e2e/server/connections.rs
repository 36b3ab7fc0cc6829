//! Callers who open connections and say nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use tests::{DEV, Env, LONG, wait_until};

use crate::peers::client::Client;

/// The whole answer to a request.
pub fn ask(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    matches!((&mut &*stream).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn silent_connections_keep_nobody_out() {
    let env = Env::new();
    let server = env.server_with(["--max-connections", "64"]);
    env.user("alice");
    let workspace = env.workspace(DEV);
    let agent = Client::dial(&server, workspace.token());
    let silent: Vec<_> = (0..300).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    assert!(ask(server.address(), "/healthz").starts_with("HTTP/1.1 200"));
    // The share of one address among 64 places; an answer came while they were still there.
    wait_until("the others are closed", LONG, || silent.iter().filter(|stream| is_open(stream)).count() == 4);
    // Agents from the same address come and stay.
    let second = Client::dial(&server, workspace.token());
    assert!(agent.is_open() && second.is_open());
}

#[test]
fn half_a_head_is_silence_too() {
    let env = Env::new();
    let server = env.server_with(["--max-connections", "64"]);
    let mut half: Vec<_> = (0..30).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    for stream in &mut half {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").unwrap();
    }
    wait_until("the others are closed", LONG, || half.iter().filter(|stream| is_open(stream)).count() == 4);
    assert!(ask(server.address(), "/healthz").starts_with("HTTP/1.1 200"));
}

#[test]
fn who_was_heard_may_be_idle_while_there_is_room() {
    let env = Env::new();
    let server = env.server_with(["--max-connections", "64"]);
    let idle: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n\r\nOK") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                text.push(byte[0]);
            }
            stream
        })
        .collect();
    // By the time that these are closed, the idle ones would have been closed as well.
    let silent: Vec<_> = (0..6).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    wait_until("silent ones are closed", LONG, || silent.iter().filter(|stream| is_open(stream)).count() == 4);
    assert!(idle.iter().all(is_open));
}
