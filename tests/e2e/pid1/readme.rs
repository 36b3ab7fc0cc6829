//! The image of the README, built and run by podman.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tests::{LONG, Need, Process, Proxy, Run, World, requires, static_coder, wait_until};

use super::image::{BUSYBOX, busybox};
use super::terminal::Terminal;
use super::world;

const NEEDS: [Need; 6] = [
    Need::Root,
    Need::Program("podman", "podman"),
    Need::Program("runc", "runc"),
    BUSYBOX,
    Need::Program("tini-static", "tini"),
    Need::Program("script", "bsdutils"),
];
/// What the README's image is called here.
const IMAGE: &str = "workspace";
/// For hosts on which root may not raise limits.
const LIMITS: [&str; 2] = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];
/// Debian's, as far as the README calls it: `useradd --create-home --uid UID NAME`.
const USERADD: &str = "#!/bin/sh
[ \"$1 $2\" = '--create-home --uid' ] || exit 2
echo \"$4:x:$3:$3::/home/$4:/bin/sh\" >> /etc/passwd
busybox mkdir -p \"/home/$4\" && busybox chown \"$3:$3\" \"/home/$4\"
";
/// On a directory of the test, so that it can be read from outside.
const HOME: &str = "/home/alice";

/// An engine with nothing but the README's image, and a server that its containers can reach.
struct Engine {
    world: World,
    key: String,
    podman: Vec<String>,
    home: PathBuf,
}

impl Deref for Engine {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Engine {
    fn new() -> Self {
        let (world, key) = world();
        let env = &world.env;
        // What an engine knows of its containers, the token included, is for root.
        let engine = env.new_home("engine");
        let home = env.new_home("homes/alice");
        chown(&home, Some(1000), Some(1000)).unwrap();
        let place = |name: &str| engine.join(name).display().to_string();
        let podman = ["--root", &place("root"), "--runroot", &place("run"), "--storage-driver", "vfs"];
        let podman = [&podman[..], &["--cgroup-manager", "cgroupfs", "--runtime", "runc"]].concat();
        let podman = podman.into_iter().map(str::to_owned).collect();
        let engine = Self { world, key, podman, home };
        engine.build();
        engine
    }

    /// There is no registry: the image that the README starts from is busybox, under that name.
    fn build(&self) {
        let dockerfile = dockerfile();
        let from = dockerfile.lines().find_map(|line| line.strip_prefix("FROM ")).unwrap();
        let (base, context) = (self.env.path("base"), self.env.path("context"));
        busybox(&base);
        fs::write(base.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        fs::write(base.join("bin/useradd"), USERADD).unwrap();
        fs::set_permissions(base.join("bin/useradd"), fs::Permissions::from_mode(0o755)).unwrap();
        let archive = self.env.path("base.tar");
        let _ = self.env.program("/bin/tar").arg("-C").arg(base).arg("-cf").arg(&archive).arg(".").run().success();
        let _ =
            self.podman(["import", "--quiet"]).arg(archive).arg(format!("docker.io/library/{from}")).run().success();
        fs::create_dir(&context).unwrap();
        fs::copy(static_coder(), context.join("coder")).unwrap();
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let build = self.podman(["build", "--quiet", "--pull=never", "--network=host"]).args(LIMITS);
        let _ = build.args(["--tag", IMAGE]).arg(context).run().success();
    }

    fn podman<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Run {
        self.env.program("/usr/bin/podman").args(&self.podman).args(args)
    }

    fn flags(&self) -> Vec<String> {
        let (url, home) = (format!("CODER_AGENT_URL={}", self.server.url()), format!("{}:{HOME}", self.home.display()));
        let flags = ["run", "--rm", "--pull=never", "--network=host"].into_iter().chain(LIMITS);
        let own = ["--env", "CODER_AGENT_TOKEN", "--env", &url, "--volume", &home];
        flags.chain(own).map(str::to_owned).collect()
    }

    /// A container of the image; `command` in place of its `CMD`.
    fn container(&self, flags: &[&str], command: &[&str]) -> Run {
        let run = self.podman([]).args(self.flags()).args(flags).arg(IMAGE).args(command);
        run.env("CODER_AGENT_TOKEN", self.workspace.token())
    }

    fn spawn(&self, flags: &[&str], command: &[&str]) -> Process {
        self.container(&[&["--name", "container"], flags].concat(), command).spawn("podman")
    }

    #[track_caller]
    fn signal(&self, signal: Signal) {
        let _ = self.podman(["kill", "--signal", signal.as_str(), "container"]).run().success();
    }

    /// What a file in the home has, which is then gone.
    #[track_caller]
    fn take(&self, file: &str) -> String {
        let path = self.home.join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(path).unwrap();
        text
    }
}

impl Drop for Engine {
    /// A container outlives the `podman` that runs it.
    fn drop(&mut self) {
        let _ = self.podman(["rm", "--all", "--force", "--time", "0"]).run();
    }
}

/// The one in the README.
fn dockerfile() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let (_, rest) = readme.split_once("```dockerfile\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn it_runs_any_command_however_the_container_is_run() {
    if !requires("it_runs_any_command_however_the_container_is_run", &NEEDS) {
        return;
    }
    let world = Engine::new();
    let save = "printf %s \"$API_KEY\" > /home/alice/saw; exit 7";
    let alice: &[&str] = &["--user", "0", "--env", "CODER_AGENT_USER=alice"];
    for flags in [
        &[][..],
        alice,
        &["--user", "0", "--env", "CODER_AGENT_ALLOW_ROOT=1", "--env", "HOME=/home/alice"],
        &["--read-only"],
        &["--read-only", "--read-only-tmpfs=false"],
        &["--init", "--init-path", "/usr/bin/tini-static"],
    ] {
        let _ = world.container(flags, &["sh", "-c", save]).run().exits(7);
        assert_eq!(world.take("saw"), world.key, "{flags:?}");
        world.workspace.wait_lifecycle("off");
        assert_eq!(world.take("stop-saw"), world.key, "{flags:?}");
    }
    // A user of whom the image knows nothing has no home to write to.
    let _ = world.container(&["--user", "123456"], &["sh", "-c", "test -n \"$API_KEY\" && exit 7"]).run().exits(7);
    for (command, code) in
        [(&["sh", "-c", "kill -KILL $$"][..], 128 + 9), (&["no-such-program"], 127), (&["/etc"], 126)]
    {
        let _ = world.container(&[], command).run().exits(code);
    }
}

#[test]
fn its_own_command_is_there_for_others_until_it_is_stopped() {
    if !requires("its_own_command_is_there_for_others_until_it_is_stopped", &NEEDS) {
        return;
    }
    let world = Engine::new();
    let mut container = world.spawn(&[], &[]);
    world.workspace.wait_lifecycle("ready");
    let save = "printf %s \"$API_KEY\" > /home/alice/saw";
    let _ = world.podman(["exec", "container", "coder", "exec", "sh", "-c", save]).run().success();
    assert_eq!(world.take("saw"), world.key);
    let _ = world.podman(["stop", "--time", "60", "container"]).run().success();
    assert_eq!(container.exit_within(LONG).code, Some(128 + 15), "{}", container.stderr());
    world.workspace.wait_lifecycle("off");
    assert_eq!(world.take("stop-saw"), world.key);
}

#[test]
fn signals_arrive_and_orphans_are_reaped_and_end() {
    if !requires("signals_arrive_and_orphans_are_reaped_and_end", &NEEDS) {
        return;
    }
    let world = Engine::new();
    let script = "for i in $(seq 20); do setsid sh -c 'sleep 0.01 & :'; done
        setsid sh -c 'trap \"echo asked > ~/asked; exit\" TERM; echo > ~/daemon; while :; do sleep 0.02; done' &
        while ! test -e ~/daemon; do sleep 0.02; done
        while grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | grep -q .; do sleep 0.02; done
        trap 'echo hup' HUP; trap 'exit 42' TERM; echo up; while :; do sleep 0.02; done";
    for flags in [&[][..], &["--init", "--init-path", "/usr/bin/tini-static"]] {
        let mut container = world.spawn(flags, &["sh", "-c", script]);
        let _ = container.line_with("up", LONG);
        world.signal(Signal::SIGHUP);
        let _ = container.line_with("hup", LONG);
        world.signal(Signal::SIGTERM);
        assert_eq!(container.exit_within(LONG).code, Some(42), "{}", container.stderr());
        assert_eq!(world.take("asked"), "asked\n");
        let _ = world.take("daemon");
    }
}

#[test]
fn without_its_server_it_waits_or_starts_without_secrets() {
    if !requires("without_its_server_it_waits_or_starts_without_secrets", &NEEDS) {
        return;
    }
    let world = Engine::new();
    let away = Proxy::new("http://127.0.0.1:1");
    let url = format!("CODER_AGENT_URL={}", away.url());
    let say = ["sh", "-c", "printf %s \"${API_KEY-none}\" > ~/saw"];
    let flags = ["--env", &url, "--env", "CODER_AGENT_START_WITHOUT_SECRETS=100ms"];
    let _ = world.container(&flags, &say).run().success().complains("starting without them");
    assert_eq!(world.take("saw"), "none");
    let mut waiting = world.spawn(&["--env", &url], &say);
    let dialled = away.accepted();
    wait_until("three more dials", LONG, || away.accepted() >= dialled + 3);
    assert!(!world.home.join("saw").exists());
    away.point_to(world.server.url());
    assert_eq!(waiting.exit_within(LONG).code, Some(0), "{}", waiting.stderr());
    assert_eq!(world.take("saw"), world.key);
}

#[test]
fn on_a_terminal_its_shell_has_job_control() {
    if !requires("on_a_terminal_its_shell_has_job_control", &NEEDS) {
        return;
    }
    let world = Engine::new();
    let line = [&["exec", "podman"].map(str::to_owned)[..], &world.podman, &world.flags()].concat().join(" ");
    let line = format!("{line} -it {IMAGE} sh");
    let token = world.workspace.token();
    let mut terminal = Terminal::new(&world.env, &line, |run| run.env("CODER_AGENT_TOKEN", token));
    terminal.has_job_control();
    assert_eq!(terminal.exit(9), Some(9));
}
