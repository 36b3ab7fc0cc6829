//! Real programs between a client and the server, and certificates for it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SerialNumber};
use tests::{DEV, Env, Need, Process, SHORT, Server, User, Workspace, wait_until};

/// A name that only the proxy knows.
pub const NAME: &str = "coder.behind-the-proxy.test";

/// What the proxy of these tests is on Debian. Root gives it a hosts file of its own.
pub const PROXY_NEEDS: [Need; 2] = [Need::Root, Need::Program("tinyproxy", "tinyproxy")];
pub const NGINX_NEEDS: [Need; 1] = [Need::Program("nginx", "nginx-light")];

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running proxy, with what it has written down.
pub struct Proxy {
    pub port: u16,
    log: PathBuf,
    _process: Process,
}

impl Proxy {
    /// tinyproxy with further `settings`, in a mount namespace in which [`NAME`] is this machine.
    #[track_caller]
    pub fn start(env: &Env, settings: &str) -> Self {
        let port = free_port();
        let (log, hosts) =
            (env.path("logs").join(format!("tinyproxy-{port}")), env.write("hosts", format!("127.0.0.1 {NAME}\n")));
        let config = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 600\nAllow 127.0.0.1\nMaxClients 50\nLogLevel Connect\nLogFile \"{}\"\n{settings}",
            log.display()
        );
        let config = env.write(&format!("tinyproxy-{port}.conf"), config);
        fs::write(&log, "").unwrap();
        let script =
            format!("mount --bind {} /etc/hosts && exec tinyproxy -d -c {}", hosts.display(), config.display());
        let process = env.program("/usr/bin/unshare").args(["--mount", "sh", "-c", &script]).spawn("tinyproxy");
        wait_until("tinyproxy", SHORT, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, log, _process: process }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it was asked for, such as `CONNECT host:443 HTTP/1.1`.
    pub fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let request = |line: &str| line.split_once("Request (file descriptor").map(|(_, rest)| rest.to_owned());
        let asked =
            log.lines().filter_map(request).filter_map(|rest| rest.split_once("): ").map(|(_, it)| it.to_owned()));
        asked.collect()
    }
}

/// A server with alice and her workspace, known by any name, over http or https.
pub struct World {
    pub env: Env,
    pub server: Server,
    pub alice: User,
    pub workspace: Workspace,
}

impl World {
    pub fn http() -> Self {
        let env = Env::new();
        let server = env.server();
        Self::around(env, server)
    }

    /// With a certificate for `names` of a private authority, which is in `ca.pem` among the files of the test.
    pub fn https(names: &[&str]) -> Self {
        let env = Env::new();
        let identity = Identity::of_authority(&env, names);
        let server = identity.server(&env);
        Self::around(env, server)
    }

    fn around(env: Env, server: Server) -> Self {
        let alice = env.user("alice");
        let workspace = env.workspace(DEV);
        Self { env, server, alice, workspace }
    }

    /// The server's address by another name.
    pub fn url_as(&self, name: &str) -> String {
        let (scheme, _) = self.server.url().split_once("://").unwrap();
        let (_, port) = self.server.address().rsplit_once(':').unwrap();
        format!("{scheme}://{name}:{port}")
    }

    pub fn ca(&self) -> PathBuf {
        self.env.path("work/ca.pem")
    }
}

/// A certificate and its key, in files.
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Identity {
    /// Signed by an authority whose certificate is in `ca.pem`.
    pub fn of_authority(env: &Env, names: &[&str]) -> Self {
        Self::with(env, names, |_| {})
    }

    /// The same with other properties.
    pub fn with(env: &Env, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "Private Authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        env.write("ca.pem", authority.pem());
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.serial_number = Some(SerialNumber::from(7_u64));
        params.distinguished_name.push(DnType::CommonName, "server");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &authority).unwrap();
        Self { cert: env.write("server.pem", cert.pem()), key: private(env, &key.serialize_pem()) }
    }

    /// What `openssl req -x509` makes: signed by its own key, an authority by the default of Debian's configuration.
    pub fn self_signed(env: &Env, names: &str) -> Self {
        let (cert, key) = (env.path("work/server.pem"), env.path("work/server.key"));
        let (cert_arg, key_arg) = (cert.display().to_string(), key.display().to_string());
        let args =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"];
        let made = env.program("/usr/bin/openssl").args(args).args(["-subj", "/CN=server", "-addext"]);
        let _ =
            made.arg(format!("subjectAltName={names}")).args(["-out", &cert_arg, "-keyout", &key_arg]).run().success();
        Self { cert, key }
    }

    /// A server with this certificate.
    #[track_caller]
    pub fn server(&self, env: &Env) -> Server {
        env.server_with(["--tls-cert", self.cert.to_str().unwrap(), "--tls-key", self.key.to_str().unwrap()])
    }
}

fn private(env: &Env, pem: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = env.write("server.key", pem);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// nginx with these directives in its one server.
pub struct Nginx {
    pub port: u16,
    _process: Process,
}

impl Nginx {
    #[track_caller]
    pub fn start(env: &Env, directives: &str) -> Self {
        let port = free_port();
        let dir = env.path("work").join(format!("nginx-{port}"));
        fs::create_dir_all(&dir).unwrap();
        let shown = dir.display();
        let config = format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid {shown}/pid;\nerror_log stderr;\n\
             events {{ worker_connections 64; }}\nhttp {{\n access_log off;\n client_body_temp_path {shown}/body;\n \
             proxy_temp_path {shown}/proxy;\n fastcgi_temp_path {shown}/fastcgi;\n uwsgi_temp_path {shown}/uwsgi;\n \
             scgi_temp_path {shown}/scgi;\n server {{\n listen 127.0.0.1:{port};\n {directives}\n }}\n}}\n"
        );
        let path = dir.join("nginx.conf");
        fs::write(&path, config).unwrap();
        let process = env.program("/usr/sbin/nginx").args(["-e", "stderr", "-c"]).arg(path).spawn("nginx");
        wait_until("nginx", SHORT, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, _process: process }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}
