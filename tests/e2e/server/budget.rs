//! What one peer can make the server spend. The numbers are those of the table in docs/threat-model.md.

use std::fs;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{DEV, Env, LONG, Process, SHORT, User, World, wait_for, wait_until};

use super::connections::ask;
use super::disk::SmallDisk;
use super::hostile::{self, CONNECTION, METADATA};
use crate::peers::client::Client;
use crate::peers::control_plane::LOGS;
use crate::peers::wire::Reply;

/// Most memory that a process has had, in MiB.
fn peak(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// How long each of some writes of a user took, the fastest first.
fn writes(user: &User, count: usize) -> Vec<Duration> {
    let rest = user.rest();
    let name = format!("/users/me/secrets/of-{}", user.name);
    let _ = rest.post("/users/me/secrets", &json!({ "name": format!("of-{}", user.name), "value": "v" })).expect(201);
    let mut times: Vec<_> = (0..count)
        .map(|n| {
            let start = Instant::now();
            let _ = rest.patch(&name, &json!({ "description": n.to_string() })).expect(200);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

fn records(env: &Env, action: &str) -> Vec<Value> {
    let all = env.admin(["audit", "--json", "--limit", "100000"]).run().success().json();
    all.as_array().unwrap().iter().filter(|record| record["action"] == action).cloned().collect()
}

#[test]
fn a_million_items_are_refused_before_they_are_decoded() {
    let World { server, alice, workspace, .. } = World::builder().within(Env::quiet()).with(DEV);
    let before = peak(&server);
    let client = Client::dial(&server, workspace.token());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let reply = client.call(METADATA, &hostile::million_of_metadata());
                assert!(matches!(&reply, Reply::Error(0, why) if why.contains("more than 65536 items")), "{reply:?}");
            });
        }
        let _ = writes(&alice, 5);
    });
    assert!(client.is_open() && peak(&server) < before + 48, "{before} MiB, then {} MiB", peak(&server));
}

#[test]
fn empty_log_lines_are_kept_a_few_at_a_time_and_take_the_room_of_a_log() {
    let World { server, alice, workspace, .. } = World::builder().within(Env::quiet()).with(DEV);
    let client = Client::dial(&server, workspace.token());
    let answers: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..2).map(|_| scope.spawn(|| client.call(LOGS, &hostile::empty_lines()).message())).collect();
        let times = writes(&alice, 20);
        // All lines in one transaction would take several.
        assert!(times[10] < Duration::from_secs(1), "{times:?}");
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    // 49,000 lines of 16 bytes fit once into 1 MiB.
    assert_eq!(answers.iter().filter(|answer| answer.is_empty()).count(), 1, "{answers:?}");
}

#[test]
fn connections_that_are_reported_in_a_loop_are_counted() {
    let World { env, mut server, workspace, .. } = World::builder().within(Env::quiet()).with(DEV);
    let client = Client::dial(&server, workspace.token());
    for _ in 0..300 {
        let _ = client.call(CONNECTION, &hostile::connection()).message();
    }
    drop(client);
    // What was counted in the last minute is written at a stop, too.
    assert_eq!(server.terminate().code, Some(0));
    let told = records(&env, "disconnect");
    let more: Vec<_> = told.iter().filter_map(|record| record["diff"]["more"].as_u64()).collect();
    let single = told.len() - more.len();
    // A minute may have begun meanwhile.
    assert!(single <= 120 && single as u64 + more.iter().sum::<u64>() == 300, "{single} and {more:?}");
    for record in told {
        assert!(record.to_string().len() < 8 * 1024, "{record}");
    }
}

#[test]
fn the_oldest_of_five_sessions_of_an_agent_ends() {
    let World { server, workspace, .. } = World::builder().within(Env::quiet()).with(DEV);
    let sessions: Vec<_> = (0..5).map(|_| Client::dial(&server, workspace.token())).collect();
    wait_until("one of them ends", SHORT, || sessions.iter().filter(|session| session.is_open()).count() == 4);
    assert!(sessions[4].is_open());
    assert!(server.stderr().contains("more than 4 sessions"), "{}", server.stderr());
}

#[test]
fn a_token_is_revoked_on_a_full_disk() {
    let Some(disk) = SmallDisk::start("a_token_is_revoked_on_a_full_disk", Env::quiet(), "32m", &[]) else { return };
    let alice = disk.user("alice");
    wait_until("room is set aside", SHORT, || disk.path("reserve").exists());
    disk.fill();
    let mut n = 0;
    let refused = wait_for("a write that finds no room", SHORT, || {
        n += 1;
        let secret = json!({ "name": n.to_string(), "value": "x".repeat(20_000) });
        // The log of the database may have some room of its own.
        Some(alice.rest().post("/users/me/secrets", &secret)).filter(|reply| reply.status != 201)
    });
    assert_eq!(refused.status, 507, "{}", refused.text);
    revokes_when_full(&disk, &alice);
    fs::remove_file(disk.path("filler")).unwrap();
    wait_until("ready again", LONG, || ask(disk.url.trim_start_matches("http://"), "/readyz").contains(" 200 "));
}

fn revokes_when_full(disk: &SmallDisk, user: &User) {
    disk.fill();
    let id = user.token.split('-').next().unwrap();
    let revoked = disk.admin(&["token", "revoke", id]).reveals().run().success();
    assert!(revoked.stderr.contains("the disk is full; using the last room"), "{}", revoked.stderr);
    let _ = user.rest().get("/users/me").expect(401);
}

#[test]
#[ignore = "long: both processors for a while; measures times"]
fn hostile_agents_users_and_silent_connections_at_once() {
    let name = "hostile_agents_users_and_silent_connections_at_once";
    let Some(mut disk) = SmallDisk::start(name, Env::quiet(), "96m", &[]) else { return };
    let victim = disk.user("victim");
    let attackers: Vec<User> = (0..10).map(|n| disk.user(&format!("user{n}"))).collect();
    let agents: Vec<String> = (0..8).map(|n| token(&disk, &format!("user{n}"))).collect();
    let address = disk.url.trim_start_matches("http://");
    let stop = AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        let silent: Vec<_> = (0..500).map(|_| TcpStream::connect(address).unwrap()).collect();
        for agent in &agents {
            scope.spawn(|| hostile::agent(&disk.url, agent, &stop));
        }
        for user in &attackers {
            scope.spawn(|| hostile::user(&disk.url, &user.token, &stop));
        }
        let times = writes(&victim, 200);
        stop.store(true, Ordering::Relaxed);
        drop(silent);
        times
    });
    let (median, most) = (times[100], times[199]);
    println!("writes: median {median:?}, longest {most:?}; server {} MiB", peak(&disk.server));
    assert!(times[180] < Duration::from_millis(200), "{times:?}");
    assert!(peak(&disk.server) < 256, "{} MiB", peak(&disk.server));
    let database = fs::metadata(disk.path("coder.db")).unwrap().len();
    assert!(database < 32 << 20, "{database} bytes of database");
    let log = disk.server.stderr().len();
    assert!(log < 1 << 20, "{log} bytes of log");
    revokes_when_full(&disk, &victim);
    assert_eq!(disk.server.terminate().code, Some(0));
}

/// The token of a new workspace's agent.
fn token(disk: &SmallDisk, owner: &str) -> String {
    let file = disk.path(&format!("{owner}.yaml"));
    fs::write(&file, DEV.replace("alice", owner)).unwrap();
    let path = disk.env.data_dir().join(format!("{owner}.yaml"));
    let applied =
        disk.admin(&["workspace", "apply", path.to_str().unwrap(), "--json"]).reveals().run().success().json();
    let token = applied["workspaces"][0]["agents"][0]["token"].as_str().expect("a token").to_owned();
    disk.env.watch(owner, token.as_bytes());
    token
}
