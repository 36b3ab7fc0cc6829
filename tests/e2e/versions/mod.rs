//! `coder secret` against other versions of Coder's server, and with proxies in between.

mod model;

use serde_json::json;
use tests::{Env, Output};

use model::{Fault, Model, Secrets, Version};

fn coder(env: &Env, model: &Model, args: &[&str]) -> Output {
    env.coder(args).env("CODER_URL", &model.url).env("CODER_SESSION_TOKEN", "abcdefghij-x").run()
}

/// What the command line says of a change.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Made,
    Failed,
    Unsure,
}

fn said(output: &Output) -> Said {
    match output.exit.code {
        Some(0) => Said::Made,
        Some(1) if output.stderr.contains("may have been") => Said::Unsure,
        Some(1) => Said::Failed,
        code => panic!("`{}` exits with {code:?}\n{}", output.line, output.stderr),
    }
}

/// A command, and whether the secrets are as it should leave them.
type Change = (&'static [&'static str], fn(&Secrets) -> bool);

const CHANGES: [Change; 7] = [
    (&["secret", "create", "new", "--value", "v", "--env", "NEW"], |it| it.contains_key("new")),
    (&["secret", "update", "old", "--value", "v"], |it| it["old"]["value"] == "v"),
    (&["secret", "update", "old", "--env", "E", "--description", "d"], |it| it["old"]["env_name"] == "E"),
    (&["secret", "disable", "old"], |it| it["old"].get("enabled") == Some(&json!(false))),
    (&["secret", "delete", "old", "--yes"], |it| !it.contains_key("old")),
    (&["secret", "import", "x.env"], |it| it.contains_key("A") && it.contains_key("B")),
    (&["secret", "import", "x.env", "--update"], |it| it.contains_key("A") && it.contains_key("B")),
];

/// The promise: a change that was made is never called failed, one that was not is never called made.
fn holds_for(version: Version) {
    let env = Env::new();
    env.write("x.env", "A=1\nB=2\n");
    let model = Model::new(version);
    for fault in Fault::ALL {
        model.set(fault);
        for (command, is_made) in CHANGES {
            model.reset();
            let output = coder(&env, &model, command);
            let (said, made) = (said(&output), is_made(&model.secrets()));
            let story = format!("{version:?} {fault:?} `{}`\n{}{}", output.line, output.stdout, output.stderr);
            assert!(!(made && said == Said::Failed), "made, and called failed: {story}");
            assert!(made || said != Said::Made, "not made, and called made: {story}");
            if fault == Fault::None {
                assert_ne!(said, Said::Unsure, "{story}");
            }
            // With a hint where to look, and with the error first.
            assert!(said != Said::Unsure || output.stderr.contains("coder secret list"), "{story}");
            assert!(said == Said::Made || output.stderr.contains("error: "), "{story}");
        }
    }
}

#[test]
fn without_batch_no_change_is_called_what_it_is_not() {
    holds_for(Version::WithoutBatch);
}

#[test]
fn without_enabled_no_change_is_called_what_it_is_not() {
    holds_for(Version::WithoutEnabled);
}

#[test]
fn of_today_no_change_is_called_what_it_is_not() {
    holds_for(Version::Whole);
}

#[test]
fn of_the_future_no_change_is_called_what_it_is_not() {
    holds_for(Version::Future);
}

#[test]
fn every_version_with_secrets_is_read_and_changed_without_a_warning() {
    let env = Env::new();
    env.write("x.env", "A=1\n");
    for version in Version::STORING {
        let model = Model::new(version);
        model.reset();
        for (command, stdout) in [
            (&["secret", "create", "new", "--value", "v", "--env", "NEW"][..], "Created secret new.\n"),
            (&["secret", "update", "new", "--description", "d"], "Updated secret new.\n"),
            (&["secret", "list", "new", "--column", "name,env,enabled"], "NAME  ENV  ENABLED\nnew   NEW  true\n"),
            (&["secret", "list", "--column", "name"], "NAME\nnew\nold\n"),
        ] {
            let output = coder(&env, &model, command).success();
            assert_eq!((output.stdout.as_str(), output.stderr.as_str()), (stdout, ""), "{version:?}");
        }
        let listed = coder(&env, &model, &["secret", "list", "-o", "json"]).success().json();
        assert_eq!((&listed[0]["name"], &listed[0]["enabled"]), (&json!("new"), &json!(true)), "{version:?}");
    }
}

#[test]
fn a_change_whose_answer_cannot_be_read_is_said_to_be_stored() {
    let env = Env::new();
    let model = Model::new(Version::WithoutEnabled);
    for fault in [Fault::Unreadable, Fault::OtherFields, Fault::CutBody] {
        model.set(fault);
        model.reset();
        let output = coder(&env, &model, &["secret", "create", "new", "--value", "v", "--env", "NEW"]).success();
        assert_eq!(output.stdout, "Created secret new.\n");
        let _ = output.complains("stored, but the server's answer could not be read: ");
    }
}

#[test]
fn what_a_server_cannot_do_is_refused_before_it_is_asked_or_undone() {
    let env = Env::new();
    let model = Model::new(Version::WithoutEnabled);
    let unable = "this server (v2.36.0) delivers every secret and cannot disable one";
    model.reset();
    let before = model.secrets();
    let refused = |args: &[&str], so: &str| {
        let _ = coder(&env, &model, args).exits(1).complains(unable).complains(so);
        assert_eq!(model.secrets(), before);
    };
    refused(&["secret", "create", "x", "--value", "v", "--env", "X", "--enabled=false"], "nothing was stored");
    refused(&["secret", "update", "old", "--enabled=false", "--description", "d"], "nothing was changed");
    assert!(model.requests().iter().all(|request| request.starts_with("GET ")), "{:?}", model.requests());
    refused(&["secret", "update", "old", "--enabled=false"], "nothing was changed");
    refused(&["secret", "disable", "old"], "nothing was changed");

    // Nothing tells the version before the first secret.
    model.clear();
    let create = ["secret", "create", "x", "--value", "v", "--env", "X", "--enabled=false"];
    let _ = coder(&env, &model, &create).exits(1).complains(unable).complains("deleted again");
    assert!(model.secrets().is_empty());

    let whole = Model::new(Version::Whole);
    let _ = coder(&env, &whole, &create).success();
    assert_eq!(whole.secrets()["x"]["enabled"], false);
}

#[test]
fn a_server_without_secrets_or_import_is_called_that() {
    let env = Env::new();
    env.write("x.env", "A=1\n");
    let model = Model::new(Version::WithoutSecrets);
    for command in [
        &["secret", "list"][..],
        &["secret", "list", "x"],
        &["secret", "create", "x", "--value", "v"],
        &["secret", "update", "x", "--value", "v"],
        &["secret", "delete", "x", "--yes"],
        &["secret", "enable", "x"],
        &["secret", "import", "x.env"],
        &["secret", "import", "x.env", "--dry-run"],
    ] {
        let output = coder(&env, &model, command).exits(1).complains("this server (v2.30.0) has no user secrets");
        assert!(!output.stderr.contains("coder secret list"), "{}", output.stderr);
    }
    let model = Model::new(Version::WithoutBatch);
    let output = coder(&env, &model, &["secret", "import", "x.env"]).exits(1);
    let _ = output.complains("this server (v2.34.0) cannot import").complains("coder secret create");
}

#[test]
fn a_gateway_is_not_called_a_wrong_address() {
    let env = Env::new();
    let model = Model::new(Version::Whole);
    for (fault, status) in [(Fault::BadGateway, "502"), (Fault::GatewayTimeout, "504")] {
        model.set(fault);
        model.reset();
        let output = coder(&env, &model, &["secret", "create", "x", "--value", "v", "--env", "X"]).exits(1);
        assert!(!output.stderr.contains("Check the address"), "{}", output.stderr);
        let _ = output.complains(status).complains("may have been stored").complains("coder secret list x");
    }
}
