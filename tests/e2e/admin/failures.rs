//! What an administrator is told of secrets that were not delivered: of the last start, and no more than can be read.

use serde_json::json;
use tests::{LONG, Output, Workspace, World, wait_until};

const TITLE: &str = "delivery failures since the last start";

fn definition(script: &str) -> String {
    let script = json!({ "display_name": "Noise", "run_on_start": true, "script": script });
    json!({ "owner": "alice", "name": "dev", "agent": { "name": "main", "scripts": [script] } }).to_string()
}

/// The title of the section and its lines.
fn section(shown: &Output) -> Vec<String> {
    let lines = shown.stdout.lines().map(str::to_owned);
    lines.skip_while(|line| !line.starts_with(TITLE)).take_while(|line| !line.is_empty()).collect()
}

fn wait_log(workspace: &Workspace, texts: &[&str]) {
    wait_until(&format!("lines with {texts:?}"), LONG, || {
        let log = workspace.show_agent()["startup_log"].to_string();
        texts.iter().all(|text| log.contains(text))
    });
}

#[test]
fn failures_are_those_of_the_last_start_ten_at_most_and_no_output_of_scripts() {
    let world = World::new();
    let fail = |n: usize| world.alice.secret(&format!("s{n}"), &["--file", &format!("/proc/no/such/{n}")]);
    (0..12).for_each(|n| drop(fail(n)));
    let noise = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo noise $n >&2; done";
    let mut workspace = world.env.workspace(&definition(noise));
    let show = || world.env.admin(["workspace", "show", "alice/dev"]).run().success();
    let boot = |workspace: &Workspace| {
        let agent = world.agent(workspace).start();
        workspace.wait_lifecycle("ready");
        agent
    };
    let agent = boot(&workspace);
    wait_log(&workspace, &["noise 12", "/proc/no/such/11"]);
    // The script of the last template is one of nobody now.
    let token = std::mem::take(&mut workspace.agents);
    workspace = world.env.workspace(&definition("echo noise of the new template >&2"));
    workspace.agents = token;
    let shown = section(&show());
    assert_eq!(shown.len(), 1 + 10, "{shown:#?}");
    assert_eq!(shown[0], format!("{TITLE} (2 more, --json has all)"));
    assert!(shown[1..].iter().all(|line| line.contains("/proc/no/such/")), "{shown:#?}");
    drop(agent);
    workspace.wait_lifecycle("off");

    for n in 1..12 {
        let _ = world.alice.coder(["secret", "delete", &format!("s{n}"), "--yes"]).run().success();
    }
    let agent = boot(&workspace);
    wait_log(&workspace, &["noise of the new template"]);
    let shown = section(&show());
    assert!(shown.len() == 2 && shown[1].contains("/proc/no/such/0"), "{shown:#?}");
    // Programs get all that is kept.
    let outcomes = workspace.show_agent()["target_outcomes"].take();
    let outcomes: Vec<&str> = outcomes.as_array().unwrap().iter().filter_map(|line| line["output"].as_str()).collect();
    assert_eq!(outcomes.len(), 13, "{outcomes:#?}");
    drop(agent);
}
