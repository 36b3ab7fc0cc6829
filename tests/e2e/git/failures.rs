//! What a user sees when there is no key, or when it is not wanted.

use tests::{Fault, Proxy, SHORT};

use super::fixture::Git;

/// ssh logs in without us wherever it can, and says why it did not where it cannot.
#[test]
fn without_a_key_ssh_does_what_it_always_did_and_we_say_why() {
    let Some(world) = Git::new("without_a_key_ssh_does_what_it_always_did_and_we_say_why") else { return };
    world.authorize();
    let proxy = Proxy::new(&world.server);
    let through = |token: &str| {
        let run = world.ssh(["git-host", "echo in"]).env("CODER_AGENT_URL", proxy.url());
        run.env("CODER_AGENT_TOKEN", token).limit(SHORT).run()
    };
    let token = world.workspace.token();
    assert_eq!(through(token).success().stdout, "in\n");
    for (fault, reason) in [
        (Fault::Answer(403), "the server answers 403"),
        (Fault::Answer(500), "the server answers 500"),
        (Fault::Refuse, "cannot send the request"),
        (Fault::Garbage, "cannot send the request"),
    ] {
        proxy.set(fault);
        let failed = through(token).exits(255).complains("Permission denied (publickey)");
        let _ = failed.complains("coder: your Coder key was not offered").complains(reason);
    }
    proxy.set(Fault::None);
    let _ = through("11111111-2222-4333-8444-555555555555").exits(255).complains("the server answers 401");
    let nowhere = world.ssh(["git-host", "echo in"]).without("CODER_AGENT_URL").without("CODER_AGENT_TOKEN");
    let _ = nowhere.run().exits(255).complains("this is no workspace");

    // Where another key of the user's logs in, nothing of this is in the way.
    let own = world.own_key("own");
    world.authorize_only(&own.public);
    let lone = world.ssh(["-i", &own.path, "git-host", "echo in"]).env("CODER_AGENT_URL", "http://127.0.0.1:1");
    let lone = lone.run().success();
    assert_eq!((lone.stdout.as_str(), lone.stderr.as_str()), ("in\n", ""));
}

#[test]
fn a_host_that_does_not_know_the_key_is_told_apart_from_one_that_is_away() {
    let Some(world) = Git::new("a_host_that_does_not_know_the_key_is_told_apart_from_one_that_is_away") else {
        return;
    };
    let denied = world.ssh(["git-host", "true"]).run().exits(255);
    let _ = denied.complains("did not accept your Coder key").complains(&world.public_key()).complains("github.com");
    let away = world.ssh(["-p", "1", "git-host", "true"]).run().exits(255);
    assert!(!away.stderr.contains("coder:"), "{}", away.stderr);
    world.authorize();
    let failed = world.ssh(["git-host", "exit 255"]).run().exits(255);
    assert!(!failed.stderr.contains("coder:"), "{}", failed.stderr);
}

#[test]
fn ssh_that_is_not_there_is_named() {
    let Some(world) = Git::new("ssh_that_is_not_there_is_named") else { return };
    let missing = world.ssh(["git-host"]).env("PATH", "/nonexistent").run().exits(127);
    let _ = missing.complains("cannot run ssh").complains("openssh-client");
}

#[test]
fn off_is_off() {
    let Some(world) = Git::new("off_is_off") else { return };
    world.authorize();
    let proxy = Proxy::new(&world.server);
    let run = world.ssh(["git-host", "true"]).env("CODER_AGENT_URL", proxy.url()).env("CODER_GITSSH", "off");
    let denied = run.run().exits(255);
    assert!(!denied.stderr.contains("coder:"), "{}", denied.stderr);
    assert_eq!(proxy.requests(), Vec::<String>::new());
}
