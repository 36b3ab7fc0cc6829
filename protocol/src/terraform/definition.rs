//! A state's workspace as the server takes it.

use super::{Agent, Error, Resource, Script, Workspace};
use crate::definition::{self, AgentMetadata, Definition, Place, Runs, Variable};

impl Workspace {
    /// What the server takes, and what the template's author should know, a sentence each. `name` stands in for the name in the state.
    pub fn into_definition(self, name: Option<String>) -> Result<(Definition, Vec<String>), Error> {
        let Self { name: stated, owner, id, agents, resources, required_secrets, left_out, mut notes } = self;
        if !left_out.is_empty() {
            notes.push(format!("left out, because this server has no use for them: {}", left_out.join(", ")));
        }
        // The id is that of the workspace which the state names.
        let renamed = name.as_ref().is_some_and(|name| stated.as_ref().is_some_and(|stated| stated != name));
        let addresses: Vec<_> = agents.iter().map(|agent| agent.address.clone()).collect();
        let definition = Definition {
            owner,
            name: name.or(stated).ok_or(Error::NoName)?,
            id: id.filter(|_| !renamed),
            agents: agents.into_iter().map(agent).collect(),
            resources: resources.into_iter().map(resource).collect(),
            required_secrets,
        };
        definition.check().map_err(|misfit| {
            let address = match misfit.place {
                Place::Workspace => None,
                Place::Agent(n) => addresses.get(n).cloned(),
                Place::Resource(n) => definition.resources.get(n).map(|resource| resource.address.clone()),
            };
            Error::Unfit { address: address.unwrap_or_else(|| "this workspace".into()), detail: misfit.detail }
        })?;
        Ok((definition, notes))
    }
}

fn agent(agent: Agent) -> definition::Agent {
    let env = agent.env.iter().map(|(name, variable)| {
        let value = variable.delivered(name);
        // A plain value is expanded as Coder does it; nothing else is said about it.
        (name.clone(), Variable { value, sensitive: variable.is_sensitive().then_some(true) })
    });
    definition::Agent {
        env: env.collect(),
        name: agent.name,
        address: agent.address,
        token: agent.token,
        directory: agent.dir,
        motd_file: agent.motd_file,
        connection_timeout: seconds(agent.connection_timeout),
        user_data: agent.user_data,
        scripts: agent.scripts.into_iter().map(script).collect(),
        metadata: metadata(agent.metadata),
        resource: agent.resource.unwrap_or_default(),
    }
}

fn script(script: Script) -> definition::Script {
    definition::Script {
        display_name: script.display_name,
        script: script.script,
        sensitive: script.sensitive,
        icon: script.icon,
        runs: Runs {
            run_on_start: script.run_on_start,
            run_on_stop: script.run_on_stop,
            start_blocks_login: script.start_blocks_login,
            cron: script.cron,
        },
        timeout: seconds(script.timeout),
        log_path: script.log_path,
    }
}

/// In the order that the template wishes.
fn metadata(mut items: Vec<super::AgentMetadata>) -> Vec<AgentMetadata> {
    items.sort_by_key(|item| item.order);
    let neutral = |item: super::AgentMetadata| AgentMetadata {
        display_name: if item.display_name.is_empty() { item.key.clone() } else { item.display_name },
        key: item.key,
        script: item.script.expose_str().unwrap_or_default().to_owned(),
        interval: seconds(item.interval),
        timeout: seconds(item.timeout),
    };
    items.into_iter().map(neutral).collect()
}

fn resource(resource: Resource) -> definition::Resource {
    let item = |item: super::Item| definition::Item { key: item.key, value: item.value, sensitive: item.sensitive };
    definition::Resource {
        address: resource.address,
        kind: resource.kind,
        name: resource.name,
        module_path: resource.module_path,
        hide: resource.hide,
        icon: resource.icon,
        daily_cost: resource.daily_cost,
        items: resource.items.into_iter().map(item).collect(),
    }
}

/// More than the wire can say is as good as no limit.
fn seconds(seconds: u64) -> i64 {
    i64::from(i32::try_from(seconds).unwrap_or(i32::MAX))
}
