use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    agent: AgentArgs,
}

fn args(words: &[&str]) -> AgentArgs {
    Line::try_parse_from(["agent"].iter().chain(words)).unwrap().agent
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Loads with an empty file, so that the machine's own cannot matter.
fn load(mut args: AgentArgs, file: &str, pairs: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, file).unwrap();
    args.config = Some(path);
    Config::load(args, &variables(pairs)).map_err(|error| error.to_string())
}

const TOKEN: (&str, &str) = ("CODER_AGENT_TOKEN", "11111111-2222-3333-4444-555555555555");

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let file = "agent-url = 'http://file'\nstrict = true\nready-after = '1s'";
    let config = load(args(&["--agent-url", "http://flag/", "--strict=false"]), file, &[TOKEN]).unwrap();
    assert_eq!(config.url.as_str(), "http://flag/");
    assert!(!config.strict);
    assert_eq!(config.ready_after, Duration::from_secs(1));
    assert_eq!(config.start_without_secrets, None);
    assert_eq!(config.log_dir, None);
}

#[test]
fn changes_are_followed_unless_somebody_says_otherwise() {
    let following = |words: &[&str], file: &str| {
        let config = load(args(words), &format!("agent-url = 'http://c'\n{file}"), &[TOKEN]).unwrap();
        (config.live, config.refresh.map(|every| every.as_secs()))
    };
    assert_eq!(following(&[], ""), (true, Some(300)));
    assert_eq!(following(&["--live", "off", "--refresh", "0"], "refresh = '1m'"), (false, None));
    assert_eq!(following(&[], "live = false\nrefresh = '30s'"), (false, Some(30)));
    for wrong in [["--live", "sometimes"], ["--refresh", "10ms"], ["--refresh", "soon"]] {
        assert!(Line::try_parse_from(["agent"].iter().chain(&wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn the_token_comes_from_the_file_then_the_credential_then_the_variable() {
    let dir = tempfile::tempdir().unwrap();
    let (named, credential) = (dir.path().join("named"), dir.path().join("agent-token"));
    std::fs::write(&named, "from-file\n").unwrap();
    let file = format!("agent-url = 'http://c'\nagent-token-file = '{}'", named.display());
    let directory = ("CREDENTIALS_DIRECTORY", dir.path().to_str().unwrap());
    let token = |file: &str| {
        let config = load(AgentArgs::default(), file, &[directory, TOKEN]).unwrap();
        String::from_utf8(config.token.last().expose().to_vec()).unwrap()
    };
    assert_eq!(token("agent-url = 'http://c'"), TOKEN.1, "a credentials directory for other things has no agent-token");
    std::fs::write(credential, "from-credential").unwrap();
    assert_eq!(token("agent-url = 'http://c'"), "from-credential");
    assert_eq!(token(&file), "from-file");
}

#[test]
fn what_is_missing_is_named_in_the_words_of_the_reference() {
    assert_eq!(load(AgentArgs::default(), "", &[TOKEN]).unwrap_err(), "CODER_AGENT_URL must be set");
    let url = "agent-url = 'http://c'";
    let expected = "Either CODER_AGENT_TOKEN or CODER_AGENT_TOKEN_FILE must be set";
    assert_eq!(load(AgentArgs::default(), url, &[]).unwrap_err(), expected);
    assert_eq!(load(AgentArgs::default(), url, &[("CODER_AGENT_TOKEN", "")]).unwrap_err(), expected);
}

#[test]
fn a_url_that_cannot_work_is_refused() {
    for url in ["c.example.com", "ftp://c", "http://", "unix:/run/c"] {
        let error = load(args(&["--agent-url", url]), "", &[TOKEN]).unwrap_err();
        assert!(error.starts_with(&format!("the agent URL {url:?} is not usable: ")), "{error}");
    }
    let error = load(args(&["--agent-url", "https://u:hunter2@c"]), "", &[TOKEN]).unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_path_in_front_of_the_api_is_kept() {
    let config = load(args(&["--agent-url", "https://c.example.com/coder/?x#y"]), "", &[TOKEN]).unwrap();
    assert_eq!(config.url.as_str(), "https://c.example.com/coder");
}

#[test]
fn neither_debug_nor_help_shows_the_token() {
    let config = load(args(&["--agent-url", "http://c"]), "", &[TOKEN]).unwrap();
    assert!(!format!("{config:?}").contains("2222"));
    assert!(!format!("{:?}", args(&["--agent-token", TOKEN.1])).contains("2222"));
}

#[test]
fn what_follows_the_dashes_is_the_command_with_its_flags() {
    let parsed = args(&["--strict", "--", "bash", "--strict", "-l"]);
    assert_eq!(parsed.command, ["bash", "--strict", "-l"]);
    assert_eq!(parsed.strict, Some(true));
    assert!(Line::try_parse_from(["agent", "bash"]).is_err());
}
