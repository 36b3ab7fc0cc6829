//! What the command line accepts; what the commands do is tested end to end.

use super::*;

fn parses(line: &[&str]) {
    if let Err(error) = command().try_get_matches_from(line) {
        panic!("{line:?}: {error}");
    }
}

fn refused(line: &[&str]) -> String {
    match command().try_get_matches_from(line) {
        Ok(_) => panic!("{line:?} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_definition_is_sound() {
    command().debug_assert();
}

#[test]
fn every_command_of_the_documentation_parses() {
    parses(&[
        "coder",
        "secret",
        "create",
        "api-key",
        "--description",
        "API key for workspace tools",
        "--env",
        "API_KEY",
    ]);
    parses(&["coder", "secret", "create", "tool-config", "--file", "/home/me/.config/tool/config.json"]);
    parses(&["coder", "secret", "create", "service-token", "--env", "SERVICE_TOKEN", "--file", "~/.config/x"]);
    parses(&["coder", "secret", "create", "api-key", "--value", "v", "--description", "d", "--env", "API_KEY"]);
    parses(&["coder", "secret", "update", "api-key"]);
    parses(&["coder", "secret", "update", "api-key", "--env", "NEW_API_KEY"]);
    parses(&["coder", "secret", "update", "api-key", "--file", ""]);
    parses(&["coder", "secret", "list"]);
    parses(&["coder", "secret", "list", "api-key"]);
    parses(&["coder", "secret", "delete", "api-key"]);
}

#[test]
fn aliases_and_flags_of_the_reference_parse() {
    for alias in ["delete", "remove", "rm"] {
        parses(&["coder", "secrets", alias, "a", "-y"]);
        parses(&["coder", "secret", alias, "--yes", "a"]);
    }
    parses(&["coder", "secrets", "ls", "-o", "json", "-c", "name,ENV", "-c", "file"]);
    for format in ["env", "JSON", "Yaml"] {
        parses(&["coder", "secret", "import", "-", "--input-format", format]);
    }
    for enabled in ["--enabled", "--enabled=true", "--enabled=false"] {
        parses(&["coder", "secret", "create", "a", enabled]);
        parses(&["coder", "secret", "update", enabled, "a"]);
    }
    parses(&["coder", "secret", "create", "a", "--value", "-----BEGIN KEY-----"]);
    parses(&["coder", "secret", "update", "a", "--value", ""]);
    parses(&["coder", "--url", "http://x", "--token", "t", "secret", "list", "--global-config", "/c"]);
    parses(&["coder", "secret", "list", "--header", "A=b", "--header", "C=d", "--no-version-warning"]);
    parses(&["coder", "gitssh", "--", "-p", "22", "git@host", "git-upload-pack 'a.git'"]);
    parses(&["coder", "publickey", "--reset", "-y"]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        parses(&["coder", "completion", shell]);
    }
}

#[test]
fn a_command_to_run_keeps_its_own_flags() {
    parses(&["coder", "exec", "--wait", "1m 30s", "ls", "-la", "--wait", "--", "--help"]);
    parses(&["coder", "exec", "--", "--strange-name"]);
    parses(&["coder", "env", "--format", "FISH", "API_KEY", "DB"]);
    parses(&["coder", "status", "-o", "json"]);
    parses(&["coder", "agent", "reload", "--wait", "5s"]);
    // After `--` it is a program of that name.
    for line in [&["coder", "agent", "--strict", "--", "reload"][..], &["coder", "agent", "--", "reload", "--now"]] {
        let matches = command().try_get_matches_from(line).unwrap();
        let agent = matches.subcommand_matches("agent").unwrap();
        assert!(agent.subcommand().is_none());
        assert_eq!(agent.get_raw("command").unwrap().next().unwrap(), "reload");
    }
}

/// What was given, by name, of a line and its command.
fn given(matches: &ArgMatches) -> Vec<(String, Vec<OsString>)> {
    let (name, inner) = matches.subcommand().unwrap();
    let raw =
        |id: &clap::Id| inner.try_get_raw(id.as_str()).ok().flatten().into_iter().flatten().map(Into::into).collect();
    let is_given = |id: &&clap::Id| inner.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    let mut given: Vec<_> = inner.ids().filter(is_given).map(|id| (id.to_string(), raw(id))).collect();
    given.sort();
    given.insert(0, (name.to_owned(), Vec::new()));
    given
}

#[test]
fn quick_commands_are_read_as_by_the_whole_command_line() {
    for line in [
        "coder exec make deploy",
        "coder exec --wait 2m -- sh -c true --wait 3m",
        "coder exec env --url http://a",
        "coder --url http://a exec true",
        "coder exec --url http://a true",
        "coder env",
        "coder env --format json",
        "coder session",
        "coder gitssh -- -p 22 git@host git-upload-pack",
    ] {
        let args: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let whole = command().try_get_matches_from(&args).unwrap_or_else(|error| panic!("{line}: {error}"));
        if let Some(quick) = parse_quickly(&args) {
            assert_eq!(given(&quick), given(&whole), "{line}");
        } else {
            assert!(line.starts_with("coder --"), "{line} is read quickly");
        }
    }
    for line in
        ["coder", "coder exec", "coder exec --help", "coder env --nonsense", "coder secret list", "coder help exec"]
    {
        let args: Vec<OsString> = line.split(' ').map(Into::into).collect();
        assert!(parse_quickly(&args).is_none(), "{line} is for the whole command line");
    }
}

#[test]
fn flags_that_would_do_nothing_are_hidden_and_refused() {
    let arguments = |name| -> &[&str] {
        match name {
            "exec" => &["true"],
            "gitssh" => &["--", "host"],
            "completion" => &["bash"],
            "man" => &["pages"],
            _ => &[],
        }
    };
    for name in LOCAL {
        let help = refused(&["coder", name, "--help"]);
        assert!(help.contains("Usage: coder") && !help.contains("--header"), "{name}: {help}");
        for (flag, value) in [("--url", Some("http://x")), ("--token", Some("t")), ("--no-version-warning", None)] {
            let given: Vec<_> = [flag].into_iter().chain(value).collect();
            for line in [[&["coder"], &given[..], &[name]].concat(), [&["coder", name], &given[..]].concat()] {
                let line = [line.as_slice(), arguments(name)].concat();
                let Err(error) = parse(line.iter().map(Into::into).collect()) else { panic!("{line:?} was accepted") };
                assert!(error.to_string().contains(&format!("coder {name} has no use for {flag}")), "{error}");
                assert_eq!(error.exit_code(), 2);
            }
        }
    }
    for line in [&["coder", "agent", "--url", "http://x", "reload"][..], &["coder", "agent", "reload", "--token", "t"]]
    {
        assert!(parse(line.iter().map(Into::into).collect()).is_err(), "{line:?}");
    }
    let Err(error) = parse(["coder", "agent", "--url", "x"].map(Into::into).into()) else { panic!("accepted") };
    assert!(error.to_string().contains("--agent-url"), "{error}");
    assert!(refused(&["coder", "secret", "--help"]).contains("--header"));
    // What a program is told is its own.
    parses(&["coder", "exec", "curl", "--url", "http://x"]);
}

#[test]
fn what_is_no_command_is_refused() {
    for line in [
        &["coder", "secret", "create"][..],
        &["coder", "secret", "create", "a", "b"],
        &["coder", "secret", "create", "a", "--enabled=perhaps"],
        &["coder", "secret", "get", "a"],
        &["coder", "secret", "delete"],
        &["coder", "secret", "list", "-c", "value"],
        &["coder", "secret", "list", "-o", "xml"],
        &["coder", "secret", "import", "-", "--input-format", "toml"],
        &["coder", "secret", "enable", "a", "--yes"],
        &["coder", "completion", "tcsh"],
        &["coder", "gitssh", "git@host"],
        &["coder", "publickey", "--reset", "--signing-key"],
        &["coder", "exec"],
        &["coder", "exec", "--unknown", "true"],
        &["coder", "env", "--format", "csh"],
        &["coder", "agent", "reload", "--strict"],
        &["coder", "agent", "--strict", "reload"],
    ] {
        assert!(!refused(line).is_empty());
    }
}

#[test]
fn the_words_of_the_command_are_known_for_its_errors() {
    let matches = command().try_get_matches_from(["coder", "secrets", "rm", "a"]).unwrap();
    assert_eq!(command_path(&matches), "coder secret delete");
}
