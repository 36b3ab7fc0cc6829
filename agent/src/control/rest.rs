use std::time::Duration;

use protocol::rest::{PostLogSourceRequest, SESSION_TOKEN_HEADER};
use reqwest::StatusCode;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::dial::Endpoint;
use super::failure::{DialError, Quoted};
use crate::names;

/// As the real agent's.
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
    #[error("cannot prepare secure requests")]
    Tls(#[source] DialError),
    #[error("cannot send the request")]
    Send(#[source] reqwest::Error),
    #[error("the server answers {0}")]
    Status(StatusCode),
    #[error("the server answers {status}{}", Quoted(.detail))]
    Refused { status: StatusCode, detail: String },
    #[error("the server's answer is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the server's answer is malformed")]
    Malformed,
}

impl<'e> Rest<'e> {
    pub(super) fn new(endpoint: &'e Endpoint) -> Self {
        Self { endpoint, client: OnceCell::new() }
    }

    /// Makes the agent's own log source; one that exists already is fine.
    pub(super) async fn post_log_source(&self, id: Uuid) -> Result<(), RestError> {
        let client = self.client().await?;
        let body = PostLogSourceRequest { id, display_name: "Coder Agent".to_owned(), icon: String::new() };
        let answer = client
            .post(self.endpoint.route("/api/v2/workspaceagents/me/log-source"))
            .header(SESSION_TOKEN_HEADER, self.endpoint.token_header())
            .json(&body)
            .send()
            .await
            .map_err(RestError::Send)?;
        if answer.status().is_success() { Ok(()) } else { Err(RestError::Status(answer.status())) }
    }

    /// The client of all calls.
    pub(super) async fn client(&self) -> Result<&reqwest::Client, RestError> {
        self.client.get_or_try_init(|| async { self.build() }).await
    }

    fn build(&self) -> Result<reqwest::Client, RestError> {
        let config = self.endpoint.tls().map_err(RestError::Tls)?;
        names::http_client()
            .timeout(LIMIT)
            // The token would follow a redirect to whatever host it names.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_backend_preconfigured(rustls::ClientConfig::clone(&config))
            .build()
            .map_err(RestError::Client)
    }
}
