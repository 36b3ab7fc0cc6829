//! The static executable, in an image with nothing but busybox.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use nix::sys::signal::Signal;
use tests::{LONG, Server, World};

use super::image::Image;
use super::name_server::NameServer;
use super::{needs_image, world};

const NAMES: &str = "127.0.0.1 localhost control.file.test\n";
const PASSWD: &str = "root:x:0:0::/:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n";
const GROUP: &str = "alice:x:1001:\ntools:x:2000:bob,alice\nothers:x:2001:bob\n";
/// What glibc would ask: nothing that there is.
const NSSWITCH: &str = "passwd: nothing\ngroup: nothing\ninitgroups: nothing\nhosts: nothing\n";

fn at(server: &Server, host: &str) -> String {
    server.url().replace("127.0.0.1", host)
}

#[test]
fn hosts_and_users_are_found_in_the_files_of_the_image() {
    if !needs_image("hosts_and_users_are_found_in_the_files_of_the_image") {
        return;
    }
    let name_server = NameServer::knowing("control.dns.test");
    let (World { env, server, workspace, .. }, key) = world();
    let carol = env.user("carol");
    // `coder whoami` asks over HTTP, the agent over a WebSocket: both have to find the server.
    let script = "printf %s \"$API_KEY\" > ~/saw; echo \"$(id -u) $(id -G) $HOME\"; coder whoami || exit; exit 5";
    for host in ["control.file.test", "control.dns.test"] {
        let image = Image::minimal(&env, &server, &workspace, &["sh", "-c", script])
            .env("CODER_AGENT_URL", &at(&server, host))
            .env("CODER_AGENT_USER", "alice")
            .env("CODER_URL", &at(&server, host))
            .env("CODER_SESSION_TOKEN", &carol.token);
        for (file, text) in [
            ("etc/hosts", NAMES),
            ("etc/resolv.conf", &format!("nameserver {}\n", name_server.address)),
            ("etc/passwd", PASSWD),
            ("etc/group", GROUP),
            ("etc/nsswitch.conf", NSSWITCH),
        ] {
            fs::write(image.path(file), text).unwrap();
        }
        chown(image.path("home/alice"), Some(1000), Some(1001)).unwrap();
        let _ = image.run().run().exits(5).says("1000 1001 2000 /home/alice\n").says("carol");
        assert_eq!(fs::read_to_string(image.path("home/alice/saw")).unwrap(), key);
        fs::remove_dir_all(image.path("")).unwrap();
    }
}

#[test]
fn what_the_image_lacks_is_named() {
    if !needs_image("what_the_image_lacks_is_named") {
        return;
    }
    let name_server = NameServer::knowing("control.dns.test");
    let (World { env, server, workspace, .. }, _) = world();
    let known = format!("nameserver {}\n", name_server.address);
    for (url, servers, complaint) in [
        (at(&server, "nobody.test"), Some(known.as_str()), "the name servers of /etc/resolv.conf do not know the name"),
        (at(&server, "nobody.test"), None, "/etc/resolv.conf: "),
        (server.url().replace("http:", "https:"), None, "install ca-certificates or set SSL_CERT_FILE"),
    ] {
        let image = Image::minimal(&env, &server, &workspace, &["sleep", "1000"])
            .env("CODER_AGENT_URL", &url)
            .env("CODER_AGENT_ALLOW_ROOT", "true");
        if let Some(text) = servers {
            fs::write(image.path("etc/resolv.conf"), text).unwrap();
        }
        let mut run = image.run().spawn("runc");
        let _ = run.line_with(complaint, LONG);
        run.signal(Signal::SIGTERM);
        assert_eq!(run.exit_within(LONG).code, Some(128 + 15));
        fs::remove_dir_all(image.path("")).unwrap();
    }
}

#[test]
fn a_file_of_roots_is_enough_for_tls() {
    if !needs_image("a_file_of_roots_is_enough_for_tls") {
        return;
    }
    let (World { env, server, workspace, .. }, key) = world();
    drop(server);
    let identity = rcgen::generate_simple_self_signed(["control.file.test".to_owned()]).unwrap();
    let cert = env.write("server.pem", identity.cert.pem());
    let private = env.write("server.key", identity.signing_key.serialize_pem());
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    let server = env.server_with(["--tls-cert", cert.to_str().unwrap(), "--tls-key", private.to_str().unwrap()]);
    let image = Image::minimal(&env, &server, &workspace, &["sh", "-c", "printf %s \"$API_KEY\" > ~/saw; exit 5"])
        .env("CODER_AGENT_URL", &at(&server, "control.file.test"))
        .env("CODER_AGENT_ALLOW_ROOT", "true")
        .env("SSL_CERT_FILE", "/etc/roots.pem")
        .env("HOME", "/home/alice");
    fs::write(image.path("etc/hosts"), NAMES).unwrap();
    fs::copy(cert, image.path("etc/roots.pem")).unwrap();
    let _ = image.run().run().exits(5);
    assert_eq!(fs::read_to_string(image.path("home/alice/saw")).unwrap(), key);
}
