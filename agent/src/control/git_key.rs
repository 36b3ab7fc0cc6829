use protocol::rest::AgentGitSshKey;
use protocol::secret::Secret;

use super::dial::Endpoint;
use super::rest::{self, Rest, RestError};

/// The largest key there is, RSA with 4096 bits, takes 5 KiB.
const MAX_ANSWER: usize = 64 * 1024;

impl Endpoint {
    /// The SSH key of the workspace's owner. The server writes down that it was asked for.
    pub async fn git_key(&self) -> Result<AgentGitSshKey, RestError> {
        let rest = Rest::new(self);
        let request = rest.client().await?.get(self.route("/api/v2/workspaceagents/me/gitsshkey"));
        let mut answer = request.headers(self.headers().await?).send().await.map_err(RestError::sent)?;
        rest.not_elsewhere(&answer)?;
        let status = answer.status();
        // As a secret from the first byte, and never grown: no piece of it stays behind.
        let mut body = Vec::with_capacity(MAX_ANSWER);
        while let Some(chunk) = answer.chunk().await.map_err(RestError::sent)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(RestError::TooLarge(MAX_ANSWER));
            }
            body.extend_from_slice(&chunk);
        }
        let body = Secret::new(body);
        if !status.is_success() {
            return Err(rest::refused(status, body.expose()));
        }
        // What serde says about a malformed answer could quote it.
        serde_json::from_slice(body.expose()).map_err(|_| RestError::Malformed)
    }
}
