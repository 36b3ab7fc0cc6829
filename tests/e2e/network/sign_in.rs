//! The session token of a sign-in goes to that server and to no other.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::world::World;

/// A server that refuses everybody and keeps what it was asked.
fn eavesdropper() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = heard.clone();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut request = [0; 8192];
            let length = client.read(&mut request).unwrap_or_default();
            hearing.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
            let body = r#"{"message":"Cookie \"coder_session_token\" or query parameter must be provided."}"#;
            let _ = write!(
                client,
                "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    (url, heard)
}

#[test]
fn another_address_needs_its_own_token() {
    let world = World::http();
    let coder = |args: &[&str]| world.env.coder(args);
    let _ = coder(&["login", world.server.url()]).stdin(&world.alice.token).run().success();
    let (other, heard) = eavesdropper();
    for run in [
        coder(&["secret", "list"]).env("CODER_URL", &other),
        coder(&["secret", "list", "--url", &other]),
        coder(&["whoami", "--url", &format!("{other}/below")]),
        coder(&["secret", "delete", "x", "--yes", "--url", &other]),
    ] {
        let refused = run.run().exits(1);
        let said = format!(
            "You are signed in to {}, and the session token of that server is sent to no other",
            world.server.url()
        );
        let _ = refused.complains(&said).complains(&format!("coder login {other}"));
    }
    let heard = heard.lock().unwrap().join("\n");
    assert!(heard.contains("GET /api/v2/users/me") && !heard.contains(&world.alice.token), "{heard}");
    assert!(!heard.to_lowercase().contains("coder-session-token"), "{heard}");

    // Its own token goes there; the path of an address does not make another server.
    let own = coder(&["whoami", "--url", world.server.url(), "--token", &world.alice.token]);
    let _ = own.run().success().says("as alice.");
    let slash = format!("{}/", world.server.url());
    let _ = coder(&["whoami", "--url", &slash]).run().success().says("as alice.");
    // Another port, name or scheme does.
    for elsewhere in [world.url_as("localhost"), world.server.url().replace("http:", "https:")] {
        let run = coder(&["whoami", "--url", &elsewhere]).run().exits(1);
        assert!(!run.stdout.contains("alice"), "{}", run.stdout);
    }
}

#[test]
fn what_coders_own_command_line_left_counts_as_a_sign_in() {
    let world = World::http();
    let dir = world.env.home().join(".config/coderv2");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("url"), world.server.url()).unwrap();
    fs::write(dir.join("session"), &world.alice.token).unwrap();
    let _ = world.env.coder(["whoami"]).run().success().says("as alice.");
    let (other, heard) = eavesdropper();
    let _ = world.env.coder(["whoami", "--url", &other]).run().exits(1);
    assert!(!heard.lock().unwrap().join("").contains(&world.alice.token));
    // A token of which nobody knows the server goes nowhere.
    fs::remove_file(dir.join("url")).unwrap();
    let _ = world.env.coder(["whoami", "--url", &other]).run().exits(1);
    assert!(!heard.lock().unwrap().join("").contains(&world.alice.token));
}
