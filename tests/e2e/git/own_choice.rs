//! What the user has chosen, for ssh or for git, comes before our key.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tests::Proxy;

use super::fixture::Git;

#[test]
fn an_identity_file_of_the_users_choice_is_used_and_ours_is_not_fetched() {
    let Some(world) = Git::new("an_identity_file_of_the_users_choice_is_used_and_ours_is_not_fetched") else {
        return;
    };
    let own = world.own_key("own");
    world.authorize_only(&own.public);
    let proxy = Proxy::new(&world.server);
    let run = |args: [&str; 4]| world.ssh(args).env("CODER_AGENT_URL", proxy.url()).run();
    assert_eq!(run(["-i", &own.path, "git-host", "echo in"]).success().stdout, "in\n");
    assert_eq!(proxy.requests(), Vec::<String>::new());
    // One that does not exist is no choice.
    world.authorize();
    assert_eq!(run(["-i", "/nonexistent", "git-host", "echo in"]).success().stdout, "in\n");
    world.authorize_only("");
    let denied = run(["-i", &own.path, "git-host", "echo in"]).exits(255);
    let _ = denied.complains("because your ssh configuration names the identity file");
}

#[test]
fn an_agent_of_the_users_choice_is_honoured() {
    let Some(world) = Git::new("an_agent_of_the_users_choice_is_honoured") else { return };
    let agent = world.own_agent();
    let own = world.own_key("own");
    agent.add(&world, &own);
    world.authorize_only(&own.public);
    // By configuration.
    world.configure(&format!("IdentityAgent {}", agent.socket));
    assert_eq!(world.ssh(["git-host", "echo in"]).run().success().stdout, "in\n");
    world.authorize();
    let denied = world.ssh(["git-host", "true"]).run().exits(255);
    let _ = denied.complains("because your ssh configuration names the agent");
}

#[test]
fn keys_of_the_users_own_agent_come_first() {
    let Some(world) = Git::new("keys_of_the_users_own_agent_come_first") else { return };
    let agent = world.own_agent();
    let own = world.own_key("own");
    agent.add(&world, &own);
    let seen = world.env.path("work/seen");
    world.configure(&format!("PermitLocalCommand yes\n LocalCommand ssh-add -L > '{}'", seen.display()));
    let run = || world.ssh(["git-host", "echo in"]).env("SSH_AUTH_SOCK", &agent.socket).run();
    world.authorize_only(&own.public);
    assert_eq!(run().success().stdout, "in\n");
    let blob = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
    let offered: Vec<_> = std::fs::read_to_string(&seen).unwrap().lines().map(blob).collect();
    assert_eq!(offered, [blob(&own.public), blob(&world.public_key())]);
    world.authorize();
    assert_eq!(run().success().stdout, "in\n");
    // AddKeysToAgent and the like go to the user's agent as ever.
    let added = world.own_key("added");
    world.authorize_only(&added.public);
    let adding = world.ssh(["-i", &added.path, "-o", "AddKeysToAgent=yes", "git-host", "true"]);
    let _ = adding.env("SSH_AUTH_SOCK", &agent.socket).run().success();
    assert!(agent.list(&world).contains(&blob(&added.public)));
}

/// `IdentityFile` with the public part alone is how a key of an agent is picked.
#[test]
fn our_key_is_offered_where_it_is_picked_by_its_public_part() {
    let Some(world) = Git::new("our_key_is_offered_where_it_is_picked_by_its_public_part") else { return };
    world.authorize();
    let own = world.own_key("own");
    let picked = world.env.path("work/picked");
    let (shown, public) = (picked.display().to_string(), format!("{}.pub", picked.display()));
    fs::write(&public, world.public_key()).unwrap();
    let run = |args: &[&str]| world.ssh([args, &["git-host", "echo in"]].concat()).run();
    for file in [&public, &shown] {
        let file = format!("IdentityFile={file}");
        assert_eq!(run(&["-o", &file]).success().stdout, "in\n");
        assert_eq!(run(&["-o", &file, "-o", "IdentitiesOnly=yes"]).success().stdout, "in\n");
    }
    fs::write(&public, &own.public).unwrap();
    let denied = run(&["-i", &public]).exits(255);
    let _ = denied.complains("because your ssh configuration names the identity file");
}

#[test]
fn the_users_own_ssh_command_of_git_is_not_overruled() {
    let Some(world) = Git::new("the_users_own_ssh_command_of_git_is_not_overruled") else { return };
    world.repository("tool.git");
    let own = world.own_key("own");
    world.authorize_only(&own.public);
    let command = format!("ssh -F '{}' -i '{}'", world.config().display(), own.path);
    world.git_succeeds(["config", "--global", "core.sshCommand", &command]);
    world.git_succeeds(["clone", "-q", &world.url("tool.git"), "global"]);
    // In one repository only; and one that names us does not call itself for ever.
    let ours = world.git_ssh_command();
    world.git_succeeds(["config", "--global", "core.sshCommand", &ours]);
    world.git_succeeds(["-C", "global", "config", "core.sshCommand", &command]);
    world.git_succeeds(["-C", "global", "fetch"]);
    world.authorize();
    world.git_succeeds(["ls-remote", &world.url("tool.git")]);
}

/// A program in ssh's place. git asks it first whether it is OpenSSH, which it is not.
fn mine(world: &Git) -> String {
    let path = world.env.path("work/mine");
    fs::write(&path, "#!/bin/sh\necho \"mine: $*\" >&2\nexit 1\n").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// As git itself calls a program that is not OpenSSH.
const CALLED: &str = "mine: git-host git-upload-pack '/nowhere.git'";

#[test]
fn whatever_git_is_told_to_run_is_run_as_git_would() {
    let Some(world) = Git::new("whatever_git_is_told_to_run_is_run_as_git_would") else { return };
    let mine = mine(&world);
    let setting = format!("core.sshCommand={mine}");
    world.git_succeeds(["init", "-q", "plain"]);
    world.git_succeeds(["init", "-q", "set"]);
    world.git_succeeds(["-C", "set", "config", "core.sshCommand", &mine]);
    let set = world.env.path("work/set/.git").display().to_string();
    let agent = world.agent(&world.server, &world.workspace);
    let url = "git-host:/nowhere.git";
    let git = |args: &[&str]| world.exec(&agent, [&["git"], args].concat());
    for run in [
        git(&["-C", "set", "fetch", url]),
        git(&["--git-dir", &set, "fetch", url]),
        git(&["fetch", url]).env("GIT_DIR", &set),
        git(&["-C", "plain", "-c", &setting, "fetch", url]),
        git(&["clone", "-c", &setting, url, "new"]),
        git(&["clone", &format!("--config={setting}"), url, "new"]),
        git(&["ls-remote", url])
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "core.sshCommand")
            .env("GIT_CONFIG_VALUE_0", &mine),
        git(&["ls-remote", url]).env("GIT_SSH", &mine),
        git(&["ls-remote", url]).env("GIT_SSH_COMMAND", &mine),
    ] {
        let _ = run.run().exits(128).complains(CALLED);
    }
    // The repository that somebody is in says nothing about another one that is cloned.
    let cloned = git(&["clone", url, "../new"]).cwd(world.env.path("work/set")).run().exits(128);
    assert!(!cloned.stderr.contains("mine:"), "{}", cloned.stderr);
}

#[test]
fn a_template_may_choose_and_a_variant_of_ssh_is_honoured() {
    let Some(world) = Git::new("a_template_may_choose_and_a_variant_of_ssh_is_honoured") else { return };
    let mine = mine(&world);
    let list = ["git", "ls-remote", "git-host:/nowhere.git"];
    for name in ["GIT_SSH", "GIT_SSH_COMMAND"] {
        let chosen = format!("env:\n  - {{ name: {name}, value: '{mine}' }}\n");
        let workspace =
            format!("owner: alice\nname: {}\nagent: {{ name: main }}\n{chosen}", name.to_lowercase().replace('_', "-"));
        let agent = world.agent(&world.server, &world.env.workspace(&workspace));
        let _ = world.exec(&agent, list).run().exits(128).complains(CALLED);
    }
    // Neither can be a secret.
    let refused = world.alice.coder(["secret", "create", "ssh", "--env", "GIT_SSH"]).stdin(&mine).run();
    let _ = refused.complains("reserved");

    world.authorize();
    world.repository("tool.git");
    let agent = world.agent(&world.server, &world.workspace);
    let url = world.url("tool.git");
    let variant = ["git", "-c", "ssh.variant=simple", "ls-remote", &url];
    let _ = world.exec(&agent, variant).run().success();
}
