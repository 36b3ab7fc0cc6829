//! The server's end, by force and in order, while others write.

use std::io::Write as _;

use nix::sys::signal::Signal;
use tests::{DEV, LONG, Need, World, on_postgres, requires};

use super::writes::{Writer, Written, value};
use crate::peers::End;
use crate::peers::client::Client;

const UNLIMITED: [&str; 2] = ["--rate-limit", "0"];
const SECRETS: [&str; 3] = ["first", "second", "third"];

/// A server whose clients may ask as often as they like, and alice's secrets.
fn world() -> World {
    let world = World::builder().server(UNLIMITED).with(DEV);
    for name in SECRETS {
        let _ = world.alice.coder(["secret", "create", name, "--env", name]).stdin(value(0)).run().success();
    }
    world
}

/// What is stored, as a number a secret, after making sure that each is whole.
fn stored(world: &World) -> Vec<u64> {
    let listed = world.alice.rest().get("/users/me/secrets").expect(200).json;
    let delivered = Client::dial(&world.server, world.workspace.token()).secrets();
    let numbers: Vec<u64> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|secret| secret["description"].as_str().unwrap().parse().unwrap_or(0))
        .collect();
    let expected: Vec<_> = SECRETS.iter().zip(&numbers).map(|(name, number)| (*name, value(*number))).collect();
    let found: Vec<_> = delivered.iter().map(|(name, _, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(found, expected, "the value and the description of one write");
    numbers
}

fn writers(world: &World, last: &[u64]) -> Vec<Writer> {
    SECRETS.iter().zip(last).map(|(name, last)| Writer::start(&world.alice, name, *last)).collect()
}

fn restart(world: &mut World) {
    world.server = world.env.server_with(UNLIMITED);
}

#[track_caller]
fn nothing_lost(stored: &[u64], written: &[Written]) {
    for (stored, written) in stored.iter().zip(written) {
        assert!((written.acknowledged..=written.sent).contains(stored), "{stored} is stored, after {written:?}");
    }
}

#[test]
fn twenty_kills_during_writes_lose_no_acknowledged_one() {
    let mut world = world();
    let mut last = vec![0; SECRETS.len()];
    let checked = !on_postgres() && requires("integrity_check", &[Need::SqlClient]);
    for round in 0..20 {
        let writers = writers(&world, &last);
        // At another point of the writers' beat each time.
        writers[0].wait(1 + round % 4);
        world.server.kill();
        let written: Vec<_> = writers.into_iter().map(Writer::finish).collect();
        restart(&mut world);
        last = stored(&world);
        nothing_lost(&last, &written);
        if checked {
            assert_eq!(world.env.sql("PRAGMA integrity_check; PRAGMA foreign_key_check"), "ok\n");
        }
    }
}

#[test]
fn an_orderly_stop_finishes_writes_and_closes_sessions() {
    let mut world = world();
    let sessions: Vec<_> = (0..3).map(|_| Client::dial(&world.server, world.workspace.token())).collect();
    let writers = writers(&world, &[0; SECRETS.len()]);
    Writer::wait_for_all(&writers, 3);
    world.server.signal(Signal::SIGTERM);
    for session in &sessions {
        assert_eq!(session.ending(), End::Close(1000));
    }
    assert_eq!(world.server.exit_within(LONG).code, Some(0), "{}", world.server.stderr());
    let log = world.server.stderr();
    assert!(!log.contains("were still") && !log.contains("ERROR"), "{log}");
    let written: Vec<_> = writers.into_iter().map(Writer::finish).collect();
    // The write-ahead log is in the database.
    assert!(!world.env.data_dir().join("coder.db-wal").exists());
    restart(&mut world);
    nothing_lost(&stored(&world), &written);
}

#[test]
fn a_stop_does_not_wait_for_those_who_say_nothing() {
    let mut world = world();
    // A connection without a request, one with half of one, and a session nobody reads.
    let _idle = std::net::TcpStream::connect(world.server.address()).unwrap();
    let mut half = std::net::TcpStream::connect(world.server.address()).unwrap();
    half.write_all(b"GET /api/v2/buildinfo HTTP/1.1\r\nHost: x\r\n").unwrap();
    let _session = Client::dial(&world.server, world.workspace.token());
    assert_eq!(world.server.terminate().code, Some(0), "{}", world.server.stderr());
    assert!(!world.server.stderr().contains("at the stop"), "{}", world.server.stderr());
}
