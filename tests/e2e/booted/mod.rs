//! Everything of ours on a machine that systemd has really booted, installed and set up as docs/operations.md says.

mod absent;
mod life;
mod machine;
mod root;
mod server;
mod unit;
mod ways;
mod world;

use tests::{Env, Need, requires};

use machine::Machine;
use world::Booted;

type Check = fn(&Booted);

/// One boot serves many checks; the one that was named last is the one that failed.
#[track_caller]
fn check(world: &Booted, checks: &[(&str, Check)]) {
    for (name, check) in checks {
        eprintln!("check: {name}");
        check(world);
    }
}

fn world(test: &str) -> Option<Booted> {
    let programs = [
        ("systemd-nspawn", "systemd-container"),
        ("debootstrap", "debootstrap"),
        ("nsenter", "util-linux"),
        ("journalctl", "systemd"),
        ("ssh", "openssh-client"),
        ("make", "make"),
    ];
    let needs = programs.map(|(program, package)| Need::Program(program, package));
    if !requires(test, &[Need::Root]) || !requires(test, &needs) {
        return None;
    }
    let env = Env::new();
    let machine = Machine::installed(&env);
    Some(Booted::set_up(env, machine))
}

#[test]
fn every_way_into_a_booted_machine_sees_the_same_bytes_and_none_depends_on_the_agent() {
    let test = "every_way_into_a_booted_machine_sees_the_same_bytes_and_none_depends_on_the_agent";
    let Some(world) = world(test) else { return };
    check(
        &world,
        &[
            ("agents of two users start, and cron has its line", ways::start),
            (
                "SSH, services of the user, su, exec, scripts and EnvironmentFile= see the exact bytes",
                ways::the_same_bytes,
            ),
            ("root's login is untouched", ways::root_is_untouched),
            ("cron sees the exact bytes", ways::cron),
            ("a change reaches services of the user by itself, and with the agent's unit", ways::services_follow),
            ("an agent that hangs keeps nobody out", absent::hangs),
            ("without an agent everybody gets in", absent::stopped),
            ("without the package everybody gets in", absent::removed),
        ],
    );
}

#[test]
fn the_units_live_through_faults_a_power_off_and_a_boot_without_a_server() {
    let Some(mut world) = world("the_units_live_through_faults_a_power_off_and_a_boot_without_a_server") else {
        return;
    };
    check(
        &world,
        &[
            ("the server runs as itself, comes back when killed, and keeps its data", server::lives),
            ("the agent is active with its first delivery and not before", unit::active_when_settled),
            ("the agent runs as its user, with its socket and without the token", unit::runs_as_its_user),
            ("sshd and the agent do not wait for each other", unit::not_ordered_with_sshd),
            ("reload fetches, and fails where nothing can be fetched", unit::reload),
            ("a killed agent comes back, and a session lives on", life::killed),
            ("a stopped agent is replaced by the watchdog", life::watchdog),
            ("stop runs the stop scripts and tells the server", life::stop),
        ],
    );
    eprintln!("check: a power-off waits for nobody");
    life::power_off(&mut world);
    eprintln!(
        "check: a boot without a server lets everybody in, and the agent and the services come when the server does"
    );
    life::boot_without_server(&mut world);
}
