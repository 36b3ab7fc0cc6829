//! What an agent holds while nothing happens.

use std::fs;

use tests::{Agent, Env, wait_for};

use crate::report::Row;
use crate::world::World;

pub fn measure(world: &mut World) -> Vec<Row> {
    let agent = world.env.agent(&world.server, &world.idle).start();
    let plain = Row::new("idle agent over http", resident(&settled(world, &agent)), "resident below 8 MiB");
    drop(agent);

    let tls = tls_files(&world.env);
    world.restart(&["--tls-cert", &tls.certificate, "--tls-key", &tls.key]);
    let agent = world.env.agent(&world.server, &world.idle).env("SSL_CERT_FILE", &tls.roots).start();
    let encrypted = Row::new("idle agent over https, the system's roots", resident(&settled(world, &agent)), "");
    drop(agent);
    world.restart(&[]);
    vec![plain, encrypted]
}

/// Waits until the agent is ready and its memory has stopped changing.
fn settled(world: &World, agent: &Agent) -> Memory {
    world.idle.wait_lifecycle("ready");
    let mut last = (0, 0);
    wait_for("memory that stays the same", tests::LONG, || {
        let now = of(agent.pid());
        last = if now.resident == last.0 { (now.resident, last.1 + 1) } else { (now.resident, 0) };
        (last.1 == 200).then_some(now)
    })
}

fn resident(memory: &Memory) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let mib = |kib: u64| kib as f64 / 1024.0;
    format!("{:.2} MiB resident, {:.2} MiB proportional", mib(memory.resident), mib(memory.proportional))
}

/// In KiB.
pub struct Memory {
    pub resident: u64,
    pub proportional: u64,
}

pub fn of(pid: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a running process");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a figure")
    };
    Memory { resident: field("Rss:"), proportional: field("Pss:") }
}

/// Paths of what a server and its clients need for https.
struct TlsFiles {
    key: String,
    certificate: String,
    /// The system's roots and the certificate.
    roots: String,
}

fn tls_files(env: &Env) -> TlsFiles {
    let (key, certificate) = (env.path("work/tls.key"), env.path("work/tls.crt"));
    let (key, certificate) = (key.display().to_string(), certificate.display().to_string());
    let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let subject = [
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    let files = ["-keyout", &key, "-out", &certificate];
    let _ = env.program("/usr/bin/openssl").args(request).args(subject).args(files).run().success();
    let system = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").expect("the system's roots");
    let ours = fs::read_to_string(&certificate).expect("the certificate");
    let roots = env.write("roots.pem", format!("{system}\n{ours}")).display().to_string();
    TlsFiles { key, certificate, roots }
}
