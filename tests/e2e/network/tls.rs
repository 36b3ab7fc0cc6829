//! Certificates that are not as they should be: one cause, one hint.

use rcgen::date_time_ymd;
use tests::{DEV, Env, LONG, Need, requires};

use super::world::{Identity, World};

const OPENSSL: [Need; 1] = [Need::Program("openssl", "openssl")];

/// The command line and the agent say `cause`, each with a hint that holds `hint`.
#[track_caller]
fn both_say(env: &Env, url: &str, cause: &str, hint: &str) {
    let login = env.coder(["login", url, "--token", "t"]).env("SSL_CERT_FILE", env.path("work/ca.pem")).run().exits(1);
    assert_eq!(login.stderr.matches(cause).count(), 1, "no {cause:?}, or twice:\n{}", login.stderr);
    let _ = login.complains(hint);
    let agent = env
        .agent_with_token(&url, "0b8a6b1e-4b8e-4f5e-9d3e-2f8f8c1d7a10")
        .env("SSL_CERT_FILE", env.path("work/ca.pem"));
    let mut agent = agent.start();
    let line = agent.line_with("trying again until it works", LONG);
    assert!(line.contains(cause), "no {cause:?}: {line}");
    assert_eq!(agent.terminate().code, Some(0));
}

/// What is odd, how, the names of the certificate, what the agent says, and what the command line says.
type Case = (&'static str, fn(&mut rcgen::CertificateParams), &'static [&'static str], &'static str, &'static str);

#[test]
fn names_and_dates() {
    let cases: [Case; 4] = [
        (
            "name",
            |_| {},
            &["coder.example.com", "10.0.0.7"],
            "the server's certificate is for coder.example.com, 10.0.0.7, not for 127.0.0.1",
            "Use a name that the certificate has",
        ),
        (
            "none",
            |_| {},
            &[],
            "the server's certificate is for no name at all, so not for 127.0.0.1",
            "Use a name that the certificate has",
        ),
        (
            "expired",
            |params| (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1)),
            &["127.0.0.1"],
            "the server's certificate expired on 2002-01-01 00:00 UTC; this machine's clock says ",
            "If the clock is right, the server needs a new certificate",
        ),
        (
            "not yet",
            |params| (params.not_before, params.not_after) = (date_time_ymd(2901, 1, 1), date_time_ymd(2902, 1, 1)),
            &["127.0.0.1"],
            "the server's certificate is not valid yet before 2901-01-01 00:00 UTC; this machine's clock says ",
            "If the clock is right, wait",
        ),
    ];
    for (_, change, names, cause, hint) in cases {
        let env = Env::new();
        let server = Identity::with(&env, names, change).server(&env);
        both_say(&env, server.url(), cause, hint);
    }
}

#[test]
fn the_wrong_scheme() {
    let world = World::https(&["127.0.0.1"]);
    let http = world.server.url().replace("https:", "http:");
    let login = world.env.coder(["login", &http, "--token", "t"]).run().exits(1);
    let _ = login.complains("a server that speaks TLS has one that starts with https://");
    let mut agent = world.env.agent(&http, &world.workspace).start();
    let line = agent.line_with("trying again until it works", LONG);
    assert!(line.contains("the address starts with https://"), "{line}");
    let plain = World::http();
    plain.env.write("ca.pem", std::fs::read(world.ca()).unwrap());
    let https = plain.server.url().replace("http:", "https:");
    both_say(&plain.env, &https, "the server does not answer with TLS", "try http://");
}

#[test]
fn an_unknown_authority_is_named_once_for_the_sign_in() {
    let world = World::https(&["127.0.0.1"]);
    let url = world.server.url();
    // Of its own: logging out revokes it.
    let made = world.env.admin(["token", "create", "alice", "--json"]).reveals().run().success().json();
    let token = made["session_token"].as_str().unwrap().to_owned();
    world.env.watch("a session token", token.as_bytes());
    let login = || world.env.coder(["login", url]).stdin(&token);
    let cause = "the server's certificate is signed by an authority that this machine does not know";
    let hint = format!("name that one's certificate: coder login {url} --ca-file FILE (or SSL_CERT_FILE)");
    let _ = login().run().exits(1).complains(cause).complains(&hint);
    let _ = login().args(["--ca-file", "nowhere.pem"]).run().exits(2).complains("cannot read the CA file nowhere.pem");
    let _ = login().args(["--ca-file", "server.key"]).run().exits(2).complains("no certificates in server.key");

    let _ = login().arg("--ca-file").arg(world.ca()).run().success().says("as alice.");
    let copy = world.env.home().join(".config/coderv2/ca.pem");
    let whoami = || world.env.coder(["whoami"]).run();
    // It is a copy, and holds for commands and for the next sign-in to the same server.
    std::fs::rename(world.ca(), world.env.path("work/moved.pem")).unwrap();
    let _ = whoami().success().says("as alice.");
    let _ = login().run().success();
    let _ = whoami().success();
    let _ = world.env.coder(["logout"]).run().success();
    assert!(!copy.exists());
    let _ = login().run().exits(1).complains(cause);

    let value = world.env.canary("tool");
    let create = world.alice.coder(["secret", "create", "tool", "--file", "~/seen"]).stdin(&value);
    let _ = create.env("SSL_CERT_FILE", "moved.pem").run().success();
    let agent = world.env.agent(&world.server, &world.workspace);
    let mut agent = agent.args(["--ca-file", "moved.pem"]).command(["sh", "-c", "cat ~/seen > ~/copied"]).start();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert_eq!(agent.read("copied"), value);
}

#[test]
fn a_certificate_that_is_trusted_itself() {
    if !requires("network::tls::self_signed", &OPENSSL) {
        return;
    }
    let env = Env::new();
    let identity = Identity::self_signed(&env, "IP:127.0.0.1");
    let server = identity.server(&env);
    let alice = env.user("alice");
    let workspace = env.workspace(DEV);
    let login = || env.coder(["login", server.url()]).stdin(&alice.token);
    let cause = "the server's certificate is self-signed, and this machine does not know it";
    let _ = login().run().exits(1).complains(cause).complains("name the certificate itself: coder login ");
    let _ = login().arg("--ca-file").arg(&identity.cert).run().success().says("as alice.");
    let _ = env.coder(["whoami"]).run().success();
    let mut agent = env.agent(&server, &workspace).env("SSL_CERT_FILE", &identity.cert).start();
    workspace.wait_lifecycle("ready");
    assert_eq!(agent.terminate().code, Some(0));
    // For no other name, and no other certificate.
    let port = server.address().rsplit_once(':').unwrap().1;
    let other = format!("https://localhost:{port}");
    let run = env.coder(["login", &other, "--token", "t"]).env("SSL_CERT_FILE", &identity.cert).run().exits(1);
    let _ = run.complains("the server's certificate is for 127.0.0.1, not for localhost");
    let another = Env::new();
    let stranger = Identity::self_signed(&another, "IP:127.0.0.1");
    let run = env.coder(["whoami", "--url", server.url(), "--token", "t", "--global-config", "empty"]);
    let _ = run.env("SSL_CERT_FILE", &stranger.cert).run().exits(1).complains(cause);
}

/// A leaf of an authority that stays unknown.
#[test]
fn a_leaf_that_is_named_as_a_root() {
    let world = World::https(&["127.0.0.1"]);
    let login = world.env.coder(["login", world.server.url()]).stdin(&world.alice.token);
    let _ = login.args(["--ca-file", "server.pem"]).run().success().says("as alice.");
}
