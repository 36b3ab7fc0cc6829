//! Commits and tags signed with the same key, verified by git itself.

use super::fixture::Git;

#[test]
fn commits_and_tags_are_signed_by_three_lines_of_configuration() {
    let Some(world) = Git::new("commits_and_tags_are_signed_by_three_lines_of_configuration") else { return };
    for algorithm in ["ed25519", "ecdsa"] {
        let world = if algorithm == "ed25519" { &world } else { &Git::start(algorithm) };
        world.set_up_signing();
        world.git_succeeds(["init", "-q", "repository"]);
        world.git_succeeds(["-C", "repository", "commit", "-q", "-S", "--allow-empty", "-m", "signed"]);
        world.git_succeeds(["-C", "repository", "tag", "-s", "-m", "signed", "v1"]);
        let allowed = world.env.path("work/allowed");
        std::fs::write(&allowed, format!("alice@example.com {}\n", world.public_key())).unwrap();
        let setting = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
        for check in [["verify-commit", "HEAD"], ["verify-tag", "v1"]] {
            let verified = world.git(["-C", "repository", "-c", &setting, check[0], check[1]]).success();
            assert!(verified.stderr.contains("Good \"git\" signature for alice@example.com"), "{}", verified.stderr);
        }
        std::fs::write(&allowed, "alice@example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA\n").unwrap();
        let _ = world.git(["-C", "repository", "-c", &setting, "verify-commit", "HEAD"]).exits(1);
        assert!(world.sockets().is_empty());
    }
}

#[test]
fn without_a_key_there_is_no_commit_and_a_reason() {
    let Some(world) = Git::new("without_a_key_there_is_no_commit_and_a_reason") else { return };
    world.set_up_signing();
    world.git_succeeds(["init", "-q", "repository"]);
    let commit = ["-C", "repository", "commit", "-q", "-S", "--allow-empty", "-m", "signed"];
    let failed = world.git_run(commit).env("CODER_AGENT_URL", "http://127.0.0.1:1").run().exits(128);
    assert!(failed.stderr.contains("cannot send the request"), "{}", failed.stderr);
}
