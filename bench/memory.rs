//! What an agent holds while nothing happens.

use std::fs;

use tests::{Agent, Env, wait_for};

use crate::figure::Figure;
use crate::report::Report;
use crate::section::{Goal, Section};
use crate::world::World;

pub fn measure(world: &mut World, report: &mut Report) {
    let agent = world.env.agent(&world.server, &world.idle).start();
    let plain = settled(world, &agent);
    drop(agent);

    let tls = tls_files(&world.env);
    world.restart(&["--tls-cert", &tls.certificate, "--tls-key", &tls.key]);
    let agent = world.env.agent(&world.server, &world.idle).env("SSL_CERT_FILE", &tls.roots).start();
    let encrypted = settled(world, &agent);
    drop(agent);
    world.restart(&[]);

    let mut section = Section::new("Memory of an idle agent", "MiB");
    for (how, memory) in [("over http", plain), ("over https, the system's roots", encrypted)] {
        section.ours(format!("`coder agent` {how}, resident"), memory.resident());
        section.ours(format!("`coder agent` {how}, proportional"), memory.proportional());
    }
    section.goal(Goal::at_most("idle agent: below 8 MiB resident", plain.resident().median, 8.0));
    report.add(section);
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

/// In KiB.
#[derive(Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    pub proportional: u64,
}

impl Memory {
    /// In MiB.
    pub fn resident(self) -> Figure {
        mib(self.resident)
    }

    /// In MiB: pages that several processes have are divided among them.
    pub fn proportional(self) -> Figure {
        mib(self.proportional)
    }
}

fn mib(kib: u64) -> Figure {
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    Figure::exact(kib as f64 / 1024.0)
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
