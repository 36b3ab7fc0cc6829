//! A server that stops hands its agents over to another one, as in a rolling upgrade.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::fleet::Fleet;
use tests::{Env, LONG, Need, Postgres, Proxy, SHORT, Server, requires, wait_until};

use crate::server::connections::ask;

const AGENTS: usize = 60;
const DRAIN: Duration = Duration::from_secs(4);
const FLAGS: [&str; 4] = ["--rate-limit", "0", "--drain-time", "4s"];

/// Two servers on one database, and what a load balancer makes of them: new connections go to the server that is ready.
struct Pair {
    env: Env,
    postgres: Postgres,
    balancer: Proxy,
}

impl Pair {
    /// A token for each of so many workspaces of alice, who has one secret.
    fn tokens(&self) -> Vec<String> {
        let alice = self.env.user("alice");
        alice.secret("key", &["--env", "KEY"]);
        let mut definitions = String::new();
        for number in 0..=AGENTS {
            let _ = writeln!(definitions, "---\nowner: alice\nname: ws-{number}\nagent: {{ name: main }}");
        }
        let file = self.env.write("fleet.yaml", definitions);
        let applied = self.env.admin(["workspace", "apply", "--json"]).arg(file).reveals().run().success().json();
        let workspaces = applied["workspaces"].as_array().unwrap().iter();
        workspaces.map(|workspace| workspace["agents"][0]["token"].as_str().unwrap().to_owned()).collect()
    }

    /// Stops `server` while `other` runs, and tells how long that took.
    fn hand_over(&self, server: &mut Server, other: &Server) -> Duration {
        let start = Instant::now();
        server.signal(Signal::SIGTERM);
        wait_until("not ready", SHORT, || ask(server.address(), "/readyz").starts_with("HTTP/1.1 503"));
        // It still serves who has not seen that.
        assert!(ask(server.address(), "/healthz").starts_with("HTTP/1.1 200"));
        self.balancer.point_to(other);
        assert_eq!(server.exit_within(LONG).code, Some(0), "{}", server.stderr());
        start.elapsed()
    }
}

fn needs(test: &str) -> bool {
    requires(test, &[Need::PostgreSql])
}

#[test]
fn a_rolling_upgrade_of_two_servers_loses_no_agent_and_causes_no_stampede() {
    if !needs("a_rolling_upgrade_of_two_servers_loses_no_agent_and_causes_no_stampede") {
        return;
    }
    let env = Env::quiet();
    let postgres = Postgres::of(&env);
    let mut one = env.server_with(FLAGS);
    let mut two = env.server_beside("second", FLAGS);
    let pair = Pair { balancer: Proxy::new(&one), env: env.clone(), postgres };
    let mut tokens = pair.tokens();
    let mut agent = env.agent_with_token(&pair.balancer, &tokens.remove(0)).start();
    let fleet = Fleet::start(pair.balancer.url().trim_start_matches("http://"), tokens, 1);
    let _ = fleet.served(LONG);
    let connected = || agent.coder(["status"]).run().stdout.contains("connected");
    wait_until("the agent to be connected", LONG, connected);

    for round in 0..2 {
        fleet.next_wave();
        let (leaving, staying) = if round == 0 { (&mut one, &two) } else { (&mut two, &one) };
        let took = pair.hand_over(leaving, staying);
        assert!(took >= DRAIN / 2 && took < DRAIN * 3, "{took:?}");
        let wave = fleet.served(LONG);
        // Each has lost one session, in order, and found the other server at once.
        assert!(wave.failures.iter().all(|failure| failure.starts_with("the session ended")), "{:?}", wave.kinds());
        assert_eq!(wave.attempts.iter().max(), Some(&1), "{:?}", wave.attempts);
        // In half of the time, evenly: a stampede would be all of them in one second.
        assert!(wave.most_dials_a_second() <= AGENTS * 3 / 4, "{}", wave.most_dials_a_second());
        wait_until("the agent to be connected", LONG, connected);
        let books = "SELECT count(*) FROM agent_presence p JOIN servers s ON s.id = p.server_id";
        wait_until("the books", LONG, || pair.postgres.sql(books).trim() == (AGENTS + 1).to_string());
        if round == 0 {
            one = env.server_with([&FLAGS[..], &["--listen", one.address()]].concat());
        }
    }
    assert!(agent.try_exit().is_none());
}

#[test]
fn a_second_signal_ends_the_handing_over() {
    if !needs("a_second_signal_ends_the_handing_over") {
        return;
    }
    let env = Env::quiet();
    let _postgres = Postgres::of(&env);
    // By default it waits if there is another server.
    let mut one = env.server();
    let _two = env.server_beside::<&str>("second", []);
    env.user("alice");
    let workspace = env.workspace(tests::DEV);
    let agent = crate::peers::client::Client::dial(&one, workspace.token());
    one.signal(Signal::SIGTERM);
    let start = Instant::now();
    one.line_with("handing the agents over to other servers", SHORT);
    assert!(agent.is_open());
    one.signal(Signal::SIGTERM);
    assert_eq!(one.exit_within(SHORT).code, Some(1));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(one.stderr().contains("stopped by a second signal"));
}

#[test]
fn a_server_that_is_alone_stops_at_once() {
    let world = tests::World::builder().within(Env::quiet()).with(tests::DEV);
    let mut server = world.server;
    let agent = crate::peers::client::Client::dial(&server, world.workspace.token());
    let start = Instant::now();
    assert_eq!(server.terminate().code, Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let _ = agent.ending();
}
