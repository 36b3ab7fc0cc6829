//! The harness itself: a hunt that cannot find and a proxy that breaks nothing would let everything pass.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tests::{Env, Fault, Proxy, SHORT, wait_until};

#[test]
fn the_hunt_finds_a_value_in_a_log_a_file_name_and_an_answer() {
    let env = Env::new();
    let value = env.canary("planted");
    let file = env.write("note", &value);
    let _ = env.program("/bin/sh").args(["-c", "cat note >&2"]).run().success();
    assert_eq!(env.take_leaks().len(), 2);
    std::fs::remove_file(&file).unwrap();

    let _ = env.program("/bin/sh").args(["-c", "cat"]).stdin(&value).run().success();
    assert_eq!(env.take_leaks().len(), 1);
    let _ = env.program("/bin/sh").args(["-c", "cat"]).stdin(&value).reveals().run().success();
    assert_eq!(env.take_leaks(), []);

    std::fs::write(env.home().join("token"), &value).unwrap();
    assert_eq!(env.take_leaks(), []);
}

#[test]
#[should_panic(expected = "a value is where none may be")]
fn a_test_that_leaks_fails_when_it_ends() {
    let env = Env::new();
    let value = env.canary("leaked");
    let scratch = env.path("");
    env.write("leak", value);
    drop(env);
    std::fs::remove_dir_all(scratch).unwrap();
}

#[test]
#[should_panic(expected = "cmdline")]
fn the_hunt_sees_command_lines() {
    let env = Env::new();
    let value = env.canary("argv");
    let mut named = env.program("/bin/sh").args(["-c", "echo up; sleep 1000; :", &value]).spawn("shell");
    let _ = named.line_with("up", SHORT);
    env.hunt();
}

/// A server that answers every request with a body of 1,000 bytes and keeps the connection.
fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while client.read(&mut buffer).is_ok_and(|length| length > 0) {
                    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
                    let _ = client.write_all(format!("{head}{}", "x".repeat(1000)).as_bytes());
                }
            });
        }
    });
    url
}

fn connect(proxy: &Proxy) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(proxy.url().trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream, path: &str) -> String {
    let _ = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..length]);
        if answer.ends_with(b"xxx") && answer.len() > 1000 {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_proxy_passes_counts_and_answers_by_rule() {
    let proxy = Proxy::new(upstream());
    let mut stream = connect(&proxy).unwrap();
    assert!(ask(&mut stream, "/one").ends_with("xxx"));
    assert!(ask(&mut stream, "/two").ends_with("xxx"));
    assert_eq!(proxy.requests(), ["GET /one", "GET /two"]);
    assert_eq!(proxy.accepted(), 1);

    proxy.set_for("/two", Fault::Answer(500));
    assert!(ask(&mut stream, "/one").ends_with("xxx"));
    assert!(ask(&mut stream, "/two").starts_with("HTTP/1.1 500"));
    proxy.set_for("/two", Fault::None);
    assert!(ask(&mut connect(&proxy).unwrap(), "/two").ends_with("xxx"));
}

#[test]
fn the_proxy_refuses_resets_stalls_and_breaks_off() {
    let proxy = Proxy::new(upstream());
    proxy.set(Fault::Refuse);
    assert_eq!(connect(&proxy).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);

    proxy.set(Fault::Reset);
    let mut reset = connect(&proxy).unwrap();
    reset.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(reset.read(&mut [0; 64]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);

    proxy.set(Fault::CloseAfter(100));
    assert_eq!(ask(&mut connect(&proxy).unwrap(), "/").len(), 100);

    proxy.set(Fault::GarbageAfter(100));
    assert!(ask(&mut connect(&proxy).unwrap(), "/").ends_with('\u{fffd}'));

    proxy.set(Fault::Garbage);
    assert!(ask(&mut connect(&proxy).unwrap(), "/").contains("no HTTP"));

    proxy.set(Fault::Stall);
    let mut stalled = connect(&proxy).unwrap();
    assert_eq!(ask(&mut stalled, "/"), "");
    proxy.set(Fault::None);
    wait_until("the answer that was held back", SHORT, || stalled.read(&mut [0; 4096]).is_ok_and(|length| length > 0));
}

#[test]
fn a_cut_ends_what_is_open_and_a_new_server_takes_over() {
    let proxy = Proxy::new("http://127.0.0.1:1");
    assert_eq!(ask(&mut connect(&proxy).unwrap(), "/"), "");
    proxy.point_to(upstream());
    let mut stream = connect(&proxy).unwrap();
    assert!(ask(&mut stream, "/").ends_with("xxx"));
    proxy.cut();
    assert_eq!(ask(&mut stream, "/"), "");
    assert!(ask(&mut connect(&proxy).unwrap(), "/").ends_with("xxx"));
}
