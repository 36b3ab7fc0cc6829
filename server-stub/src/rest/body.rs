//! Request bodies: bounded in size and time, and never repeated in an answer.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use protocol::problem::Problem;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::api_error::ApiError;
use crate::state::AppState;

/// Bytes of an ordinary body; a secret has at most 24 KiB.
const MAX_BYTES: usize = 1024 * 1024;
/// Bytes of a body that carries a file of 1 MiB, JSON-escaped at its worst.
const MAX_LARGE_BYTES: usize = 8 * 1024 * 1024;
/// Longest time for all of a body to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// A JSON body. Put it after the caller in the handler's arguments: who is not admitted sends no body.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

/// A JSON body of up to 8 MiB, of which only a few are in memory at a time.
#[derive(Debug)]
pub struct LargeJsonBody<T>(pub T);

/// A JSON body that may be left out, with its content type.
#[derive(Debug)]
pub struct OptionalJsonBody<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<AppState> for OptionalJsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        if !request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(Self(T::default()));
        }
        JsonBody::from_request(request, state).await.map(|JsonBody(body)| Self(body))
    }
}

impl<T: DeserializeOwned> FromRequest<AppState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &AppState) -> Result<Self, ApiError> {
        parse(&read(request, MAX_BYTES, ARRIVAL).await?).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<AppState> for LargeJsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let _place = state.limits.large_body().await?;
        parse(&read(request, MAX_LARGE_BYTES, ARRIVAL).await?).map(Self)
    }
}

async fn read(request: Request, limit: usize, arrival: Duration) -> Result<Bytes, ApiError> {
    // Also keeps web pages out: without this type a browser may send a form, with our cookie, from any site.
    if !is_json(request.headers()) {
        let message = "Request body must have the content type application/json.";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let too_large =
        || ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("Request body must not exceed {limit} bytes."));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    let body = tokio::time::timeout(arrival, to_bytes(request.into_body(), limit));
    let slow = || ApiError::new(StatusCode::REQUEST_TIMEOUT, "Request body took too long to arrive.");
    body.await.map_err(|_| slow())?.map_err(|error| {
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            if error.is::<http_body_util::LengthLimitError>() {
                return too_large();
            }
            source = error.source();
        }
        ApiError::new(StatusCode::BAD_REQUEST, "Request body ended early.")
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The parser's own message repeats what it found, which may be a value: only the place is told.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let refused = |detail: String| {
        let problem = Problem::new("Request body must be valid JSON.").detail(detail);
        ApiError::with(StatusCode::BAD_REQUEST, problem)
    };
    // serde would also fill the fields from an array, by their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(refused("an object is expected".into()));
    }
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            Category::Data => "a field has the wrong type",
            Category::Eof => "the text ends too early",
            Category::Syntax | Category::Io => "syntax error",
        };
        refused(format!("{what} at line {} column {}", error.line(), error.column()))
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let request = Request::post("/").header(header::CONTENT_TYPE, "application/json").body(never).unwrap();
        let error = read(request, 10, Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(error.status, StatusCode::REQUEST_TIMEOUT);
    }
}
