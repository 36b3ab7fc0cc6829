//! Requests that change something. What matters about their answer is first whether the change was made.

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BUILD_VERSION_HEADER, Client, ClientError, is_json};
use crate::errors::chain;

/// A change that the server has made.
#[derive(Debug)]
pub(crate) enum Changed<T> {
    /// With the server's answer.
    Answered(T),
    /// With an answer that cannot be read, and why not.
    Unread(String),
}

impl<T> Changed<T> {
    /// The answer where it could be read.
    pub(crate) fn answer(&self) -> Option<&T> {
        match self {
            Self::Answered(answer) => Some(answer),
            Self::Unread(_) => None,
        }
    }

    /// Why the answer could not be read.
    pub(crate) fn fault(&self) -> Option<&str> {
        match self {
            Self::Answered(_) => None,
            Self::Unread(fault) => Some(fault),
        }
    }
}

impl Client {
    /// Sends a change with a JSON body.
    ///
    /// An error means that the change was not made, or that nobody knows: [`ClientError::may_be_done`] tells which.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&impl Serialize>,
    ) -> Result<Changed<T>, ClientError> {
        let operation = "write the request";
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|source| ClientError::Body { operation, source })?;
        let Sent { status, headers, made, body } = self.send(method, path, body).await?;
        let body = match body {
            Ok(body) => body,
            Err(error) => return Ok(Changed::Unread(chain(&error))),
        };
        // A portal that wants its own sign-in answers 200 with JSON, too, but with its own.
        let is_foreign = |error: &serde_json::Error| {
            error.is_data() && status == StatusCode::OK && !headers.contains_key(BUILD_VERSION_HEADER)
        };
        match serde_json::from_slice(&body) {
            Ok(answer) => Ok(Changed::Answered(answer)),
            Err(error) if made && !is_foreign(&error) => Ok(Changed::Unread(error.to_string())),
            Err(_) => Err(self.foreign(status)),
        }
    }

    /// DELETE, whose answer has no content.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<(), ClientError> {
        match self.send(Method::DELETE, path, None).await? {
            Sent { made: true, .. } => Ok(()),
            Sent { status, .. } => Err(self.foreign(status)),
        }
    }

    /// Sends a change. Success if a success came back, and a body that cannot be read counts only if nothing else says
    /// that the change was made.
    async fn send(&self, method: Method, path: &[&str], body: Option<Vec<u8>>) -> Result<Sent, ClientError> {
        let response = self.respond(method.clone(), path, &[], body).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let made = is_confirmation(&method, status, &headers);
        let body = match self.body(response).await {
            Ok(body) => {
                self.judge(status, &headers, &body)?;
                Ok(body)
            }
            Err(error) if made => Err(error),
            Err(error) => return Err(error),
        };
        Ok(Sent { status, headers, made, body })
    }

    /// JSON of somebody in between.
    fn foreign(&self, status: StatusCode) -> ClientError {
        ClientError::NotCoder { server: self.server(), proxy: self.proxy(), status, content: "other JSON".into() }
    }
}

/// What came back for a change.
struct Sent {
    status: StatusCode,
    headers: HeaderMap,
    /// Whether the head of the answer alone says that the change was made.
    made: bool,
    body: Result<Vec<u8>, ClientError>,
}

/// Whether the head of an answer alone says that a Coder server has made the change.
///
/// Every answer of Coder's API names the version of the server. A proxy may strip that header; then the one status that
/// Coder gives to this kind of change speaks for it.
fn is_confirmation(method: &Method, status: StatusCode, headers: &HeaderMap) -> bool {
    let usual = match method.as_str() {
        "POST" => StatusCode::CREATED,
        "DELETE" => StatusCode::NO_CONTENT,
        _ => StatusCode::OK,
    };
    let from_coder = headers.contains_key(BUILD_VERSION_HEADER);
    let no_page = is_json(headers) || status == StatusCode::NO_CONTENT;
    status.is_success() && no_page && (from_coder || status == usual)
}
