//! From a Terraform state to a workspace, through the executables.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::{Output, User, World};

use super::author;
use crate::peers::client::Client;
use crate::peers::wire::{self, Field, all};

fn path(folder: &str, file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../protocol/testdata/terraform", folder, file].iter().collect()
}

fn expected(folder: &str) -> Value {
    serde_json::from_slice(&fs::read(path(folder, "expect.json")).unwrap()).unwrap()
}

fn folders() -> Vec<String> {
    let entries = fs::read_dir(path("", "")).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir());
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Treats every sensitive value and token of a folder as a canary.
fn watch(world: &World<()>, expected: &Value) {
    for agent in items(&expected["agents"]) {
        for name in items(&agent["sensitive_env"]) {
            world.env.watch("sensitive variable", agent["env"][name.as_str().unwrap()].as_str().unwrap().as_bytes());
        }
        if let Some(token) = agent["token"].as_str() {
            world.env.watch("agent token", token.as_bytes());
        }
    }
    for item in items(&expected["resources"]).iter().flat_map(|resource| items(&resource["metadata"])) {
        if item["sensitive"] == true && item["value"].as_str().is_some_and(|value| value.len() >= 8) {
            world.env.watch("sensitive item", item["value"].as_str().unwrap().as_bytes());
        }
    }
}

fn apply(user: &User, folder: &str, file: &str, flags: &[&str]) -> Output {
    let run = user.coder(["workspace", "apply", "--name", folder, "--terraform"]).arg(path(folder, file));
    run.args(flags).reveals().run()
}

#[test]
fn every_state_becomes_the_workspace_that_it_describes() {
    let world = World::new();
    let alice = author(&world.env, "alice");
    for folder in folders() {
        let expected = expected(&folder);
        watch(&world, &expected);
        if expected["outcome"] == "refused" {
            for file in ["show.json", "state.tfstate"].iter().filter(|file| path(&folder, file).exists()) {
                let mut refused = apply(&alice, &folder, file, &[]).exits(2);
                for name in items(&expected["names"]) {
                    refused = refused.complains(name.as_str().unwrap());
                }
            }
            let _ = alice.coder(["workspace", "show", &folder]).run().exits(1);
            continue;
        }
        let applied = apply(&alice, &folder, "show.json", &["--json"]).success().json();
        let again = apply(&alice, &folder, "state.tfstate", &["--json"]).success().json();
        assert_eq!(again["workspaces"][0]["changes"], json!([]), "{folder}: both inputs say the same");
        shows(&alice, &folder, &expected);
        for (agent, made) in items(&expected["agents"]).iter().zip(items(&applied["workspaces"][0]["agents"])) {
            let token = agent["token"].as_str().or(made["token"].as_str()).unwrap().to_owned();
            world.env.watch("agent token", token.as_bytes());
            assert_eq!(made["token"].is_null(), agent["token"].is_string(), "{folder}: a known token is not shown");
            delivers(&world, &token, agent);
        }
        for address in items(&expected["left_out"]) {
            assert!(applied["workspaces"][0]["notes"].to_string().contains(address.as_str().unwrap()), "{folder}");
        }
    }
}

/// What the API and `show --reveal` say of resources.
fn shows(alice: &User, folder: &str, expected: &Value) {
    let shown = alice.coder(["workspace", "show", folder, "--json"]).run().success().json();
    let build = &shown["latest_build"];
    let wanted = if expected["outcome"] == "stopped" { "stop" } else { "start" };
    assert_eq!(build["transition"], wanted, "{folder}");
    let resources = items(&build["resources"]).iter().filter(|resource| resource["address"].is_string());
    let found: Vec<Value> = resources
        .map(|resource| {
            let metadata: Vec<_> = items(&resource["metadata"])
                .iter()
                .map(|item| json!({ "key": item["key"], "value": item["value"], "sensitive": item["sensitive"] }))
                .collect();
            json!({
                "address": resource["address"], "type": resource["type"], "name": resource["name"],
                "module_path": resource["module_path"], "hide": resource["hide"], "icon": resource["icon"],
                "daily_cost": resource["daily_cost"], "metadata": metadata,
            })
        })
        .collect();
    let mut wanted = expected["resources"].clone();
    for resource in wanted.as_array_mut().unwrap() {
        let address = resource["address"].as_str().unwrap().to_owned();
        for item in resource["metadata"].as_array_mut().unwrap() {
            let value = item["value"].as_str().unwrap_or_default().to_owned();
            if item["sensitive"] == true {
                let what = format!("{address}/{}", item["key"].as_str().unwrap());
                let revealed = alice.coder(["workspace", "show", folder, "--reveal", &what]).reveals().run().success();
                assert_eq!(revealed.stdout, format!("{value}\n"), "{folder} {what}");
                item["value"] = "".into();
            } else {
                item["value"] = value.into();
            }
        }
    }
    assert_eq!(Value::from(found), wanted, "{folder}");
}

/// What an agent gets that dials with this token.
fn delivers(world: &World<()>, token: &str, expected: &Value) {
    let manifest = Client::dial(&world.server, token).manifest();
    let pairs = |number: u32| {
        let entries = all(&manifest, number).into_iter().map(|entry| wire::fields(entry.bytes()));
        entries.collect::<Vec<_>>()
    };
    let text = |fields: &[(u32, Field)], number| all(fields, number).first().map(Field::text).unwrap_or_default();
    let env: BTreeMap<String, String> = pairs(3).iter().map(|entry| (text(entry, 1), text(entry, 2))).collect();
    let wanted: BTreeMap<String, String> = expected["env"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(env.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (name, value) in &wanted {
        // What joins to nothing joins to the variable that the workspace inherits.
        let bare = env[name].replace(&format!(":${{{name}}}"), "").replace(&format!("${{{name}}}:"), "");
        assert_eq!(&bare, value, "{name}");
    }
    let marked: Vec<_> = pairs(10_001).iter().map(|entry| text(entry, 1)).collect();
    let mut marked: Vec<_> = marked.into_iter().map(Value::from).collect();
    marked.sort_by_key(ToString::to_string);
    assert_eq!(Value::from(marked), expected["sensitive_env"]);
    let scripts: Vec<_> = pairs(10).iter().map(|script| json!([text(script, 9), text(script, 3)])).collect();
    let wanted: Vec<_> =
        items(&expected["scripts"]).iter().map(|it| json!([it["display_name"], it["script"]])).collect();
    assert_eq!(scripts, wanted);
}

/// The seed's first example: a secret that a provider made is in the startup script and in every session, byte for byte.
#[test]
fn a_dynamic_secret_reaches_the_startup_script_and_a_session() {
    let world = World::new();
    let alice = author(&world.env, "alice");
    let expected = expected("dynamic-secret");
    watch(&world, &expected);
    let shown = fs::read(path("dynamic-secret", "show.json")).unwrap();
    let applied = alice.coder(["workspace", "apply", "--terraform", "-"]).stdin(shown).run().success();
    let _ = applied.says("alice/dev").says("created");
    let token = expected["agents"][0]["token"].as_str().unwrap();
    let agent = world.env.agent_with_token(&world.server, token).start().listening();
    let value = expected["agents"][0]["env"]["TWILIO_API_SECRET"].as_str().unwrap();
    assert_eq!(agent.wait_read("startup-saw"), value);
    let run = agent.coder(["exec", "--wait", "30s", "--", "sh", "-c", "printf %s \"$TWILIO_API_SECRET\""]);
    assert_eq!(run.reveals().run().success().stdout, value);
}

/// The seed's second example: a displayed secret is hidden until its owner asks for it, which is recorded.
#[test]
fn a_displayed_secret_is_dots_until_it_is_revealed() {
    let world = World::new();
    let bob = world.env.user("bob");
    let alice = author(&world.env, "alice");
    watch(&world, &expected("displayed-secret"));
    let _ = apply(&alice, "dev", "show.json", &[]).exits(2).complains("cannot read");
    let state = path("displayed-secret", "show.json");
    let _ = alice.coder(["workspace", "apply", "--terraform"]).arg(state).reveals().run().success();
    let shown = alice.coder(["workspace", "show", "dev"]).run().success();
    let _ = shown.says("Administrator").says("••••••••");
    let _ = world.env.admin(["workspace", "show", "alice/dev"]).run().success().says("••••••••");
    let what = "random_password.api_key/Password";
    let weak = world.alice.coder(["workspace", "show", "dev", "--reveal", what]).run();
    let _ = weak.exits(1).complains("coder login --scope workspaces");
    let revealed = alice.coder(["workspace", "show", "dev", "--reveal", what]).reveals().run().success();
    assert_eq!(revealed.stdout, "p*fZ1gDCne0fYgC5:ncmrfO]\n");
    let _ = alice.coder(["workspace", "show", "dev", "--reveal", "random_password.api_key/Nope"]).run().exits(2);
    let _ = bob.coder(["workspace", "show", "alice/dev", "--reveal", what]).run().exits(1);
    let records = world.env.admin(["audit", "--user", "alice", "--json"]).run().success().json();
    let reveals: Vec<_> = items(&records).iter().filter(|it| it["action"] == "reveal").collect();
    assert_eq!(reveals.len(), 1);
    assert_eq!(reveals[0]["target"], "alice/dev random_password.api_key/Password");
}

#[test]
fn a_stopped_workspace_refuses_its_agents_until_it_starts_again() {
    let world = World::new();
    let alice = author(&world.env, "alice");
    let expected = expected("dynamic-secret");
    watch(&world, &expected);
    let to_dev = |folder: &str| {
        let run = alice.coder(["workspace", "apply", "--name", "dev", "--terraform"]).arg(path(folder, "show.json"));
        run.reveals().run().success()
    };
    let _ = to_dev("dynamic-secret").says("created");
    let token = expected["agents"][0]["token"].as_str().unwrap();
    let session = Client::dial(&world.server, token);
    let _ = to_dev("stopped").says("stopped");
    let _ = session.ending();
    let dial = || Client::try_dial(&world.server, "", &[("Coder-Session-Token", token)]).map(drop);
    assert_eq!(dial().unwrap_err().status, 401);
    let _ = alice.coder(["workspace", "list"]).run().success().says("stopped");
    let _ = to_dev("dynamic-secret").says("updated");
    assert!(dial().is_ok());
}

#[test]
fn a_token_belongs_to_one_workspace() {
    let world = World::new();
    world.env.user("bob");
    let (alice, bob) = (author(&world.env, "alice"), author(&world.env, "bob"));
    watch(&world, &expected("dynamic-secret"));
    let state = path("dynamic-secret", "state.tfstate");
    let apply = |user: &User, flags: &[&str]| {
        user.coder(["workspace", "apply", "--terraform"]).arg(&state).args(flags).reveals().run()
    };
    let _ = apply(&alice, &[]).success();
    let _ = apply(&alice, &["--name", "other"]).exits(1).complains("the token belongs to workspace dev already");
    let _ = apply(&bob, &[]).exits(2).complains("belongs to alice, and you are bob; --ignore-owner");
    let refused = apply(&bob, &["--ignore-owner"]).exits(1).complains("coder_agent.main: the token is in use");
    assert!(!refused.stderr.contains("alice"), "{}", refused.stderr);
    // On the server's machine the owner is said or stated.
    let admin = |flags: &[&str]| {
        world.env.admin(["workspace", "apply", &format!("--terraform={}", state.display())]).args(flags).reveals().run()
    };
    let _ = admin(&[]).success().says("unchanged");
    let _ = admin(&["--owner", "bob"]).exits(2).complains("belongs to alice, not to bob");
    // A deleted workspace's tokens are free.
    let _ = alice.coder(["workspace", "delete", "dev", "--yes"]).run().success();
    let _ = apply(&bob, &["--ignore-owner"]).success().says("bob/dev");
}

#[test]
fn terraform_env_is_for_eval_and_holds_no_secret() {
    let world = World::new();
    let printed = world.alice.coder(["workspace", "terraform-env", "dev"]).run().success();
    let printed = printed.says("export CODER_WORKSPACE_NAME='dev'").says("export CODER_WORKSPACE_OWNER='alice'");
    let printed = printed
        .says("export CODER_WORKSPACE_TRANSITION='start'")
        .says(&format!("CODER_AGENT_URL='{}'", world.server.url()));
    assert!(!printed.stdout.contains("BUILD_ID") && !printed.stdout.contains("TOKEN"), "{}", printed.stdout);
    let stop = world.alice.coder(["workspace", "terraform-env", "dev", "--transition", "stop"]).run().success();
    let _ = stop.says("TRANSITION='stop'");
    watch(&world, &expected("dynamic-secret"));
    let state = path("dynamic-secret", "state.tfstate");
    let kept = world.alice.coder(["workspace", "terraform-env", "dev", "--state"]).arg(state).reveals().run().success();
    let token = expected("dynamic-secret")["agents"][0]["token"].as_str().unwrap().to_owned();
    let _ = kept.says(&format!(
        "CODER_RUNNING_WORKSPACE_AGENT_TOKEN_e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855='{token}'"
    ));
}
