//! The agent as process 1: reaping, signals, exit codes, the terminal, and what a bare image has not.

mod bare;
mod image;
mod name_server;
mod readme;
mod terminal;

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tests::{
    Env, LONG, Need, Process, Proxy, Run, SHORT, Server, Workspace, World, binaries, requires, wait_for, wait_until,
};

use image::Image;
use terminal::Terminal;

const DEFINITION: &str = r#"
owner: alice
name: dev
agent:
  name: main
  scripts:
    - { display_name: Stop, run_on_stop: true, script: 'printf %s "$API_KEY" > ~/stop-saw' }
"#;

fn needs_namespaces(test: &str) -> bool {
    requires(test, &[Need::Root, Need::Program("unshare", "util-linux")])
}

/// A server with a secret, and a workspace to boot.
fn world() -> (World, String) {
    let world = World::with(DEFINITION);
    let key = world.alice.secret("api-key", &["--env", "API_KEY"]);
    (world, key)
}

/// The agent as process 1 of namespaces of its own, with a home of its own.
struct Inside {
    run: Run,
    home: PathBuf,
}

fn inside(env: &Env, server: &Server, workspace: &Workspace, wrapper: &[&str], command: &[&str]) -> Inside {
    let home = env.new_home("homes/inside");
    let logs = env.path("logs/inside");
    fs::create_dir_all(&logs).unwrap();
    let run = env
        .program("/usr/bin/unshare")
        .args(["-m", "-p", "-f", "--mount-proc", "--kill-child"])
        .args(wrapper)
        .arg(&binaries().coder)
        .args(["agent", "--allow-root", "--agent-url", server.url(), "--log-dir"])
        .arg(logs)
        .env("HOME", &home)
        .env("CODER_AGENT_TOKEN", workspace.token())
        .env("CODER_AGENT_SOCKET", home.join("agent.sock"))
        .arg("--")
        .args(command);
    Inside { run, home }
}

/// The host's pid of the process 1 inside: the one child of `unshare`.
fn process_one(unshare: &Process) -> i32 {
    let path = format!("/proc/{0}/task/{0}/children", unshare.pid());
    let children = || fs::read_to_string(&path).ok()?.split_whitespace().next()?.parse().ok();
    wait_for("process 1 inside", SHORT, children)
}

fn send(pid: i32, signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

#[test]
fn the_exit_code_is_the_main_processs_and_the_stop_scripts_have_run() {
    if !needs_namespaces("the_exit_code_is_the_main_processs_and_the_stop_scripts_have_run") {
        return;
    }
    for (script, code) in [("printf %s \"$API_KEY\" > ~/saw; exit 7", 7), ("kill -KILL $$", 137)] {
        let (World { env, server, workspace, .. }, key) = world();
        let inside = inside(&env, &server, &workspace, &[], &["sh", "-c", script]);
        let _ = inside.run.run().exits(code);
        assert_eq!(fs::read_to_string(inside.home.join("stop-saw")).unwrap(), key);
        if code == 7 {
            assert_eq!(fs::read_to_string(inside.home.join("saw")).unwrap(), key);
        }
        workspace.wait_lifecycle("off");
    }
}

#[test]
fn signals_reach_the_main_process_and_process_one_holds_no_token() {
    if !needs_namespaces("signals_reach_the_main_process_and_process_one_holds_no_token") {
        return;
    }
    let (World { env, server, workspace, .. }, key) = world();
    let script = "trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'echo term; exit 42' TERM; \
                  echo up; while :; do sleep 0.02; done";
    let inside = inside(&env, &server, &workspace, &[], &["sh", "-c", script]);
    let mut unshare = inside.run.spawn("unshare");
    let _ = unshare.line_with("up", LONG);
    let one = process_one(&unshare);

    let read = |file: &str| fs::read(format!("/proc/{one}/{file}")).unwrap();
    for secret in [workspace.token(), &key] {
        let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!holds(&read("environ")) && !holds(&read("cmdline")));
        assert!(!holds(&memory(one)), "process 1 has a secret in its memory");
    }
    assert_eq!(fs::read_dir(format!("/proc/{one}/task")).unwrap().count(), 1, "a thread in process 1");

    for (signal, answer) in [(Signal::SIGHUP, "hup"), (Signal::SIGUSR1, "usr1"), (Signal::SIGTERM, "term")] {
        send(one, signal);
        if signal != Signal::SIGTERM {
            let _ = unshare.line_with(answer, SHORT);
        }
    }
    assert_eq!(unshare.exit_within(LONG).code, Some(42), "{}", unshare.stderr());
    workspace.wait_lifecycle("off");
}

/// Everything that process can write to, where a secret would be.
fn memory(pid: i32) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let file = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split(' ').next().and_then(|range| range.split_once('-')).unwrap();
        let [start, end] = [range.0, range.1].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if file.read_exact_at(&mut bytes, start).is_ok() {
            all.extend(bytes);
        }
    }
    assert!(all.len() > 100_000, "the memory of process 1 cannot be read");
    all
}

#[test]
fn orphans_are_reaped_and_what_is_left_is_asked_to_end() {
    if !needs_namespaces("orphans_are_reaped_and_what_is_left_is_asked_to_end") {
        return;
    }
    let (World { env, server, workspace, .. }, _) = world();
    // Fifty orphans that end, one that ends when asked, one that must be killed.
    let script = "for i in $(seq 50); do setsid sh -c 'sleep 0.01 & :' ; done
        setsid sh -c 'trap \"echo asked > ~/asked; exit\" TERM; echo up > ~/one; while :; do sleep 0.02; done' &
        setsid sh -c 'trap \"\" TERM; echo up > ~/two; while :; do sleep 0.02; done' &
        while ! test -e ~/one || ! test -e ~/two; do sleep 0.01; done
        while grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | grep -q .; do sleep 0.02; done
        exit 5";
    let inside = inside(&env, &server, &workspace, &[], &["sh", "-c", script]);
    let _ = inside.run.run().exits(5);
    assert_eq!(fs::read_to_string(inside.home.join("asked")).unwrap(), "asked\n");
}

#[test]
fn a_stop_before_the_main_process_ends_the_container() {
    if !needs_namespaces("a_stop_before_the_main_process_ends_the_container") {
        return;
    }
    let (World { env, server, workspace, .. }, _) = world();
    drop(server);
    let proxy = Proxy::new("http://127.0.0.1:1");
    let home = env.new_home("homes/waiting");
    let mut unshare = env
        .program("/usr/bin/unshare")
        .args(["-m", "-p", "-f", "--mount-proc", "--kill-child"])
        .arg(&binaries().coder)
        .args(["agent", "--allow-root", "--agent-url", proxy.url()])
        .env("CODER_AGENT_TOKEN", workspace.token())
        .env("CODER_AGENT_SOCKET", home.join("agent.sock"))
        .args(["--", "sh", "-c", "echo must not run"])
        .spawn("unshare");
    wait_until("a dial", LONG, || proxy.accepted() > 0);
    send(process_one(&unshare), Signal::SIGTERM);
    assert_eq!(unshare.exit_within(LONG).code, Some(128 + 15), "{}", unshare.stderr());
    assert!(!unshare.stdout().contains("must not run"));
}

#[test]
fn on_a_terminal_the_main_process_has_its_keys_and_job_control() {
    let needs = [Need::Root, Need::Program("unshare", "util-linux"), Need::Program("script", "bsdutils")];
    if !requires("on_a_terminal_the_main_process_has_its_keys_and_job_control", &needs) {
        return;
    }
    let (World { env, server, workspace, .. }, _) = world();
    let home = env.new_home("homes/terminal");
    // A container's process 1 leads a session whose terminal it has, which is what `setsid -c` is for.
    let line = format!(
        "exec unshare -m -p -f --mount-proc --kill-child setsid -c {} agent --allow-root --agent-url {} --log-dir {} -- sh -im",
        binaries().coder.display(),
        server.url(),
        env.path("logs").display()
    );
    let mut terminal = Terminal::new(&env, &line, |run| {
        run.env("HOME", &home)
            .env("CODER_AGENT_TOKEN", workspace.token())
            .env("CODER_AGENT_SOCKET", home.join("agent.sock"))
    });
    terminal.has_job_control();
    assert_eq!(terminal.exit(9), Some(9));
}

fn needs_image(test: &str) -> bool {
    requires(test, &image::NEEDS)
}

#[test]
fn a_bare_image_boots_as_any_user_with_a_root_that_is_read_only() {
    if !needs_image("a_bare_image_boots_as_any_user_with_a_root_that_is_read_only") {
        return;
    }
    // No passwd file at all, so no user has an entry.
    for (uid, read_only) in [(0, false), (1000, false), (123_456, false), (123_456, true), (0, true)] {
        let (World { env, server, workspace, .. }, key) = world();
        env.watch("the key", key.as_bytes());
        let script = "test -n \"$API_KEY\" && echo \"$$ $(id -u) $HOME\"; exit 5";
        let mut image =
            Image::new(&env, &server, &workspace, &["sh", "-c", script]).user(uid).env("HOME", "/home/alice");
        if uid == 0 {
            image = image.env("CODER_AGENT_ALLOW_ROOT", "true");
        }
        if read_only {
            image = image.read_only();
        }
        let output = image.run().run().exits(5);
        let words: Vec<_> = output.stdout.split_whitespace().collect();
        assert_eq!(words[1..], [&uid.to_string(), "/home/alice"], "{}", output.stdout);
        assert!(words[0].parse::<u32>().unwrap() > 2, "process 1 and the agent come first: {}", output.stdout);
        let stop_saw = fs::read_to_string(image.path("home/alice/stop-saw"));
        if read_only {
            let _ = output.complains("cannot write the log file");
        } else {
            assert_eq!(stop_saw.unwrap(), key);
        }
        workspace.wait_lifecycle(if read_only { "shutdown_error" } else { "off" });
    }
}

#[test]
fn behind_an_init_of_the_engine_there_is_no_second_one() {
    let needs = [image::NEEDS.as_slice(), &[Need::Program("tini-static", "tini")]].concat();
    if !requires("behind_an_init_of_the_engine_there_is_no_second_one", &needs) {
        return;
    }
    let (World { env, server, workspace, .. }, _) = world();
    let script =
        "setsid sh -c 'trap \"echo asked > ~/asked; exit\" TERM; echo up > ~/daemon; while :; do sleep 0.02; done' &
        while ! test -e ~/daemon; do sleep 0.02; done
        trap 'exit 42' TERM; cat /proc/*/comm; echo up; while :; do sleep 0.02; done";
    let image = Image::new(&env, &server, &workspace, &["sh", "-c", script])
        .user(1000)
        .env("HOME", "/home/alice")
        .behind("/usr/bin/tini-static");
    let mut run = image.run().spawn("runc");
    let _ = run.line_with("up", LONG);
    assert_eq!(run.stdout().lines().filter(|line| *line == "coder").count(), 1, "{}", run.stdout());
    run.signal(Signal::SIGTERM);
    assert_eq!(run.exit_within(LONG).code, Some(42), "{}", run.stderr());
    // By the agent: an init of the engine lets the kernel kill what is left.
    assert_eq!(fs::read_to_string(image.path("home/alice/asked")).unwrap(), "asked\n");
    workspace.wait_lifecycle("off");
}
