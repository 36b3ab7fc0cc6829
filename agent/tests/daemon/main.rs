//! The executable `coder agent` against a control plane in this process.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod control_plane;
mod workspace;

use std::fs;
use std::path::Path;
use std::time::Duration;

use control_plane::{ControlPlane, LIMIT, SCRIPT_SOURCE, Seen, manifest, on_start, on_stop, secret};
use nix::sys::signal::Signal;
use protocol::agent_api::lifecycle::State;
use protocol::agent_api::timing;
use tokio::net::UnixDatagram;
use tokio::time::timeout;
use workspace::{VALUE, Workspace, no_canary, read, text};

fn is_ready(seen: &Seen) -> bool {
    seen.states.contains(&State::Ready)
}

#[tokio::test]
async fn a_workspace_boots_and_ends_in_order() {
    let script = "echo \"key $API_KEY\"; cat ~/.config/tool/token; printf %s \"$API_KEY\" > ~/saw";
    let secrets = vec![secret("API_KEY", "", VALUE), secret("", "~/.config/tool/token", VALUE)];
    let scripts = vec![on_start(script), on_stop("echo $? > ~/stopped; exit 0")];
    let server = ControlPlane::start(manifest(secrets, scripts)).await;
    let agent = Workspace::new(&server.url).start();
    let seen = server.wait("ready", |seen| is_ready(seen) && seen.timings.len() == 1).await;
    assert_eq!(read(agent.home("saw")), VALUE, "the user's value wins over the template's");
    assert_eq!(read(agent.home(".config/tool/token")), VALUE);
    assert_eq!(seen.timings[0].status(), timing::Status::Ok);
    let startup = seen.startup.unwrap();
    assert!(startup.version.starts_with('v'), "{startup:?}");
    assert_eq!(Path::new(&startup.expanded_directory), agent.dir.path().join("home"));
    let id = agent.child.id().unwrap();
    assert!(!read(format!("/proc/{id}/environ")).contains("canary"), "the token is wiped from the agent's environment");

    let seen = server.wait("output", |seen| seen.lines.len() >= 2).await;
    assert!(seen.lines.iter().all(|(source, _)| *source == SCRIPT_SOURCE));
    no_canary(format!("{:?}", seen.lines).as_bytes(), "the log on the server");

    let (output, dir) = agent.stop().await;
    assert_eq!(output.status.code(), Some(0), "{:?}", text(&output));
    let seen = server.wait("off", |seen| seen.states.contains(&State::Off)).await;
    assert_eq!(seen.states, [State::Starting, State::Ready, State::ShuttingDown, State::Off]);
    assert_eq!(seen.timings.len(), 2);
    assert_eq!(read(dir.path().join("home/stopped")), "0\n");
    assert!(seen.log_sources.is_empty(), "a boot without trouble makes no further calls");
}

#[tokio::test]
async fn the_main_process_gets_the_environment_and_the_signals_and_its_exit_code_is_returned() {
    let server = ControlPlane::start(manifest(vec![secret("API_KEY", "~/token", VALUE)], vec![])).await;
    let main = "trap 'exit 7' USR1; printf '%s' \"$API_KEY$CODER_AGENT_TOKEN\"; cat ~/token; touch ~/up; \
                while :; do sleep 0.01; done";
    let agent = Workspace::new(&server.url).args(&["--", "sh", "-c", main]).start();
    let up = agent.home("up");
    timeout(LIMIT, async {
        while !up.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    agent.signal(Signal::SIGUSR1);
    let (output, _dir) = agent.end().await;
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(text(&output).0, format!("{VALUE}{VALUE}"), "and the agent's token is not passed on");
    let seen = server.wait("off", |seen| seen.states.contains(&State::Off)).await;
    assert_eq!(seen.states.last(), Some(&State::Off));
}

#[tokio::test]
async fn exit_codes_are_those_of_a_shell() {
    let server = ControlPlane::start(manifest(vec![], vec![])).await;
    for (command, expected) in [
        (&["sh", "-c", "exit 3"][..], 3),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["no-such-command-here"], 127),
        (&["/dev/null"], 126),
    ] {
        let (output, _dir) = Workspace::new(&server.url).args(&["--"]).args(command).output().await;
        assert_eq!(output.status.code(), Some(expected), "{command:?}: {:?}", text(&output));
    }
}

#[tokio::test]
async fn a_target_that_fails_is_seen_where_people_look() {
    let secrets =
        vec![secret("", "/proc/no/such", VALUE), secret("LD_PRELOAD", "", VALUE), secret("OK", "~/ok", VALUE)];
    let server = ControlPlane::start(manifest(secrets, vec![on_start("touch ~/ran")])).await;
    let agent = Workspace::new(&server.url).start();
    let seen = server.wait("own lines", |seen| is_ready(seen) && seen.lines.len() >= 2).await;
    assert!(agent.home("ran").exists() && agent.home("ok").exists(), "the others go on");
    let lines: Vec<_> =
        seen.lines.iter().filter(|(source, _)| *source != SCRIPT_SOURCE).map(|(_, line)| line).collect();
    assert!(lines.iter().any(|line| line.contains("\"/proc/no/such\"")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("LD_PRELOAD")), "{lines:?}");
    let [source] = &seen.log_sources[..] else { panic!("{:?}", seen.log_sources) };
    assert!(source.contains("Coder Agent"), "{source}");
    agent.signal(Signal::SIGHUP);
    server.wait("second manifest", |seen| seen.manifests == 2).await;
    let (output, dir) = agent.stop().await;
    let log = read(dir.path().join("logs/coder-secrets-agent.log"));
    assert!(log.contains("/proc/no/such") && text(&output).1.contains("/proc/no/such"), "{log}");
    let told = server.seen().lines.iter().filter(|(_, line)| line.contains("/proc/no/such")).count();
    assert_eq!(told, 1, "once, however often the manifest comes");
}

#[tokio::test]
async fn strict_makes_a_target_that_fails_a_start_error_and_runs_nothing() {
    let secrets = vec![secret("", "/proc/no/such", VALUE)];
    let server = ControlPlane::start(manifest(secrets, vec![on_start("touch ~/ran")])).await;
    let agent = Workspace::new(&server.url).args(&["--strict"]).start();
    server.wait("start error", |seen| seen.states.contains(&State::StartError)).await;
    let (_, dir) = agent.stop().await;
    assert!(!dir.path().join("home/ran").exists());

    let (output, dir) = Workspace::new(&server.url).args(&["--strict", "--", "touch", "ran"]).output().await;
    assert_eq!(output.status.code(), Some(1), "{:?}", text(&output));
    assert!(!dir.path().join("home/ran").exists());
}

#[tokio::test]
async fn a_new_connection_brings_a_new_manifest_and_disturbs_nothing() {
    let secrets = vec![secret("API_KEY", "~/token", "first-value")];
    let server = ControlPlane::start(manifest(secrets, vec![on_start("echo run >> ~/runs")])).await;
    let agent =
        Workspace::new(&server.url).args(&["--", "sh", "-c", "while ! test -e ~/end; do sleep 0.01; done"]).start();
    server.wait("ready", is_ready).await;
    server.change(|manifest| manifest.secrets = vec![secret("API_KEY", "~/token", "second-value")]);
    server.drop_sessions();
    server.wait("second manifest", |seen| seen.manifests == 2).await;
    let token = agent.home("token");
    timeout(LIMIT, async {
        while read(&token) != "second-value" {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    fs::write(agent.home("end"), "").unwrap();
    let (output, dir) = agent.end().await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(read(dir.path().join("home/runs")), "run\n");
    let mut states = server.wait("off", |seen| seen.states.contains(&State::Off)).await.states;
    // What was not acknowledged when the connection broke is sent again.
    states.dedup();
    assert_eq!(states, [State::Starting, State::Ready, State::ShuttingDown, State::Off]);
}

#[tokio::test]
async fn sighup_fetches_the_manifest_again() {
    let server = ControlPlane::start(manifest(vec![], vec![])).await;
    let agent = Workspace::new(&server.url).start();
    server.wait("ready", is_ready).await;
    agent.signal(Signal::SIGHUP);
    server.wait("second manifest", |seen| seen.manifests == 2).await;
    agent.stop().await;
    assert_eq!(server.seen().manifests, 2);
}

#[tokio::test]
async fn a_server_that_is_away_holds_up_the_main_process_unless_told_otherwise() {
    let gone = "http://127.0.0.1:9";
    let with = ["--start-without-secrets", "100ms", "--", "sh", "-c", "echo up; exit 4"];
    let (output, _dir) = Workspace::new(gone).args(&with).output().await;
    assert_eq!((output.status.code(), text(&output).0.as_str()), (Some(4), "up\n"));
    assert!(text(&output).1.contains("cannot reach 127.0.0.1 port 9"), "{}", text(&output).1);

    let waiting = Workspace::new(gone).args(&["--", "echo", "up"]).start();
    let log = waiting.dir.path().join("logs/coder-secrets-agent.log");
    let failed = || fs::read_to_string(&log).is_ok_and(|log| log.contains("cannot reach"));
    timeout(LIMIT, async {
        while !failed() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let (output, _dir) = waiting.stop().await;
    assert_eq!((output.status.code(), text(&output).0.as_str()), (Some(143), ""));
}

#[tokio::test]
async fn what_is_wrong_before_the_first_request_is_said_and_ends_with_code_2() {
    let workspace = || Workspace::new("http://127.0.0.1:9");
    for (workspace, expected) in [
        (workspace().without("CODER_AGENT_URL"), "error: CODER_AGENT_URL must be set\n"),
        (
            workspace().without("CODER_AGENT_TOKEN"),
            "error: Either CODER_AGENT_TOKEN or CODER_AGENT_TOKEN_FILE must be set\n",
        ),
        (workspace().args(&["--user", "no-such-user"]), "error: no user no-such-user in the passwd database\n"),
        (workspace().env("CODER_AGENT_LOG", "lots"), "error: CODER_AGENT_LOG is not a level"),
        (workspace().args(&["--ready-after", "soon"]), "error: invalid value 'soon' for '--ready-after <AFTER>'"),
        (
            workspace().args(&["--agent-token-file", "/nonexistent/token"]),
            "error: cannot read agent token file /nonexistent/token: No such file",
        ),
    ] {
        let (output, _dir) = workspace.output().await;
        let (_, stderr) = text(&output);
        assert!(output.status.code() == Some(2) && stderr.starts_with(expected), "{expected}: {stderr}");
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let secrets = vec![secret("API_KEY", "~/token", VALUE), secret("PATH", "", VALUE)];
    let server = ControlPlane::start(manifest(secrets, vec![on_start("touch ~/ran")])).await;
    let (output, dir) = Workspace::new(&server.url).args(&["--dry-run"]).output().await;
    let (stdout, stderr) = text(&output);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let home = dir.path().join("home");
    assert!(stdout.starts_with(&format!("create {:?}\nset API_KEY\nrefuse ", home.join("token"))), "{stdout}");
    assert!(stdout.ends_with("run \"prepare\"\n"), "{stdout}");
    no_canary(&output.stdout, "standard output");
    assert_eq!(fs::read_dir(home).unwrap().count(), 0);
    assert!(server.seen().states.is_empty());
}

#[tokio::test]
async fn the_service_manager_hears_when_the_agent_is_ready_and_what_failed() {
    let secrets = vec![secret("", "/proc/no/such", VALUE)];
    let server = ControlPlane::start(manifest(secrets, vec![])).await;
    let dir = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    let agent = Workspace::new(&server.url).env("NOTIFY_SOCKET", dir.path().join("notify")).start();
    let message = receive_ready(&socket).await;
    assert!(message.starts_with("READY=1\nSTATUS=delivered 0 variables and 0 files; 1 problem: "), "{message}");
    assert!(message.contains("/proc/no/such"), "{message}");
    agent.stop().await;
    let mut last = String::new();
    while !last.starts_with("STOPPING=1") {
        last = receive(&socket).await;
    }

    let late = Workspace::new("http://127.0.0.1:9").args(&["--ready-after", "50ms"]);
    let late = late.env("NOTIFY_SOCKET", dir.path().join("notify")).start();
    let waiting = receive(&socket).await;
    assert!(waiting.starts_with("STATUS=waiting for the secrets"), "{waiting}");
    let message = receive_ready(&socket).await;
    assert!(message.starts_with("READY=1\nSTATUS=waiting for the secrets; no connection: cannot reach"), "{message}");
    late.stop().await;
}

/// Meanwhile the manager hears what the start waits for.
async fn receive_ready(socket: &UnixDatagram) -> String {
    loop {
        let message = receive(socket).await;
        if !message.starts_with("STATUS=") {
            return message;
        }
    }
}

async fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let read = timeout(LIMIT, socket.recv(&mut buffer)).await.expect("a message").unwrap();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

#[tokio::test]
async fn a_startup_script_that_hangs_is_ended_with_the_agent() {
    let server = ControlPlane::start(manifest(vec![], vec![on_start("echo up; sleep 1000")])).await;
    let agent = Workspace::new(&server.url).start();
    server.wait("output", |seen| !seen.lines.is_empty()).await;
    let started = std::time::Instant::now();
    let (output, _dir) = agent.stop().await;
    assert_eq!(output.status.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(8));
    let seen = server.wait("off", |seen| seen.states.contains(&State::Off)).await;
    assert_eq!(seen.states, [State::Starting, State::ShuttingDown, State::Off]);
}
