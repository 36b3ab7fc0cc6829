//! Commands, tokens and addresses of another kind than meant.

use super::World;

#[test]
fn a_command_that_is_not_there_names_the_one_that_is() {
    let env = tests::Env::new();
    for (line, instead) in [
        (&["secret", "get", "x"][..], "coder env NAME"),
        (&["secret", "show", "x"], "coder secret list NAME"),
        (&["secrets", "set", "x"], "coder secret create NAME"),
        (&["secret", "edit", "x"], "coder secret update NAME"),
        (&["--url", "http://127.0.0.1:1", "secret", "rename", "a", "b"], "Create the secret under its new name"),
        (&["run", "make"], "coder exec COMMAND"),
        (&["ssh", "dev"], "Coder's own command line"),
    ] {
        let out = env.coder(line).run().exits(2);
        assert!(out.stderr.starts_with("error: there is no command \"coder "), "{}", out.stderr);
        assert_eq!(out.stderr.lines().count(), 2, "{}", out.stderr);
        let _ = out.complains(instead);
    }
    let _ = env.coder(["secret", "nonsense"]).run().exits(2).complains("unrecognized subcommand 'nonsense'");
}

#[test]
fn tokens_and_addresses_of_another_kind_are_named() {
    let world = World::new();
    let workspace = world.env.workspace(tests::DEV);
    let url = world.server.url();
    let login = |url: &str, token: &str| world.env.coder(["login", url]).stdin(token).run();
    let quoted = format!("\"{}\"", world.alice.token);
    let _ = login(url, &quoted).exits(2).complains("in quotes");
    let _ = login(url, workspace.token()).exits(2).complains("the token of an agent");
    let _ = login(url, &format!("Bearer {}", world.alice.token)).exits(2).complains("has spaces");
    let page = format!("{url}/login");
    let _ = login(&page, &world.alice.token).exits(2).complains("a page of the server").complains(&format!("{url}/"));
    let listed = world.env.coder(["--url", url, "secret", "list"]).env("CODER_SESSION_TOKEN", &quoted).run().exits(2);
    let _ = listed.complains("in quotes");
    // And an agent with a user's token.
    let agent = world.env.coder(["agent", "--agent-url", url, "--allow-root", "--no-reap"]);
    let agent = agent.env("CODER_AGENT_TOKEN", &world.alice.token).run().exits(2);
    let _ = agent.complains("session token of a user");
}
