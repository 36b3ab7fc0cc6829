use std::time::Duration;

use protocol::rest::PostLogSourceRequest;
use reqwest::{Response, StatusCode};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::dial::Endpoint;
use super::redirect::Redirect;
use super::words::{Quoted, printable};
use crate::network::{HeaderError, NetworkError};
use crate::tls::TlsFailure;

/// The limit of Coder's agent.
const LIMIT: Duration = Duration::from_secs(30);

/// The few calls that are not on the session.
pub(super) struct Rest<'e> {
    endpoint: &'e Endpoint,
    /// Made for the first call: most boots make none.
    client: OnceCell<reqwest::Client>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RestError {
    #[error("cannot prepare requests")]
    Client(#[source] reqwest::Error),
    #[error("cannot prepare requests")]
    Network(#[from] NetworkError),
    #[error("cannot prepare requests")]
    Headers(#[from] HeaderError),
    #[error("cannot send the request")]
    Send(#[source] reqwest::Error),
    #[error("no secure connection to the server")]
    Tls(#[source] TlsFailure),
    #[error("the server {0}")]
    Redirect(Redirect),
    #[error("the server answers {status}{}", Quoted(.detail))]
    Refused { status: StatusCode, detail: String },
    #[error("the server's answer is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the server's answer is malformed")]
    Malformed,
}

impl RestError {
    pub(super) fn sent(error: reqwest::Error) -> Self {
        match TlsFailure::find(&error) {
            Some(failure) => Self::Tls(failure),
            None => Self::Send(error.without_url()),
        }
    }
}

impl<'e> Rest<'e> {
    pub(super) fn new(endpoint: &'e Endpoint) -> Self {
        Self { endpoint, client: OnceCell::new() }
    }

    /// Makes the agent's own log source; one that exists already is fine.
    pub(super) async fn post_log_source(&self, id: Uuid) -> Result<(), RestError> {
        let body = PostLogSourceRequest { id, display_name: "Coder Agent".to_owned(), icon: String::new() };
        let address = self.endpoint.route("/api/v2/workspaceagents/me/log-source");
        let request = self.client().await?.post(address).headers(self.endpoint.headers().await?).json(&body);
        let answer = request.send().await.map_err(RestError::sent)?;
        self.not_elsewhere(&answer)?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(RestError::Refused { status, detail: String::new() }) }
    }

    /// An error for an answer that points to another place.
    pub(super) fn not_elsewhere(&self, answer: &Response) -> Result<(), RestError> {
        if !answer.status().is_redirection() {
            return Ok(());
        }
        Err(RestError::Redirect(Redirect::new(self.endpoint.url(), answer.url().path(), answer.headers())))
    }

    /// The client of all calls.
    pub(super) async fn client(&self) -> Result<&reqwest::Client, RestError> {
        self.client.get_or_try_init(|| async { self.build() }).await
    }

    fn build(&self) -> Result<reqwest::Client, RestError> {
        self.endpoint.network().client()?.timeout(LIMIT).build().map_err(RestError::Client)
    }
}

/// What a refusal's body says, if it is a Coder error.
pub(super) fn refused(status: StatusCode, body: &[u8]) -> RestError {
    let problem = serde_json::from_slice::<protocol::problem::Problem>(body).unwrap_or_default();
    RestError::Refused { status, detail: printable(&problem.message) }
}
