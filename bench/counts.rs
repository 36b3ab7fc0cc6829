//! Instructions and system calls of code paths: the same on a busy machine as on a quiet one.

use tests::{LONG, Run, Workspace, binaries};

use crate::figure::Figure;
use crate::report::Report;
use crate::section::Section;
use crate::world::World;

/// A command that starts one more is not followed, so what `exec` starts must not exist for its own end to be seen.
const NOTHING: &str = "/nonexistent";

/// Appends the arguments and variables of a code path to a command line that ends in `coder`.
type Path<'a> = &'a dyn Fn(Run) -> Run;

/// What profiles of these paths showed. They name functions, so they are read by people; a change of the code may outdate it.
const FOUND: &str = "\
What profiles of these paths led to: `coder exec` and `coder env` ask the agent without a runtime of their own; the first call goes \
out with the upgrade of the connection, so that a manifest takes two round trips; a delivery does not wait for the commit of its \
audit record; files and directories are flushed while they wait for each other, and not written where they hold the secret already. \
A command that others wait for is parsed by a tree of that command alone: half of the instructions of `coder exec` were spent on the \
tree of all of them. The unwinder is part of the executable: to load libgcc_s for it was a tenth of the time of `coder exec`. What \
`coder exec` still takes beside the new program is for the most part the loader's and the kernel's, which hands out page by page.";

pub fn measure(world: &mut World, report: &mut Report) {
    let agent = world.env.agent(&world.server, &world.idle).start().listening();
    let _ = agent.coder(["exec", "--wait", "1m", "true"]).run().success();
    let socket = agent.socket().display().to_string();
    let exec = |run: Run| run.env("CODER_AGENT_SOCKET", &socket).args(["exec", NOTHING]);
    let list = |run: Run| {
        let run = run.env("CODER_URL", world.server.url()).env("CODER_SESSION_TOKEN", &world.alice.token);
        run.args(["secret", "list"])
    };
    let _ = world.env.user("counts");
    let empty = world.env.workspace("owner: counts\nname: counts\nagent: { name: main }\n");
    let full = world.env.workspace("owner: alice\nname: counts\nagent: { name: main }\n");
    let first = |run: Run| boot(world, &full, run);
    let none = |run: Run| boot(world, &empty, run);
    let paths: [(&str, i32, Path<'_>); 4] = [
        ("`coder exec`, 25 variables, up to the new program", 127, &exec),
        ("`coder agent` with a main process that ends at once, 50 secrets, files as they were", 0, &first),
        ("the same without secrets", 0, &none),
        ("`coder secret list`, 50 secrets", 0, &list),
    ];
    let mut instructions = Section::new("Instructions, counted by callgrind", "million");
    let mut calls = Section::new("System calls, counted by strace", "calls");
    instructions.text(FOUND);
    // With the exit code that says that it was gone to its end.
    for (what, code, path) in paths {
        // The first leaves the files behind that the counted one finds.
        let _ = path(world.env.program(&binaries().coder)).run().exits(code);
        match counted(world, code, path) {
            Some(count) => instructions.ours(what, count),
            None => instructions.text(format!("Valgrind could not run {what} to its end.")),
        }
        calls.ours(what, called(world, code, path));
    }
    report.add(instructions);
    report.add(calls);
}

/// Boots and stops in order.
fn boot(world: &World, workspace: &Workspace, run: Run) -> Run {
    let home = world.env.new_home(&format!("homes/counts-{}", workspace.owner));
    let run = run.args(["agent", "--log-dir"]).arg(world.env.path("logs"));
    let run = if rustix::process::geteuid().is_root() { run.arg("--allow-root") } else { run };
    let socket = home.join("agent.sock");
    run.env("HOME", home)
        .env("CODER_AGENT_URL", world.server.url())
        .env("CODER_AGENT_TOKEN", workspace.token())
        .env("CODER_AGENT_SOCKET", socket)
        .args(["--", "true"])
}

fn counted(world: &World, code: i32, path: Path<'_>) -> Option<Figure> {
    let profile = format!("--callgrind-out-file={}", world.env.path("work/callgrind").display());
    let valgrind = world.env.program("/usr/bin/valgrind").args(["--tool=callgrind", &profile]);
    let output = path(valgrind.arg(&binaries().coder).limit(LONG * 4)).run();
    let line = output.stderr.lines().find_map(|line| line.split("Collected : ").nth(1))?;
    let count: f64 = line.trim().parse().ok()?;
    (output.exit.code == Some(code)).then(|| Figure::exact(count / 1e6))
}

fn called(world: &World, code: i32, path: Path<'_>) -> Figure {
    let summary = world.env.path("work/strace");
    let strace = world.env.program("/usr/bin/strace").args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&summary);
    let _ = path(strace.arg(&binaries().coder).limit(LONG * 4)).run().exits(code);
    let text = std::fs::read_to_string(&summary).expect("strace's summary");
    let total =
        text.lines().find(|line| line.trim_end().ends_with("total")).and_then(|line| line.split_whitespace().next());
    Figure::exact(total.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{text}")))
}
