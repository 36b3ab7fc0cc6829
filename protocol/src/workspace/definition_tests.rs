use super::*;

const EXAMPLE: &str = r#"owner: alice
name: dev
agent:                        # coder_agent
  name: main
  dir: ~/project
  env: { EDITOR: vim, API_URL: "https://$HOSTNAME/api", PORT: 8080, DEBUG: true }
  scripts:                    # coder_script
    - { display_name: Install tools, script: "make tools", run_on_start: true, start_blocks_login: true, timeout: 300 }
  metadata:                   # coder_agent.metadata
    - { key: disk, display_name: Disk, script: "df -h / | tail -1", interval: 60, timeout: 5 }
env:                          # coder_env
  - { name: PATH, value: /opt/tools/bin, merge_strategy: prepend }
"#;

fn fault(text: &str) -> Fault {
    parse(text).unwrap_err()
}

#[test]
fn the_example_of_the_contract_is_read() {
    let workspaces = parse(EXAMPLE).unwrap();
    let [workspace] = workspaces.as_slice() else { panic!("one workspace") };
    assert_eq!((workspace.owner.as_ref().unwrap().value.as_str(), workspace.name.value.as_str()), ("alice", "dev"));
    let [agent] = workspace.agents() else { panic!("one agent") };
    assert_eq!(agent.dir.as_ref().unwrap().as_str(), "~/project");
    assert_eq!(agent.connection_timeout.get(), 120);
    let env: Vec<_> = agent.env.iter().map(|(name, value)| (name.as_str(), value.value().expose())).collect();
    // Scalars that YAML would type keep the spelling of the file.
    let expected: [(&str, &[u8]); 4] =
        [("API_URL", b"https://$HOSTNAME/api"), ("DEBUG", b"true"), ("EDITOR", b"vim"), ("PORT", b"8080")];
    assert_eq!(env, expected);
    assert_eq!(agent.scripts[0].timeout.get(), 300);
    assert!(agent.scripts[0].start_blocks_login);
    assert_eq!(agent.metadata[0].interval.get(), 60);
    assert_eq!(workspace.env[0].merge_strategy, MergeStrategy::Prepend);
}

#[test]
fn several_documents_and_several_agents() {
    let text = format!("{EXAMPLE}---\nowner: bob\nname: two\nagents:\n  - name: a\n  - name: b\n---\n");
    let workspaces = parse(&text).unwrap();
    assert_eq!(workspaces.len(), 2);
    let names: Vec<_> = workspaces[1].agents().iter().map(|agent| agent.name.value.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(workspaces[1].line(), 14);
}

#[test]
fn each_fault_has_its_line_and_names_its_key() {
    const HEAD: &str = "owner: alice\nname: dev\n";
    let cases: [(&str, u64, &str); 18] = [
        ("agent:\n  name: main\n  directory: /x\n", 5, "directory"),
        ("agent:\n  name: main\ncolour: red\n", 5, "colour"),
        ("agent:\n  name: main\n  scripts:\n    - display_name: a\n      skript: b\n", 7, "skript"),
        ("agent:\n  name: main\n  name: other\n", 5, "name"),
        ("agent:\n  dir: /x\n", 4, "name"),
        ("agent:\n  name: main\n  env:\n    A=B: x\n", 6, "A=B"),
        ("agent:\n  name: main\n  env:\n    A: x\n    A: y\n", 7, "A"),
        ("agent:\n  name: main\nenv:\n  - { name: A, value: x, merge_strategy: sometimes }\n", 6, "sometimes"),
        ("agent:\n  name: main\nenv:\n  - { name: A, value: x, agent: nobody }\n", 6, "nobody"),
        ("agent:\n  name: main\n  connection_timeout: -1\n", 5, "negative"),
        ("agent:\n  name: main\n  connection_timeout: soon\n", 5, "whole number"),
        ("agent:\n  name: ma in\n", 4, "ma in"),
        (
            "agent:\n  name: main\n  metadata:\n    - { key: a, script: x }\n    - { key: a, script: x }\n",
            7,
            "metadata key a",
        ),
        (
            "agent:\n  name: main\n  scripts:\n    - { display_name: a, script: b, cron: '* * * * *' }\n",
            6,
            "six fields",
        ),
        ("agents:\n  - name: a\n  - name: a\n", 5, "agent a"),
        ("agent:\n  name: a\nagents:\n  - name: b\n", 2, "not both"),
        ("", 2, "no `agent`"),
        ("agent:\n  name: main\n  env: [A]\n", 5, "mapping"),
    ];
    for (tail, line, word) in cases {
        let fault = fault(&format!("{HEAD}{tail}"));
        assert_eq!(fault.line, Some(line), "{tail}{fault}");
        assert!(fault.detail.contains(word), "{tail}{fault}");
        assert!(!fault.detail.contains(" at line "), "{fault}");
    }
}

#[test]
fn a_fault_in_a_later_document_has_the_line_of_the_file() {
    let fault = fault(&format!("{EXAMPLE}---\nowner: bob\nname: two\nagnt: {{}}\n"));
    assert_eq!(fault.line, Some(16));
    assert!(fault.detail.contains("agnt"));
}

#[test]
fn missing_name_and_no_workspace_at_all() {
    assert!(fault("owner: alice\nagent: { name: main }\n").detail.contains("name"));
    assert!(fault("").detail.contains("no workspace"));
    assert!(fault("- a\n").line.is_some());
}

#[test]
fn no_message_shows_the_value_of_a_variable() {
    let long = "x".repeat(200_000);
    let heads = [
        format!("env: {{ A: canary{long} }}"),
        "env: { A: [canary] }".into(),
        "env: { A: { canary: 1 } }".into(),
        "env: { A: \"canary\\0\" }".into(),
        "env: { A: !!binary canary- }".into(),
        "env: { A: canary".into(),
        "env: { A: canary, A: canary }".into(),
        "env: canary".into(),
        "env: [{ A: canary }]".into(),
        "env: { A: x }\nenv: [canary]".into(),
        "env: { A: x }\nenv: canary".into(),
        "env: { A: x }\nenv: [{ name: B, value: [canary] }]".into(),
    ];
    for head in heads {
        let fault = fault(&format!("owner: alice\nname: dev\nagent:\n  name: main\n  {head}\n"));
        assert!(!fault.to_string().contains("canary"), "{fault}");
    }
}

#[test]
fn an_alias_bomb_is_refused() {
    let uses: Vec<String> = (0..=MAX_REPLAYED_EVENTS).map(|n| format!("    V{n}: *v")).collect();
    let uses = uses.join("\n");
    let text = format!("owner: &v alice\nname: dev\nagent:\n  name: main\n  env:\n{uses}");
    assert_eq!(fault(&text).line, Some(1));
    let fault = fault(&" ".repeat(MAX_FILE_BYTES + 1));
    assert!(fault.detail.contains("must not exceed"));
}

#[test]
fn messages_read_well() {
    let cases = [
        (
            "  dri: x",
            "5: unknown field `dri`, expected one of name, dir, env, motd_file, connection_timeout, scripts, metadata",
        ),
        ("  name: y", "5: duplicate mapping key `name` is not allowed here"),
        ("  connection_timeout: -1", "5: -1 seconds: must not be negative"),
        ("  env: [A]", "5: expected mapping start"),
        ("env: [{name: A}]", "5: missing field `value`"),
    ];
    for (tail, expected) in cases {
        let fault = fault(&format!("owner: alice\nname: dev\nagent:\n  name: main\n{tail}\n"));
        assert_eq!(fault.to_string(), expected);
    }
}
