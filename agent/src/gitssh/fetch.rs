//! Where the key is: in the workspace's running agent, which signs for us, else here, from the control plane.

use std::ffi::OsString;
use std::sync::Arc;

use protocol::rest::AgentGitSshKey;

use super::key::{GitKey, KeyError, PublicKey};
use crate::config::{AgentArgs, Config, ConfigError};
use crate::control::{Endpoint, RestError, Role};
use crate::network::{Network, ProxyError};
use crate::sessions::client::{Client, ClientError};
use crate::sys::threads;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FetchError {
    #[error("this is no workspace: no agent of yours runs here, and CODER_AGENT_URL is not set")]
    NoWorkspace,
    #[error("no agent of yours runs here, and there is nothing to ask the server with")]
    Config(#[source] ConfigError),
    #[error("no way to the server")]
    Proxy(#[from] ProxyError),
    #[error("the agent of this workspace does not have your git key")]
    Agent(#[source] ClientError),
    #[error("the server does not give out your git key")]
    Server(#[source] RestError),
    #[error("your git key cannot be used")]
    Key(#[from] KeyError),
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SignError {
    #[error("your git key cannot be used")]
    Key(#[from] KeyError),
    #[error("the agent of this workspace did not sign")]
    Agent(#[source] ClientError),
}

/// A key that can sign.
#[derive(Debug)]
pub enum Key {
    /// In the running agent's memory. It never leaves that: we have its public part, and ask for each signature.
    Agent(PublicKey, Client),
    /// In the memory of this process.
    Here(GitKey),
}

impl Key {
    /// Its public part.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        match self {
            Self::Agent(public, _) => public,
            Self::Here(key) => key.public(),
        }
    }

    /// Signs, and gives the signature as it travels in the protocol.
    pub async fn sign(self: &Arc<Self>, data: Vec<u8>, flags: u32) -> Result<Vec<u8>, SignError> {
        let (blob, client) = match &**self {
            Self::Here(key) => return Ok(key.sign(&data, flags)?),
            Self::Agent(public, client) => (public.blob().to_vec(), *client),
        };
        threads::run(move || client.git_sign(blob, data, flags)).await.map_err(SignError::Agent)
    }

    /// The public part as it is now, where the agent may have offered one from before it was replaced.
    #[must_use]
    pub fn present(&self) -> PublicKey {
        let now = match self {
            Self::Agent(_, client) => client.git_key(true).ok().and_then(|line| PublicKey::parse(&line).ok()),
            Self::Here(_) => None,
        };
        now.unwrap_or_else(|| self.public().clone())
    }
}

/// Asks the running agent, else the server with the agent's token where this process has it. `fresh` is for a key that
/// may have been replaced just now.
pub async fn fetch(client: Client, fresh: bool) -> Result<Key, FetchError> {
    // The question blocks until the agent has heard from the server; this thread answers ssh meanwhile.
    match threads::run(move || client.git_key(fresh)).await {
        Ok(line) => Ok(Key::Agent(PublicKey::parse(&line)?, client)),
        Err(ClientError::NoAgent { .. }) => Ok(Key::Here(GitKey::new(from_server().await?)?)),
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
    let network = Network::new(config.url, config.network, &variables)?;
    Endpoint::new(network, config.token, Role::Observer).git_key().await.map_err(FetchError::Server)
}
