use protocol::problem::Problem;
use protocol::rest::{AgentGitSshKey, SESSION_TOKEN_HEADER};
use protocol::secret::Secret;

use super::dial::Endpoint;
use super::failure;
use super::rest::{Rest, RestError};

/// The largest key there is, RSA with 4096 bits, takes 5 KiB.
const MAX_ANSWER: usize = 64 * 1024;

impl Endpoint {
    /// The SSH key of the workspace's owner. The server writes down that it was asked for.
    pub async fn git_key(&self) -> Result<AgentGitSshKey, RestError> {
        let request = Rest::new(self).client().await?.get(self.route("/api/v2/workspaceagents/me/gitsshkey"));
        let request = request.header(SESSION_TOKEN_HEADER, self.token_header());
        let mut answer = request.send().await.map_err(|error| RestError::Send(error.without_url()))?;
        let status = answer.status();
        // As a secret from the first byte, and never grown: no piece of it stays behind.
        let mut body = Vec::with_capacity(MAX_ANSWER);
        while let Some(chunk) = answer.chunk().await.map_err(|error| RestError::Send(error.without_url()))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(RestError::TooLarge(MAX_ANSWER));
            }
            body.extend_from_slice(&chunk);
        }
        let body = Secret::new(body);
        if !status.is_success() {
            let problem = serde_json::from_slice::<Problem>(body.expose()).unwrap_or_default();
            return Err(RestError::Refused { status, detail: failure::printable(&problem.message) });
        }
        // What serde says about a malformed answer could quote it.
        serde_json::from_slice(body.expose()).map_err(|_| RestError::Malformed)
    }
}
