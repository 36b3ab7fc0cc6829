//! Two servers behind a load balancer, with the configuration that the documentation shows.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::fleet::Fleet;
use tests::{Env, LONG, Need, Postgres, Process, Rest, SHORT, Server, User, requires, wait_until};

use super::UNLIMITED;
use crate::faults::storm;
use crate::network::world::free_port;
use crate::server::connections::ask;

const NEEDS: [Need; 2] = [Need::PostgreSql, Need::Program("haproxy", "haproxy")];
/// Within which all agents of a server that died are at the other.
const BACK: Duration = Duration::from_secs(15);

/// Two servers that believe a balancer.
struct Balanced {
    env: Env,
    servers: [Server; 2],
    /// With the port of each. One would need more files for ten thousand agents than a machine of tests allows.
    balancers: Vec<(Process, u16)>,
    alice: User,
    _postgres: Postgres,
}

/// The first block of this language in the section on several servers.
fn documented(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = fs::read_to_string(page).unwrap();
    let section = page.split("### Several servers\n").nth(1).expect("a section on several servers");
    let block = section.split(&format!("```{language}\n")).nth(1).expect("a block of that language");
    block.split("```").next().unwrap().to_owned()
}

/// The options that the documentation gives `serve`, listening here. The harness says where database and keys are.
fn documented_flags(listen: &str) -> Vec<String> {
    let command = documented("sh").replace("\\\n", " ");
    let flags = command.split_whitespace().skip_while(|word| *word != "serve").skip(1);
    let mut flags: Vec<_> = flags.map(|word| word.replace("10.0.0.9", "127.0.0.1")).collect();
    for name in ["--listen", "--database-url-file", "--encryption-key-file"] {
        let at = flags.iter().position(|flag| flag == name).unwrap_or_else(|| panic!("no {name} in the example"));
        flags.drain(at..at + 2);
    }
    flags.extend(["--listen", listen].into_iter().chain(UNLIMITED).map(str::to_owned));
    flags
}

impl Balanced {
    fn start(test: &str, env: Env, balancers: usize) -> Option<Self> {
        if !requires(test, &NEEDS) {
            return None;
        }
        let postgres = Postgres::of(&env);
        let flags = documented_flags("127.0.0.1:0");
        let servers = [env.server_with(&flags), env.server_beside("second", &flags)];
        let balancers: Vec<_> = (0..balancers).map(|_| balancer(&env, &servers)).collect();
        env.server_at(&format!("http://127.0.0.1:{}", balancers[0].1));
        let alice = env.user("alice");
        let balanced = Self { env, servers, balancers, alice, _postgres: postgres };
        for address in balanced.addresses() {
            wait_until("the balancer to have a server", LONG, || {
                std::net::TcpStream::connect(&address).is_ok() && ask(&address, "/readyz").starts_with("HTTP/1.1 200")
            });
        }
        Some(balanced)
    }

    /// Whether the balancer has seen the first server come back.
    fn sees_first(&self) -> bool {
        let (balancer, _) = &self.balancers[0];
        let log = balancer.stdout() + &balancer.stderr();
        log.lines().rfind(|line| line.contains("coder/one is ")).is_some_and(|line| line.contains(" UP"))
    }

    fn addresses(&self) -> Vec<String> {
        self.balancers.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect()
    }
}

/// The balancer as it is documented, and its port.
fn balancer(env: &Env, servers: &[Server; 2]) -> (Process, u16) {
    let port = free_port();
    let mut config = documented("haproxy");
    for (documented, here) in [
        (":443 ssl crt /etc/haproxy/coder.example.com.pem", format!("127.0.0.1:{port}").as_str()),
        ("10.0.0.1:7080", servers[0].address()),
        ("10.0.0.2:7080", servers[1].address()),
        ("maxconn 40000", "maxconn 8000"),
    ] {
        assert!(config.contains(documented), "no {documented} in {config}");
        config = config.replace(documented, here);
    }
    let config = env.write(&format!("haproxy-{port}.cfg"), config);
    (env.program("/usr/sbin/haproxy").args(["-db", "-f"]).arg(config).spawn("haproxy"), port)
}

#[test]
fn the_documented_balancer_serves_people_and_agents() {
    let test = "the_documented_balancer_serves_people_and_agents";
    let Some(mut balanced) = Balanced::start(test, Env::new(), 1) else { return };
    let value = balanced.alice.secret("api-key", &["--env", "API_KEY"]);
    let workspace = balanced.env.workspace(tests::DEV);
    let url = format!("http://{}", balanced.addresses()[0]);
    let main = "printf %s \"$API_KEY\" > ~/new && mv ~/new ~/seen; sleep 1000";
    let mut agent = balanced.env.agent(&url, &workspace).command(["sh", "-c", main]).start();
    workspace.wait_lifecycle("ready");
    assert_eq!(agent.wait_read("seen"), value);
    let rest = Rest::new(&url, &balanced.alice.token);
    let _ = rest.get("/users/me").expect(200);

    // One after the other stops in order, as for an upgrade. Nobody notices but the agents that were there.
    for stopped in [0, 1] {
        assert_eq!(balanced.servers[stopped].terminate().code, Some(0));
        for _ in 0..20 {
            let _ = rest.get("/users/me/secrets").expect(200);
        }
        wait_until("the agent at the other server", LONG, || workspace.show_agent()["status"] == "connected");
        if stopped == 0 {
            let successor = documented_flags(balanced.servers[0].address());
            balanced.servers[0] = balanced.env.server_with(successor);
            balanced.env.server_at(&url);
            // The balancer has looked at it as well, or it would have no server when the other one stops.
            wait_until("the balancer to see it", SHORT, || balanced.sees_first());
        }
    }
    agent.terminate();
}

fn one_of_two_dies(test: &str, agents: usize, limit: Duration) {
    let Some(mut balanced) = Balanced::start(test, Env::quiet(), agents.div_ceil(5000)) else { return };
    let tokens = storm::tokens(&balanced.env, &balanced.alice, agents);
    let shares = tokens.chunks(5000).zip(balanced.addresses());
    let fleets: Vec<_> =
        shares.map(|(tokens, address)| Fleet::start(&address, tokens.to_vec(), storm::SECRETS)).collect();
    for fleet in &fleets {
        fleet.served(limit);
    }
    let at = |server: usize| -> usize {
        // In the order of their start.
        let order = "SELECT count(*) FROM agent_presence WHERE server_id =
            (SELECT id FROM servers ORDER BY started_at LIMIT 1 OFFSET ";
        balanced.env.sql(&format!("{order}{server})")).trim().parse().expect("a number")
    };
    wait_until("the books to have all of them", limit, || at(0) + at(1) == agents);
    let (first, second) = (at(0), at(1));
    assert!(first > agents / 4 && second > agents / 4, "not balanced: {first} and {second}");
    fleets.iter().for_each(Fleet::next_wave);
    balanced.servers[0].kill();
    let killed = Instant::now();
    let back = || fleets.iter().map(Fleet::served_so_far).sum::<usize>();
    wait_until("the agents of the server that died", limit, || back() >= first);
    let took = killed.elapsed();
    println!("{first} of {agents} agents back after {took:?}");
    assert!(took < BACK, "{took:?}");
    assert_eq!(fleets.iter().map(Fleet::connected).sum::<usize>(), agents);
    assert!(!balanced.servers[1].stderr().contains("ERROR"), "{}", balanced.servers[1].stderr());
}

#[test]
fn fifty_agents_are_back_within_seconds_when_one_of_two_servers_dies() {
    one_of_two_dies("fifty_agents_are_back_within_seconds_when_one_of_two_servers_dies", 50, LONG);
}

#[test]
#[ignore = "long: ten thousand agents, a few minutes in a debug build"]
fn ten_thousand_agents_are_back_within_seconds_when_one_of_two_servers_dies() {
    let test = "ten_thousand_agents_are_back_within_seconds_when_one_of_two_servers_dies";
    one_of_two_dies(test, 10_000, 10 * LONG);
}
