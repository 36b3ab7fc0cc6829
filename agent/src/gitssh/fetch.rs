//! Where the key comes from: the workspace's running agent, else the control plane.

use std::ffi::OsString;

use protocol::rest::AgentGitSshKey;

use super::key::{GitKey, KeyError};
use crate::config::{AgentArgs, Config, ConfigError};
use crate::control::{Endpoint, RestError, Role};
use crate::sessions::client::{self, ClientError};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FetchError {
    #[error("this is no workspace: no agent of yours runs here, and CODER_AGENT_URL is not set")]
    NoWorkspace,
    #[error("no agent of yours runs here, and there is nothing to ask the server with")]
    Config(#[source] ConfigError),
    #[error("cannot ask the agent of this workspace")]
    Ask(#[source] tokio::task::JoinError),
    #[error("the agent of this workspace does not give out your git key")]
    Agent(#[source] ClientError),
    #[error("the server does not give out your git key")]
    Server(#[source] RestError),
    #[error("your git key cannot be used")]
    Key(#[from] KeyError),
}

/// Asks the running agent, else the server with the agent's token where this process has it.
pub async fn fetch() -> Result<GitKey, FetchError> {
    let wire = match from_agent().await? {
        Some(wire) => wire,
        None => from_server().await?,
    };
    Ok(GitKey::new(wire)?)
}

/// Asks the agent's local socket. None where no agent listens.
async fn from_agent() -> Result<Option<AgentGitSshKey>, FetchError> {
    // The question blocks until the agent has heard from the server; this thread answers ssh meanwhile.
    match tokio::task::spawn_blocking(client::git_key).await.map_err(FetchError::Ask)? {
        Ok((public_key, private_key)) => Ok(Some(AgentGitSshKey { public_key, private_key })),
        Err(ClientError::NoAgent { .. }) => Ok(None),
        Err(error) => Err(FetchError::Agent(error)),
    }
}

async fn from_server() -> Result<AgentGitSshKey, FetchError> {
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let agent_url = std::env::var("CODER_AGENT_URL").ok();
    let config = match Config::load(AgentArgs { agent_url, ..AgentArgs::default() }, &variables) {
        Ok(config) => config,
        Err(ConfigError::NoUrl) => return Err(FetchError::NoWorkspace),
        Err(error) => return Err(FetchError::Config(error)),
    };
    Endpoint::new(config.url, config.token, Role::Observer).git_key().await.map_err(FetchError::Server)
}
