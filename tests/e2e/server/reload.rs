//! SIGHUP and the second SIGTERM.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tests::{Env, SHORT, Server};

struct Tls {
    env: Env,
    cert: PathBuf,
    key: PathBuf,
}

impl Tls {
    fn new() -> Self {
        let env = Env::new();
        let (cert, key) = (env.path("work/cert.pem"), env.path("work/key.pem"));
        let tls = Self { env, cert, key };
        tls.renew();
        tls
    }

    /// A new certificate, and the text of it.
    fn renew(&self) -> String {
        let identity = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(&self.key, identity.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&self.key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&self.cert, identity.cert.pem()).unwrap();
        identity.cert.pem()
    }

    fn server(&self) -> Server {
        self.env.server_with(["--tls-cert", self.cert.to_str().unwrap(), "--tls-key", self.key.to_str().unwrap()])
    }

    /// Whether a client that knows this certificate alone is served.
    fn accepts(&self, server: &Server, certificate: &str) -> bool {
        let roots = self.env.write("roots.pem", certificate);
        let run = self.env.coder(["whoami"]).env("CODER_URL", server.url()).env("SSL_CERT_FILE", roots);
        let output = run.env("CODER_SESSION_TOKEN", "0123456789-0123456789abcdefghijkl").run();
        // A token that nobody knows is refused by the server, after the handshake.
        output.stderr.contains("signed out") || output.stderr.contains("session has expired")
    }
}

#[test]
fn a_hangup_reads_the_certificate_again() {
    let tls = Tls::new();
    let first = fs::read_to_string(&tls.cert).unwrap();
    let mut server = tls.server();
    assert!(tls.accepts(&server, &first));
    let second = tls.renew();
    assert!(!tls.accepts(&server, &second));
    server.signal(Signal::SIGHUP);
    let _ = server.line_with("reloaded the TLS certificate", SHORT);
    assert!(tls.accepts(&server, &second) && !tls.accepts(&server, &first));

    // What cannot be used changes nothing.
    fs::write(&tls.cert, "no certificate\n").unwrap();
    server.signal(Signal::SIGHUP);
    let _ = server.line_with("cannot reload the TLS certificate; keeping the one in use", SHORT);
    assert!(tls.accepts(&server, &second));
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn a_hangup_looks_at_the_keys_and_keeps_the_server_alive() {
    let env = Env::new();
    let mut server = env.server();
    let alice = env.user("alice");
    server.signal(Signal::SIGHUP);
    let _ = server.line_with("reloaded the encryption keys", SHORT);
    let key = env.data_dir().join("encryption.key");
    let aside = env.data_dir().join("aside");
    fs::rename(&key, &aside).unwrap();
    server.signal(Signal::SIGHUP);
    let _ = server.line_with("cannot reload the encryption keys; keeping those in use", SHORT);
    alice.secret("still-stored", &["--env", "STILL"]);
    fs::rename(&aside, &key).unwrap();
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn a_second_signal_ends_a_stop_that_waits() {
    let env = Env::new();
    let mut server = env.server();
    let alice = env.user("alice");
    // A request whose body never comes: a stop waits for it for seconds.
    let mut slow = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /api/v2/users/me/secrets HTTP/1.1\r\nHost: x\r\nCoder-Session-Token: {}\r\n\
         Content-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        alice.token
    );
    slow.write_all(head.as_bytes()).unwrap();
    // Sent when the body is asked for, so the request is in progress.
    let mut told = [0; 12];
    slow.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100");
    server.signal(Signal::SIGTERM);
    let _ = server.line_with("stopping", SHORT);
    server.signal(Signal::SIGTERM);
    let exit = server.exit_within(SHORT);
    assert_eq!(exit.code, Some(1), "{}", server.stderr());
    assert!(server.stderr().contains("stopped by a second signal"), "{}", server.stderr());
    drop(slow);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let tls = Tls::new();
    let serve = |cert: &PathBuf, key: &PathBuf| {
        let run = tls.env.admin(["serve", "--listen", "127.0.0.1:0"]);
        run.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key).run().exits(2)
    };
    for mode in [0o644, 0o604, 0o660] {
        fs::set_permissions(&tls.key, fs::Permissions::from_mode(mode)).unwrap();
        let _ = serve(&tls.cert, &tls.key).complains(&format!("has mode 0{mode:o}")).complains("chmod 600");
    }
    fs::set_permissions(&tls.key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&tls.cert, fs::Permissions::from_mode(0o600)).unwrap();
    let _ = serve(&tls.key, &tls.cert).complains("key.pem holds no certificate, but a private key");
    let text = tls.env.write("text.pem", "nothing\n");
    fs::set_permissions(&text, fs::Permissions::from_mode(0o600)).unwrap();
    let _ = serve(&text, &tls.key).complains("text.pem holds no certificate (no line BEGIN CERTIFICATE)");
    let _ = serve(&tls.cert, &text).complains("text.pem holds no private key (no line BEGIN PRIVATE KEY)");
    let _ = serve(&tls.cert, &tls.cert).complains("holds no private key, but a certificate");
}

#[test]
fn an_address_that_is_none_is_told_what_is_missing() {
    let env = Env::new();
    for (listen, hint) in [
        ("7082", "--listen is \"7082\"; give HOST:PORT: 127.0.0.1:7082"),
        (":7082", "name the host: 127.0.0.1:7082 for this machine only, 0.0.0.0:7082 for every network"),
        ("localhost", "give HOST:PORT, such as localhost:7080"),
        ("http://127.0.0.1:7082", "without http://"),
        ("::1:7082", "put an IPv6 address in brackets"),
        ("127.0.0.1:70820", "the port is a number from 0 to 65535"),
    ] {
        let _ = env.admin(["serve", "--listen", listen]).run().exits(2).complains(hint);
    }
    let _ = env.admin(["serve"]).env("CODER_HTTP_ADDRESS", ":80").run().exits(2).complains("CODER_HTTP_ADDRESS is");
}
