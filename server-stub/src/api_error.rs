//! Every refusal and failure as JSON.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::problem::Problem;

use crate::limits::RetryAfter;
use crate::store::{Outage, StoreError, is_disk_full, outage};

/// What a caller is told when nothing can be stored any more.
pub(crate) const DISK_FULL: &str = "The server's disk is full; tell your administrator.";

/// What a caller is told when nothing was done, because the database does not answer.
pub(crate) const AWAY: &str = "The server cannot reach its database; try again.";

/// A request that is not answered with what was asked for.
#[derive(Debug)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub problem: Problem,
    retry_after: Option<RetryAfter>,
    about: Option<String>,
}

/// The name of what was refused, for the audit record; left in the extensions of the answer.
#[derive(Clone, Debug)]
pub(crate) struct About(pub(crate) String);

impl ApiError {
    /// A refusal with a message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self::with(status, Problem::new(message))
    }

    /// A refusal with a whole body.
    #[must_use]
    pub fn with(status: StatusCode, problem: Problem) -> Self {
        Self { status, problem, retry_after: None, about: None }
    }

    /// Names what was refused where the path does not.
    #[must_use]
    pub fn about(mut self, name: String) -> Self {
        self.about = Some(name);
        self
    }

    /// The one answer for what is not there and for what is none of the caller's business.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Resource not found or you do not have access to this resource")
    }

    /// A write for somebody else.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::with(
            StatusCode::FORBIDDEN,
            Problem::new("Forbidden.").detail("You don't have permission to do this for another user."),
        )
    }

    /// A failure of the server. The log gets the whole chain of `error`; the client gets `message`, or that the disk is full.
    ///
    /// Errors of the store name key ids, files and tables, which are no caller's business.
    pub fn internal(message: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "{message}");
        if is_disk_full(error) {
            return Self::with(StatusCode::INSUFFICIENT_STORAGE, Problem::new(DISK_FULL));
        }
        match outage(error) {
            Some(Outage::Unreachable) => return Self::new(StatusCode::SERVICE_UNAVAILABLE, AWAY),
            Some(Outage::Unknown) => {
                let problem = Problem::new("The server has lost its database in the middle of a change.");
                let problem = problem.detail("The change may have been made: look before you try again.");
                return Self::with(StatusCode::GATEWAY_TIMEOUT, problem);
            }
            None => {}
        }
        let detail = "The log of the server says why; ask your administrator.";
        Self::with(StatusCode::INTERNAL_SERVER_ERROR, Problem::new(message).detail(detail))
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal("Internal error.", &error)
    }
}

impl From<RetryAfter> for ApiError {
    fn from(after: RetryAfter) -> Self {
        let problem = Problem::new("You've been rate limited for sending too many requests!")
            .detail(format!("Try again in {} seconds.", after.0));
        Self { status: StatusCode::TOO_MANY_REQUESTS, problem, retry_after: Some(after), about: None }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.problem)).into_response();
        if let Some(RetryAfter(seconds)) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(name) = self.about {
            response.extensions_mut().insert(About(name));
        }
        response
    }
}
