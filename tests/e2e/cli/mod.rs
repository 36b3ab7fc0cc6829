//! `coder secret`, `login`, `logout` and `whoami` against the server.

mod completion;
mod create;
mod documentation;
mod import;
mod list;
mod login;
mod mistakes;
mod unreachable;
mod update;

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Env, SHORT, Server, User};

/// A server with one user.
struct World {
    env: Env,
    server: Server,
    alice: User,
}

impl World {
    fn new() -> Self {
        let env = Env::new();
        let server = env.server();
        let alice = env.user("alice");
        Self { env, server, alice }
    }

    /// One secret as the server lists it.
    #[track_caller]
    fn secret(&self, name: &str) -> Value {
        self.alice.rest().get(&format!("/users/me/secrets/{name}")).expect(200).json
    }

    #[track_caller]
    fn names(&self) -> Vec<String> {
        let listed = self.alice.rest().get("/users/me/secrets").expect(200).json;
        let names = listed.as_array().unwrap().iter().map(|secret| secret["name"].as_str().unwrap().to_owned());
        names.collect()
    }
}

/// A server that stores nothing and shows what it was sent: no route of the real one gives a value back.
struct Recorder {
    url: String,
    bodies: Receiver<Value>,
}

impl Recorder {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, bodies) = channel();
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let body = read_body(&mut client);
                let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
                let enabled = sent["enabled"].as_bool().unwrap_or(true);
                let secret = json!({
                    "id": "00000000-0000-4000-8000-000000000000", "name": "x", "description": "", "env_name": "X",
                    "file_path": "", "enabled": enabled, "created_at": "2026-01-01T00:00:00Z",
                    "updated_at": "2026-01-01T00:00:00Z",
                });
                let text = secret.to_string();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
                client.write_all(format!("{head}Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes()).unwrap();
                if sender.send(sent).is_err() {
                    return;
                }
            }
        });
        Self { url, bodies }
    }

    #[track_caller]
    fn body(&self) -> Value {
        self.bodies.recv_timeout(SHORT).expect("a request")
    }

    #[track_caller]
    fn saw_nothing(&self) {
        assert_eq!(self.bodies.try_iter().collect::<Vec<_>>(), Vec::<Value>::new());
    }
}

fn read_body(client: &mut impl std::io::Read) -> Vec<u8> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1) {
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    client.read_exact(&mut body).unwrap();
    body
}
