//! OpenBao's server with its key-value store of secrets. What asks it is in [`crate::openbao`].

use std::net::TcpListener;

use tests::{Env, LONG, Process, Run, wait_until};

/// Where its store is.
const STORE: &str = "secret";

/// A running server that can be asked; ended when dropped.
pub struct Bao {
    env: Env,
    program: String,
    pub url: String,
    pub token: String,
    _process: Process,
}

impl Bao {
    /// Its development mode: nothing reaches the disk.
    pub fn in_memory(env: &Env, program: &str) -> Self {
        let [port] = free_ports();
        let listen = format!("-dev-listen-address=127.0.0.1:{port}");
        let flags = ["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", &listen];
        Self::new(env, program, port, "root", env.program(program).args(flags).spawn("bao-memory"))
    }

    /// Its integrated storage, of one node.
    pub fn on_disk(env: &Env, program: &str) -> Self {
        let [port, cluster] = free_ports();
        let data = env.path("bao");
        std::fs::create_dir(&data).expect("make a directory");
        let config = format!(
            "storage \"raft\" {{\n  path = \"{}\"\n  node_id = \"one\"\n}}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n}}\n\
             api_addr = \"http://127.0.0.1:{port}\"\ncluster_addr = \"http://127.0.0.1:{cluster}\"\n",
            data.display()
        );
        let config = env.write("bao.hcl", config);
        let process = env.program(program).args(["server", "-config"]).arg(config).spawn("bao-disk");
        let mut bao = Self::new(env, program, port, "", process);
        // 2 says that it runs and is sealed.
        wait_until("OpenBao to answer", LONG, || bao.command(["status"]).run().exit.code == Some(2));
        let init = ["operator", "init", "-key-shares=1", "-key-threshold=1", "-format=json"];
        let keys = bao.command(init).reveals().run().success().json();
        keys["root_token"].as_str().expect("a token").clone_into(&mut bao.token);
        let _ =
            bao.command(["operator", "unseal", keys["unseal_keys_b64"][0].as_str().expect("a key")]).run().success();
        let enable = ["secrets", "enable", "-path", STORE, "-version=2", "kv"];
        wait_until("OpenBao to lead itself", LONG, || bao.command(enable).run().exit.code == Some(0));
        bao
    }

    fn new(env: &Env, program: &str, port: u16, token: &str, process: Process) -> Self {
        let url = format!("http://127.0.0.1:{port}");
        Self { env: env.clone(), program: program.to_owned(), url, token: token.to_owned(), _process: process }
    }

    fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Run {
        let run = self.env.program(&self.program).env("BAO_ADDR", &self.url);
        let run = if self.token.is_empty() { run } else { run.env("BAO_TOKEN", &self.token) };
        run.args(args)
    }

    /// Makes a secret of these fields, `name=value`. The store takes a moment until it takes one.
    pub fn keep(&self, secret: &str, fields: &[String]) {
        let path = format!("{STORE}/{secret}");
        let put = || self.command(["kv", "put", &path]).args(fields).run().exit.code == Some(0);
        wait_until("OpenBao to keep a secret", LONG, put);
    }
}

/// Ports that nobody listens on at this moment.
fn free_ports<const N: usize>() -> [u16; N] {
    let sockets: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    sockets.map(|socket| socket.local_addr().expect("an address").port())
}
