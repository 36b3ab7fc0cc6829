//! What starts processes on any machine. Each runs in a mount namespace of its own, where the shipped files are installed.

use tests::nasty::Seen;
use tests::{Need, Run, shipped};

use crate::ssh::logins::Logins;

pub(super) const NEEDS: [Need; 6] = [
    Need::Root,
    Need::Program("unshare", "util-linux"),
    Need::Program("script", "bsdutils"),
    Need::Program("su", "util-linux"),
    Need::Program("login", "login"),
    Need::Program("cron", "cron"),
];

const INSTALL_PROFILE: &str = r#"set -e; mount -t tmpfs -o mode=755 none /etc/profile.d; cp "$1" /etc/profile.d/; "#;

/// Real cron, which knows nothing but the user's table, and no boot before.
const CRON: &str = r#"set -e
mount --bind /run/coder-agent "$1"
mount -t tmpfs none /run
mkdir /run/coder-agent
mount --move "$1" /run/coder-agent
mount -t tmpfs none /etc/cron.d
mount --bind /dev/null /etc/crontab
mount -t tmpfs -o mode=1730,gid=crontab none /var/spool/cron/crontabs
crontab -u "$2" "$3"
exec cron -f"#;

fn in_namespace(world: &Logins, script: &str) -> Run {
    world.env.program("/usr/bin/unshare").args(["-m", "sh", "-c", script, "sh"]).cwd("/")
}

fn profile(world: &Logins) -> std::path::PathBuf {
    let snippet = shipped("profile.d/coder-agent.sh", &world.env.path("bin/coder"));
    world.env.write("coder-agent.sh", snippet)
}

/// A login shell, without a terminal.
pub(super) fn su(world: &Logins) -> Seen {
    let script = format!("{INSTALL_PROFILE} exec su - \"$2\"");
    let run = in_namespace(world, &script).arg(profile(world)).arg(&world.account.name);
    let _ = run.stdin("env -0 > ~/project/su\n").run().success();
    Seen::read(world.account.home.join("project/su"))
}

/// A login at a terminal, such as the console.
pub(super) fn login(world: &Logins) -> Seen {
    let script = format!("{INSTALL_PROFILE} exec script -qec \"login -f $2\" /dev/null");
    let run = in_namespace(world, &script).arg(profile(world)).arg(&world.account.name);
    let _ = run.env("TERM", "vt100").stdin("env -0 > ~/project/login; exit\n").run().success();
    Seen::read(world.account.home.join("project/login"))
}

/// The documented line, at the time that comes soonest.
pub(super) fn cron(world: &Logins) -> Seen {
    let line = super::documented_cron_line();
    let line = line
        .replace("*/5 * * * *", "@reboot")
        .replace("/usr/local/bin/coder", &world.env.path("bin/coder").display().to_string());
    let table = world.env.write("crontab", line + "\n");
    let report =
        "#!/bin/sh\n[ \"$*\" = --daily ] && cp /proc/$$/environ ~/project/job && mv ~/project/job ~/project/cron\n";
    let _ =
        world.account.sh("mkdir ~/bin && cat > ~/bin/report && chmod +x ~/bin/report").stdin(report).run().success();
    let place = world.env.new_home("cron");
    let cron = in_namespace(world, CRON).arg(place).arg(&world.account.name).arg(table);
    let _cron = cron.spawn("cron");
    super::wait_seen(world, "cron")
}
