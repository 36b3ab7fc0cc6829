//! What is left of values in the memory of the executables, for root with a debugger and for others of the same user.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Agent, Env, LONG, Need, Process, World, requires, wait_for, wait_until};

/// Its scripts print and encode what they are given.
const DEFINITION: &str = r#"
owner: alice
name: dev
agent:
  name: main
  env: { TEMPLATE_TOKEN: "TEMPLATE" }
  scripts:
    - { display_name: Print, run_on_start: true, script: 'env; cat ~/.config/tool; echo "$KEY" | base64 -w0 >&2' }
  metadata:
    - { key: key, display_name: Key, script: 'echo "key $KEY"', interval: 1, timeout: 5 }
"#;

const ROOT_WITH_GDB: [Need; 2] = [Need::Root, Need::Program("gcore", "gdb")];

fn world() -> World {
    let env = Env::new();
    let definition = DEFINITION.replace("\"TEMPLATE\"", &env.canary("template"));
    let world = World::builder().within(env).with(&definition);
    let (env, alice) = (&world.env, &world.alice);
    alice.secret("key", &["--env", "KEY"]);
    alice.secret("tool", &["--file", "~/.config/tool"]);
    // Every line is hunted for, so none may be a constant of a program: "-----BEGIN" and "-----" of a parser of keys can
    // come to lie side by side in an executable, and so in its core.
    let pem = format!("-----BEGIN CANARY-----\n{}\n{}\n-----END CANARY-----\n", env.canary("pem"), env.canary("pem"));
    alice.secret_with("pem", pem, &["--env", "PEM", "--file", "~/.ssh/key"]);
    world
}

/// Everything an agent does: boot, scripts, metadata, sessions, a change of a secret, the git key.
fn use_everything(world: &World, agent: &Agent) {
    world.workspace.wait_lifecycle("ready");
    let _ = agent.coder(["exec", "--", "sh", "-c", "test -n \"$KEY\""]).run().success();
    let _ = agent.coder(["env", "--format", "json"]).reveals().run().success();
    let updated = world.env.canary("updated");
    let _ = world.alice.coder(["secret", "update", "key"]).stdin(&updated).run().success();
    let _ = agent.coder(["agent", "reload"]).run().success();
    let _ = agent.coder(["status"]).run().success();
    wait_until("metadata with the new value", LONG, || {
        let metadata = &world.workspace.show_agent()["metadata"];
        metadata.to_string().contains("key ********")
    });
}

/// A core of a process, by root's debugger, where the hunt goes.
fn core(env: &Env, pid: u32) -> u64 {
    let core = env.path("work").join("core");
    let made = env.program("/usr/bin/gcore").arg("-o").arg(&core).arg(pid.to_string()).run().success();
    fs::metadata(core.with_file_name(format!("core.{pid}"))).unwrap_or_else(|_| panic!("{made:?}")).len()
}

fn maps(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap()
}

#[test]
fn a_core_of_the_idle_agent_holds_no_value() {
    if !requires("a_core_of_the_idle_agent_holds_no_value", &ROOT_WITH_GDB) {
        return;
    }
    let world = world();
    let agent = world.agent().start().listening();
    use_everything(&world, &agent);
    assert!(maps(agent.pid()).contains("secretmem"), "a kernel or a filter without memfd_secret");
    assert!(core(&world.env, agent.pid()) > 1 << 18);
    world.env.hunt();
}

/// The hunt in a core finds what is there: in the main process, which has the variables.
#[test]
fn a_core_of_the_main_process_holds_its_values() {
    if !requires("a_core_of_the_main_process_holds_its_values", &ROOT_WITH_GDB) {
        return;
    }
    let world = world();
    let agent = world.agent().command(["sleep", "1000"]).start().listening();
    let main = main_process(agent.pid());
    core(&world.env, main);
    let found: Vec<_> = world.env.take_leaks().into_iter().map(|leak| leak.label).collect();
    for label in ["key", "pem", "template"] {
        assert!(found.iter().any(|it| it == label), "{label} in {found:?}");
    }
    fs::remove_file(world.env.path("work").join(format!("core.{main}"))).unwrap();
}

/// What the server has given out or taken in is gone from its memory; the key to all of it is not, see the threat model.
#[test]
fn a_core_of_the_idle_server_holds_no_value() {
    if !requires("a_core_of_the_idle_server_holds_no_value", &ROOT_WITH_GDB) {
        return;
    }
    let world = world();
    let mut agent = world.agent().start().listening();
    use_everything(&world, &agent);
    let refused = world.env.canary("refused");
    let body = serde_json::json!({ "name": "key", "value": refused });
    let _ = world.alice.rest().post("/users/me/secrets", &body).expect(409);
    assert_eq!(agent.terminate().code, Some(0));
    world.workspace.wait_lifecycle("off");
    assert!(core(&world.env, world.server.pid()) > 1 << 20);
    world.env.hunt();
}

/// An agent as `nobody`, started by a program that sets something up.
fn as_nobody(world: &World, wrapper: &[&str], command: &[&str]) -> Process {
    let home = world.env.new_home("homes/nobody");
    for path in [world.env.path(""), world.env.path("homes")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).unwrap();
    let (first, rest) = wrapper.split_first().expect("a program");
    let run = world.env.program(first).args(rest).arg(&tests::binaries().coder).args(["agent", "--user", "nobody"]);
    let run = run.args(["--agent-url", world.server.url(), "--log-dir"]).arg(&home).cwd("/");
    let run = run.env("CODER_AGENT_TOKEN", world.workspace.token()).env("CODER_AGENT_SOCKET", home.join("agent.sock"));
    if command.is_empty() { run } else { run.arg("--").args(command) }.spawn("agent")
}

/// What of one process of `nobody` another one can read, by name.
fn read_by_its_user(env: &Env, pid: u32) -> String {
    let script = r"
cd /proc/$1
for file in mem environ maps smaps auxv stack syscall io pagemap map_files/ fd/ cwd/ exe; do
  if head -c 1 $file >/dev/null 2>&1 || { [ -d $file ] && ls $file >/dev/null 2>&1; }; then echo read $file; fi
done
if timeout 1 strace -o /dev/null -p $1 2>&1 | grep -q attached; then echo traced; fi
";
    let ids = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script, "sh"];
    env.program("/usr/bin/setpriv").args(ids).arg(pid.to_string()).cwd("/").run().success().stdout
}

#[test]
fn others_of_the_same_user_read_nothing_of_the_agent() {
    let needs = [Need::Root, Need::Program("setpriv", "util-linux"), Need::Program("strace", "strace")];
    if !requires("others_of_the_same_user_read_nothing_of_the_agent", &needs) {
        return;
    }
    let world = world();
    let agent = as_nobody(&world, &["/usr/bin/env"], &["sleep", "1000"]);
    world.workspace.wait_lifecycle("ready");
    assert_eq!(read_by_its_user(&world.env, agent.pid()), "");
    // What it started is as open to its user as any other process.
    let read = read_by_its_user(&world.env, main_process(agent.pid()));
    assert!(read.contains("read environ\n") && read.contains("read maps\n"), "{read:?}");
    // Root's own view: the token is gone from what the agent was started with.
    let environ = fs::read(format!("/proc/{}/environ", agent.pid())).unwrap();
    world.env.write("environ", environ);
    world.env.hunt();
}

#[test]
fn where_nothing_may_be_locked_one_warning_says_so() {
    let needs = [Need::Root, Need::Program("prlimit", "util-linux"), Need::Program("gcore", "gdb")];
    if !requires("where_nothing_may_be_locked_one_warning_says_so", &needs) {
        return;
    }
    let world = world();
    let agent = as_nobody(&world, &["/usr/bin/prlimit", "--memlock=0:0"], &[]);
    world.workspace.wait_lifecycle("ready");
    for count in 2..4 {
        agent.signal(Signal::SIGHUP);
        wait_until("a delivery", LONG, || agent.stderr().matches(": delivered ").count() >= count);
    }
    let warnings = agent.stderr().matches("memory cannot be locked").count();
    assert_eq!(warnings, 1, "{}", agent.stderr());
    // Not locked, but still not dumped.
    core(&world.env, agent.pid());
    world.env.hunt();
}

/// In a container whose filter knows no `memfd_secret`.
#[test]
fn without_secret_memory_values_are_locked_and_not_dumped() {
    let needs = [Need::Root, Need::Program("strace", "strace")];
    if !requires("without_secret_memory_values_are_locked_and_not_dumped", &needs) {
        return;
    }
    let world = world();
    let inject = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=memfd_secret:error=ENOSYS"];
    let mut strace = as_nobody(&world, &[&["/usr/bin/strace"][..], &inject].concat(), &[]);
    world.workspace.wait_lifecycle("ready");
    let agent = children(strace.pid())[0];
    let maps = maps(agent);
    let flags: Vec<_> = maps.lines().filter(|line| line.starts_with("VmFlags:")).collect();
    let guarded = |flags: &&&str| ["lo", "dd", "dc"].iter().all(|flag| flags.split(' ').any(|it| it == *flag));
    assert!(flags.iter().any(|flags| guarded(&flags)) && !maps.contains("secretmem"), "{maps}");
    assert!(!strace.stderr().contains("the limit of locked memory"), "{}", strace.stderr());
    kill(Pid::from_raw(agent.try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(strace.exit_within(LONG).code, Some(0));
}

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// The `sleep` that an agent was given.
fn main_process(agent: u32) -> u32 {
    let is_sleep = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
    wait_for("the main process", LONG, || children(agent).into_iter().find(is_sleep))
}
