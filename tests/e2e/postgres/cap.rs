//! Two servers write one user's secrets at the cap.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Rest, Seed};

use super::Pair;

/// Connections at once, half of them to each server.
const CLIENTS: usize = 32;
/// Requests of each.
const REQUESTS: usize = 40;
const CAP: usize = 50;
const SECRETS: &str = "/users/me/secrets";

/// Names and variables that all of them fight for: more than may be, and fewer than there are requests.
const NAMES: usize = 70;
const VARIABLES: usize = 40;

struct Client {
    rest: Rest,
    seed: Seed,
    /// Names it created and did not see deleted, by what it was told.
    made: Vec<String>,
    deleted: Vec<String>,
    refused: BTreeSet<String>,
}

impl Client {
    fn work(&mut self) {
        for _ in 0..REQUESTS {
            let name = format!("s{}", self.seed.below(NAMES as u64));
            let variable = format!("V{}", self.seed.below(VARIABLES as u64));
            match self.seed.below(8) {
                0 => self.delete(name),
                1 => self.rename(&name, &variable),
                _ => self.create(name, &variable),
            }
        }
    }

    fn create(&mut self, name: String, variable: &str) {
        let body = json!({ "name": name, "value": "value", "env_name": variable });
        if self.send(&Method::POST, SECRETS, Some(&body), 201) {
            self.made.push(name);
        }
    }

    fn delete(&mut self, name: String) {
        if self.send(&Method::DELETE, &format!("{SECRETS}/{name}"), None, 204) {
            self.deleted.push(name);
        }
    }

    fn rename(&mut self, name: &str, variable: &str) {
        let body = json!({ "env_name": variable });
        self.send(&Method::PATCH, &format!("{SECRETS}/{name}"), Some(&body), 200);
    }

    /// Whether it was done. Otherwise it was refused for what it is, and not for who else was there.
    fn send(&mut self, method: &Method, path: &str, body: Option<&Value>, expected: u16) -> bool {
        let reply = self.rest.send(method.clone(), path, body.map(Value::to_string));
        if reply.status == expected {
            return true;
        }
        let why = reply.json["message"].as_str().unwrap_or_default().to_owned();
        let known = match reply.status {
            400 => why == "User secrets limit reached.",
            404 => path != SECRETS,
            409 => true,
            _ => false,
        };
        assert!(known, "{method} {path}: {} {}", reply.status, reply.text);
        self.refused.insert(format!("{} {why}", reply.status));
        false
    }
}

/// No two secrets share a name or a variable, and there are no more than may be.
fn assert_rules(listed: &Value) -> usize {
    let listed = listed.as_array().expect("a list");
    for field in ["name", "env_name"] {
        let values: BTreeSet<_> = listed.iter().map(|secret| secret[field].as_str().expect("a text")).collect();
        assert_eq!(values.len(), listed.len(), "two with the same {field}: {listed:?}");
    }
    assert!(listed.len() <= CAP, "{} secrets", listed.len());
    listed.len()
}

#[test]
fn caps_and_conflicts_hold_under_32_connections_at_two_servers() {
    let Some(pair) = Pair::start("caps_and_conflicts_hold_under_32_connections_at_two_servers") else { return };
    let mut seed = Seed::new();
    let urls = pair.urls();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| Client {
            rest: Rest::new(urls[number % 2], &pair.alice.token),
            seed: seed.split(),
            made: Vec::new(),
            deleted: Vec::new(),
            refused: BTreeSet::new(),
        })
        .collect();
    let done = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let rest = Rest::new(urls[1], &pair.alice.token);
            let mut most = 0;
            while !done.load(Ordering::SeqCst) {
                most = most.max(assert_rules(&rest.get(SECRETS).expect(200).json));
            }
            most
        });
        let working: Vec<_> = clients.iter_mut().map(|client| scope.spawn(|| client.work())).collect();
        let failed = working.into_iter().map(std::thread::ScopedJoinHandle::join).filter(Result::is_err).count();
        done.store(true, Ordering::SeqCst);
        assert_eq!(failed, 0, "clients that failed");
        watching.join().expect("the rules hold at all times")
    });

    // Both servers have the same, and it is what the clients were told.
    let listed = urls.map(|url| Rest::new(url, &pair.alice.token).get(SECRETS).expect(200).json);
    assert_eq!(listed[0], listed[1]);
    assert_rules(&listed[0]);
    let count =
        |name: &str, of: fn(&Client) -> &[String]| clients.iter().flat_map(of).filter(|made| *made == name).count();
    let stored: BTreeSet<_> = pair.alice.names().into_iter().collect();
    for name in (0..NAMES).map(|number| format!("s{number}")) {
        let left = count(&name, |client| &client.made) - count(&name, |client| &client.deleted);
        assert_eq!(left, usize::from(stored.contains(&name)), "{name} was made more often than it was deleted");
    }
    // It was a fight, or nothing is shown.
    let refused: BTreeSet<_> = clients.iter().flat_map(|client| &client.refused).map(|why| &why[..3]).collect();
    assert!(refused.contains("409"), "{refused:?}");
    assert!(most >= CAP - 15, "never near the cap: {most}");
}

/// The places that are left go to as many as there are places, whoever asks where.
#[test]
fn the_last_places_are_given_once() {
    let Some(pair) = Pair::start("the_last_places_are_given_once") else { return };
    let (rest, urls) = (pair.alice.rest(), pair.urls());
    for number in 0..CAP - 3 {
        let _ = rest.post(SECRETS, &json!({ "name": format!("s{number}"), "value": "v" })).expect(201);
    }
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = |number: usize| {
            let rest = Rest::new(urls[number % 2], &pair.alice.token);
            rest.post(SECRETS, &json!({ "name": format!("last-{number}"), "value": "v" })).status
        };
        let asking: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || ask(number))).collect();
        asking.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    let given = |status: u16| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((given(201), given(400)), (3, CLIENTS - 3), "{statuses:?}");
    assert_eq!(pair.alice.names().len(), CAP);
}
