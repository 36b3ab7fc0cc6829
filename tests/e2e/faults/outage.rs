//! A connection that is lost while the workspace runs.

use std::fs;

use tests::{Agent, DEV, Fault, LONG, Workspace, wait_until};

use super::Proxied;

/// Waits for the test between its steps.
const CHATTY: &str = r#"
owner: alice
name: dev
agent:
  name: main
  scripts:
    - display_name: Chatty
      run_on_start: true
      script: |
        wait_for() { until [ -e "$HOME/$1" ]; do sleep 0.02; done; }
        echo line-0
        wait_for outage
        for n in $(seq 1 200); do echo line-$n; done
        echo >> ~/runs
        touch ~/printed
        wait_for again
        echo line-201
"#;

fn lines(workspace: &Workspace) -> Vec<String> {
    let log = workspace.show_agent()["startup_log"].take();
    let output = |line: &serde_json::Value| line["output"].as_str().unwrap_or_default().to_owned();
    log.as_array().unwrap().iter().map(output).filter(|line| line.starts_with("line-")).collect()
}

fn touch(agent: &Agent, name: &str) {
    fs::write(agent.home().join(name), "").unwrap();
}

#[test]
fn reports_of_an_outage_arrive_after_it_in_order_and_once() {
    let world = Proxied::new(CHATTY);
    let mut agent = world.env.agent(&world.proxy, &world.workspace).start();
    wait_until("the first line", LONG, || lines(&world.workspace) == ["line-0"]);
    world.workspace.wait_lifecycle("starting");

    world.proxy.set(Fault::Refuse);
    world.proxy.cut();
    touch(&agent, "outage");
    let _ = agent.wait_read("printed");
    touch(&agent, "again");
    let _ = agent.line_with("startup scripts ended", LONG);
    let updated = world.env.canary("updated");
    let _ = world.alice.coder(["secret", "update", "tool"]).stdin(&updated).run().success();
    assert_eq!(lines(&world.workspace), ["line-0"]);

    world.proxy.set(Fault::None);
    world.workspace.wait_lifecycle("ready");
    wait_until("the last line", LONG, || lines(&world.workspace).last().is_some_and(|line| line == "line-201"));
    assert_eq!(lines(&world.workspace), (0..=201).map(|n| format!("line-{n}")).collect::<Vec<_>>());
    wait_until("the refetched secret", LONG, || agent.read(".config/tool") == updated);
    // A new manifest does not run the scripts again.
    assert_eq!(agent.read("runs"), "\n");
    assert_eq!(agent.terminate().code, Some(0));
    let shown = world.workspace.show_agent();
    let states: Vec<_> = shown["lifecycle"].as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["starting", "ready", "shutting_down", "off"]);
    let results = shown["script_results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["status"]), (1, &"ok".into()), "{results:?}");
}

/// The main process neither ends nor starts again, and its successor's server is another process.
#[test]
fn the_main_process_outlives_its_server() {
    let mut world = Proxied::new(DEV);
    let main = "echo started >> ~/starts; until [ -e ~/end ]; do sleep 0.02; done; exit 5";
    let mut agent = world.env.agent(&world.proxy, &world.workspace).command(["sh", "-c", main]).start();
    let _ = agent.wait_read("starts");
    world.workspace.wait_lifecycle("ready");
    world.server.kill();
    let _ = agent.line_with("trying again until it works", LONG);
    let successor = world.env.server();
    world.proxy.point_to(&successor);
    wait_until("the agent connected again", LONG, || world.workspace.show_agent()["status"] == "connected");
    touch(&agent, "end");
    assert_eq!(agent.exit().code, Some(5));
    assert_eq!(agent.read("starts"), "started\n");
    world.workspace.wait_lifecycle("off");
}

/// A token that was rotated ends the session it opened.
#[test]
fn a_rotated_token_ends_the_session_and_the_new_one_opens_another() {
    let world = Proxied::new(DEV);
    let file = world.env.home().join("agent-token");
    fs::write(&file, world.workspace.token()).unwrap();
    let agent = world.env.agent(&world.proxy, &world.workspace).without("CODER_AGENT_TOKEN");
    let mut agent = agent.args(["--agent-token-file"]).args([&file]).start();
    world.workspace.wait_lifecycle("ready");
    let definition = world.env.write("again.yaml", DEV);
    let apply = ["workspace", "apply", "--json", "--rotate-tokens"];
    let applied = world.env.admin(apply).arg(definition).reveals().run().success().json();
    let token = applied["workspaces"][0]["agents"][0]["token"].as_str().unwrap();
    world.env.watch("rotated token", token.as_bytes());
    let _ = agent.line_with("the server refuses the agent token", LONG);
    assert_ne!(world.workspace.show_agent()["status"], "connected");
    fs::write(&file, token).unwrap();
    wait_until("the agent connected again", LONG, || world.workspace.show_agent()["status"] == "connected");
    assert_eq!(agent.terminate().code, Some(0));
}

#[test]
fn a_killed_agent_converges_when_it_starts_again() {
    let world = Proxied::new(DEV);
    let mut agent = world.env.agent(&world.proxy, &world.workspace).start();
    world.workspace.wait_lifecycle("ready");
    let home = agent.home().to_owned();
    agent.kill();
    let updated = world.env.canary("updated");
    let _ = world.alice.coder(["secret", "update", "tool"]).stdin(&updated).run().success();
    let mut agent = world.env.agent(&world.proxy, &world.workspace).home(&home).start();
    wait_until("the new value", LONG, || agent.read(".config/tool") == updated);
    world.workspace.wait_lifecycle("ready");
    let names: Vec<_> = fs::read_dir(home.join(".config")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["tool"], "a temporary file is left");
    assert_eq!(agent.terminate().code, Some(0));
}

/// Dead-peer detection takes 40 s: an agent whose server is silent, though its connection stands, dials again.
#[test]
#[ignore = "waits for the agent to give up a silent server; make test-long"]
fn a_silent_server_is_given_up() {
    let world = Proxied::new(DEV);
    let mut agent = world.env.agent(&world.proxy, &world.workspace).start();
    world.workspace.wait_lifecycle("ready");
    world.proxy.set(Fault::Stall);
    let dials = world.proxy.accepted();
    wait_until("another dial", 2 * LONG, || world.proxy.accepted() > dials);
    let _ = agent.line_with("the connection", LONG);
    world.proxy.set(Fault::None);
    world.proxy.cut();
    wait_until("the agent connected again", LONG, || world.workspace.show_agent()["status"] == "connected");
    assert_eq!(agent.terminate().code, Some(0));
}
