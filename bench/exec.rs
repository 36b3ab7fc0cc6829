//! What it costs to start a command in the environment.

use std::fmt::Write as _;

use tests::{Agent, Workspace, binaries};

use crate::peers::Peers;
use crate::report::Report;
use crate::rounds::{Contender, race};
use crate::section::{Goal, Section};
use crate::world::World;
use crate::wrappers;

/// How many secrets, and how many variables of the template beside them.
const SIZES: [(usize, usize); 4] = [(1, 0), (10, 0), (50, 0), (50, 50)];

/// What the largest size must show: how many times as long as ours each must take.
const SLOWER: [(&str, f64); 5] =
    [("fnox", 3.0), ("doppler", 3.0), ("summon", 3.0), ("secretspec", 7.0), ("direnv", 10.0)];

pub fn measure(world: &mut World, report: &mut Report) {
    for (secrets, template) in SIZES {
        let mut section = Section::new(title(secrets, template), "ms");
        compete(world, &mut section, secrets, template);
        if template > 0 {
            goals(&mut section, &world.peers);
        }
        report.add(section);
    }
}

fn title(secrets: usize, template: usize) -> String {
    match (secrets, template) {
        (1, 0) => "Start a command with 1 secret".to_owned(),
        (_, 0) => format!("Start a command with {secrets} secrets"),
        _ => format!("Start a command with {secrets} secrets and {template} template variables"),
    }
}

fn compete(world: &World, section: &mut Section, secrets: usize, template: usize) {
    let name = format!("exec-{secrets}-{template}");
    let (agent, variables) = agent(world, &name, secrets, template);
    let ours = Contender::new("`coder exec`", format!("{} exec true", binaries().coder.display()))
        .variable("CODER_AGENT_SOCKET", agent.socket().display().to_string());
    let directory = world.env.new_home(&format!("homes/peers-{name}"));
    let mut contenders = vec![ours];
    contenders.extend(wrappers::contenders(&world.env, &world.peers, &variables, &directory));
    assert!(contenders[0].delivers(&world.env, &variables), "we deliver what we are measured with");
    contenders.retain(|contender| {
        let delivers = contender.delivers(&world.env, &variables);
        if !delivers {
            section.text(format!("{} is left out: it did not deliver the variables.", contender.what));
        }
        delivers
    });
    contenders.push(Contender::new("bare start of `true`", "true"));
    let figures = race(&world.env, &contenders);
    for (index, (contender, figure)) in contenders.iter().zip(figures).enumerate() {
        match index {
            0 => section.ours(&contender.what, figure),
            _ if index + 1 == contenders.len() => section.limit(&contender.what, figure),
            _ => section.peer(&contender.what, figure),
        }
    }
}

/// An agent that is ready, and the variables that it delivers.
fn agent(world: &World, name: &str, secrets: usize, template: usize) -> (Agent, Vec<(String, String)>) {
    let (workspace, variables) = workspace(world, name, secrets, template);
    let agent = world.env.agent(&world.server, &workspace).start().listening();
    let _ = agent.coder(["exec", "--wait", "1m", "true"]).run().success();
    (agent, variables)
}

/// A workspace of a user of its own, and the variables that its agent delivers.
pub fn workspace(world: &World, name: &str, secrets: usize, template: usize) -> (Workspace, Vec<(String, String)>) {
    let user = world.env.user(name);
    let mut variables: Vec<_> = (0..secrets)
        .map(|number| {
            let variable = format!("SECRET_{number}");
            let value = user.secret(&format!("variable-{number}"), &["--env", &variable]);
            (variable, value)
        })
        .collect();
    let mut definition = format!("owner: {name}\nname: {name}\nagent:\n  name: main\n  env:\n    TEMPLATE: value\n");
    for number in 0..template {
        let _ = writeln!(definition, "    TEMPLATE_{number}: a-value-of-the-template");
        variables.push((format!("TEMPLATE_{number}"), "a-value-of-the-template".to_owned()));
    }
    (world.env.workspace(&definition), variables)
}

fn goals(section: &mut Section, peers: &Peers) {
    let ratio =
        |name: &str, section: &Section| section.ratios().find_map(|(what, ratio)| (what == name).then_some(ratio));
    let what = "a command with 50 secrets and 50 template variables";
    match ratio("envdir", section) {
        Some(ratio) => section.goal(Goal::at_most(format!("{what}: at most twice envdir"), 1.0 / ratio, 2.0)),
        None => section.goal(Goal::unknown(format!("{what}: at most twice envdir"), "envdir is not installed")),
    }
    for (name, times) in SLOWER {
        let what = format!("{what}: at least {times} times as fast as {name}");
        section.goal(match (ratio(name, section), peers.get(name)) {
            (Some(ratio), _) => Goal::at_least(what, ratio, times),
            (None, Err(why)) => Goal::unknown(what, why),
            (None, Ok(_)) => Goal::unknown(what, "it was not run"),
        });
    }
}
