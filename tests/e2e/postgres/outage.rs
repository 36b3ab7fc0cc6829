//! PostgreSQL is killed, or stopped and started, under everything that servers do at the same time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::{DEV, LONG, Seed, User, Workspace, wait_until};

use super::Pair;
use crate::crash::client::Client;
use crate::peers::client as peer;
use crate::server::connections::ask;

/// Users who write all the time, half of them at each server.
const CLIENTS: usize = 8;

struct Account {
    user: User,
    workspace: Workspace,
    client: Client,
    url: String,
}

impl Account {
    fn new(pair: &Pair, number: usize, seed: Seed) -> Self {
        let user = pair.env.user(&format!("user{number}"));
        let workspace = pair.env.workspace(&DEV.replace("alice", &user.name));
        let url = pair.urls()[number % 2].to_owned();
        let client = Client::new(&user.token, &url, seed);
        Self { user, workspace, client, url }
    }

    /// Writes until `stop`, through whatever happens.
    fn work(&mut self, answered: &AtomicUsize, stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            answered.fetch_add(self.client.work(&self.url, 3), Ordering::SeqCst);
        }
    }

    /// Everything that was acknowledged is there, and nothing that was refused.
    fn check(&mut self) {
        wait_until("a server that answers", LONG, || self.client.check(&self.url).is_ok());
        let delivered = peer::Client::dial(&self.url, self.workspace.token()).secrets();
        self.client.check_values(&delivered);
    }
}

fn is_ready(url: &str) -> bool {
    ask(url.trim_start_matches("http://"), "/readyz").starts_with("HTTP/1.1 200")
}

/// Takes PostgreSQL away while all accounts write, and brings it back after `away`, once both servers have noticed.
fn outages(test: &str, clients: usize, away: Duration, rounds: usize) {
    let Some(mut pair) = Pair::start(test) else { return };
    let mut seed = Seed::new();
    let mut accounts: Vec<_> = (0..clients).map(|number| Account::new(&pair, number, seed.split())).collect();
    let urls = pair.urls().map(str::to_owned);
    let agents: Vec<_> = urls.iter().map(|url| peer::Client::dial(url, pair.workspace.token())).collect();
    for round in 0..rounds {
        let (answered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for account in &mut accounts {
                scope.spawn(|| account.work(&answered, &stop));
            }
            let more = |count: usize| {
                let goal = answered.load(Ordering::SeqCst) + count;
                wait_until("requests that are answered", LONG, || answered.load(Ordering::SeqCst) >= goal);
            };
            more(2 * clients);
            if round % 2 == 0 {
                pair.postgres.kill();
            } else {
                pair.postgres.stop();
            }
            let gone = Instant::now();
            wait_until("both servers to say so", LONG, || !urls.iter().any(|url| is_ready(url)));
            wait_until("the end of the outage", 2 * away + LONG, || gone.elapsed() >= away);
            pair.postgres.restart();
            more(2 * clients);
            stop.store(true, Ordering::SeqCst);
        });
        accounts.iter_mut().for_each(Account::check);
        wait_until("both servers to be ready", LONG, || urls.iter().all(|url| is_ready(url)));
        assert!(agents.iter().all(peer::Client::is_open), "round {round}: an agent was thrown out");
    }
    let names: Vec<_> = accounts.iter().map(|account| account.user.name.as_str()).collect();
    for server in &mut pair.servers {
        assert!(!server.stderr().contains("panicked"), "{names:?}: {}", server.stderr());
        assert_eq!(server.terminate().code, Some(0), "{}", server.stderr());
    }
}

#[test]
fn postgresql_killed_and_stopped_under_mixed_requests_loses_nothing() {
    let test = "postgresql_killed_and_stopped_under_mixed_requests_loses_nothing";
    outages(test, CLIENTS, Duration::ZERO, 2);
}

#[test]
#[ignore = "long: PostgreSQL is away for half a minute, again and again"]
fn postgresql_away_for_half_a_minute_under_many_requests_loses_nothing() {
    let test = "postgresql_away_for_half_a_minute_under_many_requests_loses_nothing";
    outages(test, 64, Duration::from_secs(30), 6);
}
