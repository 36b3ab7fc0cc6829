use std::collections::HashMap;

use super::*;

fn message() -> wire::Manifest {
    wire::Manifest {
        agent_id: vec![1; 16],
        workspace_id: vec![2; 16],
        owner_username: "alice".into(),
        ..wire::Manifest::default()
    }
}

fn secret(env_name: &str, file_path: &str, value: &[u8]) -> wire::WorkspaceSecret {
    wire::WorkspaceSecret { env_name: env_name.into(), file_path: file_path.into(), value: value.to_vec() }
}

fn duration(seconds: i64, nanos: i32) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos }
}

#[test]
fn values_go_into_the_secret_set_and_nowhere_else() {
    let mut message = message();
    message.environment_variables = HashMap::from([("B".into(), "template-canary".into()), ("A".into(), "$B".into())]);
    message.secrets = vec![secret("TOKEN", "~/token", b"user-canary"), secret("", "/etc/x", b"\0\xff")];
    let (manifest, secrets) = split(message).unwrap();

    let template: Vec<_> = secrets.template.iter().map(|it| (it.name.as_str(), it.value.expose())).collect();
    assert_eq!(template, [("A", b"$B".as_slice()), ("B", b"template-canary")]);
    let first = &secrets.secrets[0];
    assert_eq!((first.env_name.as_deref(), first.file_path.as_deref()), (Some("TOKEN"), Some("~/token")));
    assert_eq!(first.value.expose(), b"user-canary");
    assert_eq!(
        (secrets.secrets[1].env_name.as_deref(), secrets.secrets[1].value.expose()),
        (None, b"\0\xff".as_slice())
    );
    let printed = format!("{manifest:?} {secrets:?}");
    assert!(printed.contains("alice") && !printed.contains("canary"), "{printed}");
}

#[test]
fn a_refused_variable_is_named_with_its_reason_and_its_file_is_kept() {
    let cases: [(&str, &[u8], Option<&str>); 8] = [
        ("GOOD_1", b"v", None),
        ("path", b"v", Some("path is a reserved environment variable name")),
        ("CODER_X", b"v", Some("environment variable names starting with CODER_ are reserved for internal use")),
        ("GIT_SSH", b"v", Some("environment variables starting with GIT_ are reserved")),
        ("LD_PRELOAD", b"v", Some("environment variables starting with LD_ are reserved")),
        ("A=B", b"v", Some("must start with a letter or underscore, followed by letters, digits, or underscores")),
        ("A\0", b"v", Some("must start with a letter or underscore, followed by letters, digits, or underscores")),
        ("A", b"v\0canary", Some("its value holds a null byte")),
    ];
    for (name, value, reason) in cases {
        let mut message = message();
        message.secrets = vec![secret(name, "~/f", value)];
        let (_, secrets) = split(message).unwrap();
        assert_eq!(secrets.secrets[0].env_name.as_deref(), reason.is_none().then_some(name));
        assert_eq!(secrets.secrets[0].file_path.as_deref(), Some("~/f"));
        let expected: Vec<_> =
            reason.iter().map(|reason| Refused { name: name.into(), reason: (*reason).into() }).collect();
        assert_eq!(secrets.refused, expected);
    }
}

#[test]
fn a_template_may_set_any_name_that_exec_can_carry() {
    let mut message = message();
    let variables = [("PATH", "/x"), ("LD_PRELOAD", "/x"), ("", "v"), ("A=B", "v"), ("N", "a\0b")];
    message.environment_variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let (_, secrets) = split(message).unwrap();
    let kept: Vec<_> = secrets.template.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(kept, ["LD_PRELOAD", "PATH"]);
    let refused: Vec<_> = secrets.refused.iter().map(|refused| refused.name.as_str()).collect();
    assert_eq!(refused, ["", "A=B", "N"]);
    assert!(secrets.refused[2].to_string().starts_with("variable \"N\" is not set: "));
}

#[test]
fn an_id_of_another_length_is_refused_by_its_field() {
    let error = |change: fn(&mut wire::Manifest)| {
        let mut message = message();
        message.scripts = vec![wire::WorkspaceAgentScript {
            id: vec![3; 16],
            log_source_id: vec![4; 16],
            ..wire::WorkspaceAgentScript::default()
        }];
        change(&mut message);
        split(message).unwrap_err().to_string()
    };
    assert_eq!(error(|it| it.agent_id = vec![1; 15]), "manifest: agent_id must be 16 bytes, not 15");
    assert_eq!(error(|it| it.agent_id = vec![0; 16]), "manifest: agent_id is all zeros");
    assert_eq!(error(|it| it.workspace_id.clear()), "manifest: workspace_id must be 16 bytes, not 0");
    assert_eq!(error(|it| it.scripts[0].id = vec![1; 17]), "manifest: scripts[0].id must be 16 bytes, not 17");
    assert_eq!(
        error(|it| it.scripts[0].log_source_id.clear()),
        "manifest: scripts[0].log_source_id must be 16 bytes, not 0"
    );
}

#[test]
fn metadata_durations_are_seconds_counted_in_nanoseconds() {
    let cases = [
        (Some(duration(0, 10)), Some(Duration::from_secs(10))),
        (Some(duration(5, 0)), Some(Duration::from_secs(5_000_000_000))),
        (Some(duration(0, 0)), None),
        (Some(duration(0, -5)), None),
        (Some(duration(i64::MAX, 0)), None),
        (None, None),
    ];
    for (sent, expected) in cases {
        let mut message = message();
        message.metadata = vec![wire::workspace_agent_metadata::Description {
            interval: sent,
            timeout: sent,
            ..wire::workspace_agent_metadata::Description::default()
        }];
        let (manifest, _) = split(message).unwrap();
        assert_eq!((manifest.metadata[0].interval, manifest.metadata[0].timeout), (expected, expected), "{sent:?}");
    }
}

#[test]
fn a_script_timeout_is_a_plain_duration_and_zero_is_none() {
    for (sent, expected) in [
        (Some(duration(300, 0)), Some(Duration::from_mins(5))),
        (Some(duration(0, 0)), None),
        (Some(duration(-1, 0)), None),
        (None, None),
    ] {
        let mut message = message();
        message.scripts = vec![wire::WorkspaceAgentScript {
            id: vec![3; 16],
            log_source_id: vec![4; 16],
            timeout: sent,
            ..wire::WorkspaceAgentScript::default()
        }];
        assert_eq!(split(message).unwrap().0.scripts[0].timeout, expected, "{sent:?}");
    }
}

#[test]
fn an_empty_target_is_no_target() {
    let mut message = message();
    message.secrets = vec![secret("", "", b"v")];
    let (_, secrets) = split(message).unwrap();
    assert_eq!((&secrets.secrets[0].env_name, &secrets.secrets[0].file_path), (&None, &None));
    assert!(secrets.refused.is_empty());
}

#[test]
fn a_template_says_what_is_sensitive_or_says_nothing() {
    let mut message = message();
    message.environment_variables = ["A", "B", "C"].map(|name| (name.to_owned(), "x".to_owned())).into();
    message.variable_sensitivity =
        [("A", true), ("B", false), ("GONE", true)].map(|(name, it)| (name.into(), it)).into();
    let (_, secrets) = split(message).unwrap();
    let marks: Vec<_> = secrets.template.iter().map(|it| it.sensitivity).collect();
    assert_eq!(marks, [Sensitivity::Sensitive, Sensitivity::Plain, Sensitivity::Unmarked]);
}

#[test]
fn a_script_without_a_name_is_called_after_its_log_or_its_occasion() {
    let named = |display_name: &str, log_path: &str| wire::WorkspaceAgentScript {
        display_name: display_name.into(),
        log_path: log_path.into(),
        run_on_start: true,
        ..Default::default()
    };
    for (script, expected) in [
        (named("Install", "~/install.log"), "Install"),
        (named("", "/tmp/logs/coder-startup-script.log"), "coder-startup-script.log"),
        (named("", ""), "startup script 3"),
        (wire::WorkspaceAgentScript { run_on_start: false, run_on_stop: true, ..named("", "") }, "stop script 3"),
        (wire::WorkspaceAgentScript { run_on_start: false, ..named("", "") }, "scheduled script 3"),
    ] {
        assert_eq!(script_name(2, &script), expected);
    }
}
