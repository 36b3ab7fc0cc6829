//! The server behind the proxies of docs/operations.md, as they stand there.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tests::{Env, LONG, Need, Process, Server, requires, wait_until};

const CLIENT: &str = "127.0.0.5";

struct Proxied {
    env: Env,
    server: Server,
    port: u16,
    cert: PathBuf,
    key: PathBuf,
}

impl Proxied {
    fn new() -> Self {
        let env = Env::quiet();
        let server =
            env.server_with(["--proxy-trusted-origins", "127.0.0.1", "--proxy-trusted-headers", "X-Forwarded-For"]);
        let identity = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let cert = env.write("proxy.pem", identity.cert.pem());
        let key = env.write("proxy.key", identity.signing_key.serialize_pem());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        // Free now, and nobody else in this test asks for one before the proxy has it.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { env, server, port, cert, key }
    }

    /// The example of the page in `language`, at this test's addresses.
    fn example(&self, language: &str) -> String {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let page = fs::read_to_string(page).unwrap();
        let block = page.split(&format!("```{language}\n")).nth(1).and_then(|rest| rest.split("```").next());
        block.expect("an example").replace("127.0.0.1:7080", self.server.address())
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// What a user and an agent see through the proxy, and whom the server sees.
    fn works(&self, proxy: &mut Process) {
        let Self { env, .. } = self;
        let alice = env.user("alice");
        let token = env.home().join("token");
        fs::write(&token, format!("Coder-Session-Token: {}\nX-Forwarded-For: 203.0.113.9\n", alice.token)).unwrap();
        let get = |path: &str| {
            let run =
                env.program("/usr/bin/curl").args(["--silent", "--show-error", "--interface", CLIENT, "--cacert"]);
            let run = run.arg(&self.cert).args(["--header", &format!("@{}", token.display())]);
            run.arg(format!("{}/api/v2{path}", self.url())).run()
        };
        wait_until("the proxy answers", LONG, || {
            assert_eq!(proxy.try_exit(), None, "{}", proxy.stderr());
            get("/buildinfo").exit.code == Some(0)
        });
        let _ = get("/users/me").success().says("alice");
        let _ = get("/users/me/secrets/nothing").success().says("not found");
        let log = self.server.stderr();
        assert!(log.contains(&format!("user=\"alice\" address={CLIENT}")), "{log}");
        let audit = env.admin(["audit", "--json"]).run().success().json();
        let refused = audit.as_array().unwrap().iter().find(|entry| entry["status"] == 404).expect("the refusal");
        assert_eq!(refused["address"], CLIENT);

        // What comes around the proxy is not believed.
        let direct = env.program("/usr/bin/curl").args(["--silent", "--interface", "127.0.0.6"]);
        let direct = direct.args(["--header", &format!("@{}", token.display())]);
        let _ = direct.arg(format!("{}/api/v2/users/me", self.server.url())).run().success();
        assert!(self.server.stderr().contains("address=127.0.0.6"), "{}", self.server.stderr());

        let value = alice.secret("api-key", &["--env", "API_KEY"]);
        let workspace = env.workspace(tests::DEV);
        let agent = env.agent(&self.url(), &workspace).env("SSL_CERT_FILE", &self.cert);
        let mut agent = agent.command(["sh", "-c", "printf %s \"$API_KEY\" > ~/seen"]).start();
        assert_eq!(agent.exit().code, Some(0));
        assert_eq!(agent.read("seen"), value);
    }
}

#[test]
fn nginx_as_documented() {
    let needs = [Need::Program("nginx", "nginx-light"), Need::Program("curl", "curl")];
    if !requires("nginx_as_documented", &needs) {
        return;
    }
    let world = Proxied::new();
    let site = world
        .example("nginx")
        .replace("listen 443 ssl;", &format!("listen 127.0.0.1:{} ssl;", world.port))
        .replace("/etc/ssl/certs/coder.example.com.pem", world.cert.to_str().unwrap())
        .replace("/etc/ssl/private/coder.example.com.key", world.key.to_str().unwrap());
    let scratch = world.env.path("nginx");
    fs::create_dir(&scratch).unwrap();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp = temp.map(|kind| format!("{kind}_temp_path {0}/{kind};\n", scratch.display())).concat();
    let main = format!(
        "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{temp}{site}\n}}\n",
        scratch.display()
    );
    let main = world.env.write("nginx.conf", main);
    let mut proxy = world.env.program("/usr/sbin/nginx").arg("-c").arg(main).args(["-e", "stderr"]).spawn("nginx");
    world.works(&mut proxy);
}

#[test]
fn caddy_as_documented() {
    if !requires("caddy_as_documented", &[Need::Program("caddy", "caddy"), Need::Program("curl", "curl")]) {
        return;
    }
    let world = Proxied::new();
    let (cert, key) = (world.cert.display(), world.key.display());
    let site =
        world.example("caddy").replace("coder.example.com {", &format!("{} {{\n    tls {cert} {key}", world.url()));
    let config =
        world.env.write("Caddyfile", format!("{{\n    admin off\n    auto_https disable_redirects\n}}\n{site}"));
    let run = world.env.program("/usr/bin/caddy").args(["run", "--adapter", "caddyfile", "--config"]);
    let mut proxy = run.arg(config).spawn("caddy");
    world.works(&mut proxy);
}
