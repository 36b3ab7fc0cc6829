//! `coder_agent`, and what refers to one.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::attributes::Attributes;
use super::input::{Instance, Mode};
use super::{Agent, AgentMetadata, Error, Script, variables};
use crate::secret::Secret;

/// What Coder calls the scripts that are written into an agent, and where their output goes.
const STARTUP: (&str, &str) = ("Startup Script", "coder-startup-script.log");
const SHUTDOWN: (&str, &str) = ("Shutdown Script", "coder-shutdown-script.log");
/// Seconds; the provider's default.
const CONNECTION_TIMEOUT: u64 = 120;

/// All agents. What refers to an agent that is not there is left out.
pub(super) fn agents(
    instances: &[Instance],
    left_out: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<Vec<Agent>, Error> {
    let found: Vec<_> = instances.iter().filter(|it| it.is(Mode::Managed, "coder_agent")).collect();
    unique_names(&found)?;
    let mut owned: HashMap<&str, Vec<&Instance>> = HashMap::new();
    for agent in &found {
        owned.insert(agent.attributes().required("id")?, Vec::new());
    }
    for it in instances.iter().filter(|it| it.is(Mode::Managed, "coder_script") || it.is(Mode::Managed, "coder_env")) {
        if let Some(of_agent) = owned.get_mut(it.attributes().text("agent_id")?) {
            of_agent.push(it);
        } else {
            notes.push(format!("{} is left out: it belongs to no agent of this state", it.address));
            left_out.push(it.address.clone());
        }
    }
    let mut agents = Vec::with_capacity(found.len());
    for instance in found {
        let id = instance.attributes().required("id")?;
        let of_agent = owned.remove(id).unwrap_or_default();
        agents.push(agent(instance, &of_agent, instances, notes)?);
    }
    Ok(agents)
}

/// Names of agents are unique whatever their letter case, as in Coder.
fn unique_names(agents: &[&Instance]) -> Result<(), Error> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for agent in agents {
        if let Some(first) = seen.insert(agent.name.to_ascii_lowercase(), &agent.address) {
            return Err(Error::AgentNames { first: first.to_owned(), second: agent.address.clone() });
        }
    }
    let mut ids = HashSet::new();
    for agent in agents {
        let attributes = agent.attributes();
        if !ids.insert(attributes.required("id")?) {
            return Err(attributes.wrong("id", "is that of another agent"));
        }
    }
    Ok(())
}

fn agent(
    instance: &Instance,
    of_agent: &[&Instance],
    instances: &[Instance],
    notes: &mut Vec<String>,
) -> Result<Agent, Error> {
    let attributes = instance.attributes();
    let address = &instance.address;
    let resource = machine(instance, instances).map(|machine| machine.address.clone());
    if resource.is_none() {
        notes.push(format!("no resource depends on {address}: it is kept, where Coder drops it"));
    }
    let token = token(&attributes)?;
    if token.is_none() {
        notes.push(format!("{address} has no token of its own (auth is not \"token\"): the server makes one"));
    }
    let mut scripts = old_scripts(&attributes)?;
    for it in of_agent.iter().filter(|it| it.kind == "coder_script") {
        scripts.push(script(it, notes)?);
    }
    let envs = of_agent.iter().filter(|it| it.kind == "coder_env").copied();
    Ok(Agent {
        name: instance.name.clone(),
        token,
        dir: attributes.text("dir")?.to_owned(),
        motd_file: attributes.text("motd_file")?.to_owned(),
        connection_timeout: attributes.number("connection_timeout", CONNECTION_TIMEOUT)?,
        user_data: attributes.text("api_key_scope")? != "no_user_data",
        env: variables::merged(envs, &attributes, notes)?,
        scripts,
        metadata: metadata(&attributes)?,
        resource,
        address: address.clone(),
    })
}

/// The token that the machine was given. Whoever made it was the provider, so it is a random UUID.
fn token(attributes: &Attributes<'_>) -> Result<Option<Secret>, Error> {
    if !matches!(attributes.optional_text("auth")?, None | Some("token")) {
        return Ok(None);
    }
    let token = attributes.required("token")?;
    let random = Uuid::parse_str(token).is_ok_and(|uuid| uuid.get_version_num() == 4);
    if random {
        Ok(Some(Secret::from(token.to_owned())))
    } else {
        Err(attributes.wrong("token", "must be a UUID of version 4"))
    }
}

/// The resource that stands for the agent's machine: one that depends on it, and on no other such resource.
fn machine<'a>(agent: &Instance, instances: &'a [Instance]) -> Option<&'a Instance> {
    let wanted = agent.configuration();
    let dependents: Vec<_> = instances.iter().filter(|it| it.is_shown() && it.depends_on.contains(&wanted)).collect();
    let theirs: HashSet<_> = dependents.iter().map(|it| it.configuration()).collect();
    let nearest = |it: &&&Instance| it.depends_on.iter().all(|on| *on == it.configuration() || !theirs.contains(on));
    dependents.iter().find(nearest).or(dependents.first()).copied()
}

/// `startup_script` and `shutdown_script`.
fn old_scripts(attributes: &Attributes<'_>) -> Result<Vec<Script>, Error> {
    let blocking = attributes.text("startup_script_behavior")? == "blocking";
    let mut scripts = Vec::new();
    for (attribute, (name, log), start) in [("startup_script", STARTUP, true), ("shutdown_script", SHUTDOWN, false)] {
        let text = attributes.secret(attribute)?;
        if text.is_empty() {
            continue;
        }
        scripts.push(Script {
            display_name: name.to_owned(),
            script: text,
            sensitive: attributes.is_sensitive(attribute),
            icon: String::new(),
            run_on_start: start,
            run_on_stop: !start,
            cron: String::new(),
            start_blocks_login: start && blocking,
            timeout: 0,
            log_path: log.to_owned(),
        });
    }
    Ok(scripts)
}

fn script(instance: &Instance, notes: &mut Vec<String>) -> Result<Script, Error> {
    let attributes = instance.attributes();
    let script = Script {
        display_name: attributes.text("display_name")?.to_owned(),
        script: attributes.secret("script")?,
        sensitive: attributes.is_sensitive("script"),
        icon: attributes.text("icon")?.to_owned(),
        run_on_start: attributes.flag("run_on_start")?,
        run_on_stop: attributes.flag("run_on_stop")?,
        cron: attributes.text("cron")?.to_owned(),
        start_blocks_login: attributes.flag("start_blocks_login")?,
        timeout: attributes.number("timeout", 0)?,
        log_path: attributes.text("log_path")?.to_owned(),
    };
    let address = &instance.address;
    if !script.run_on_start && !script.run_on_stop && script.cron.is_empty() {
        notes.push(format!("{address} never runs: set run_on_start, run_on_stop or cron"));
    }
    if script.start_blocks_login && !script.run_on_start {
        notes.push(format!("{address}: start_blocks_login has no effect without run_on_start"));
    }
    Ok(script)
}

fn metadata(attributes: &Attributes<'_>) -> Result<Vec<AgentMetadata>, Error> {
    let mut keys = HashSet::new();
    let mut items = Vec::new();
    for block in attributes.blocks("metadata")? {
        let key = block.required("key")?;
        if !keys.insert(key) {
            return Err(block.wrong("key", "is used by another item of this agent"));
        }
        items.push(AgentMetadata {
            key: key.to_owned(),
            display_name: block.text("display_name")?.to_owned(),
            script: block.secret("script")?,
            interval: block.number("interval", 0)?,
            timeout: block.number("timeout", 0)?,
            order: block.integer("order")?.unwrap_or_default(),
        });
    }
    Ok(items)
}
