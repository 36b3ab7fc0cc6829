//! Requests to the REST API without the command line.

use std::sync::Once;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// A client with one user's session token.
pub struct Rest {
    runtime: Runtime,
    client: Client,
    base: String,
    token: String,
}

/// An answer.
#[must_use]
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body as JSON; null where it is empty or no JSON.
    pub json: Value,
    /// The body as text.
    pub text: String,
}

impl Reply {
    /// Panics unless the status is `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// `field: detail` of every validation, in order.
    pub fn validations(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let each = self.json["validations"].as_array().into_iter().flatten();
        each.map(|fault| format!("{}: {}", text(&fault["field"]), text(&fault["detail"]))).collect()
    }
}

impl Rest {
    /// A client for the server at `url`. An empty token sends none.
    pub fn new(url: &str, token: &str) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let client = Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().expect("make a client");
        let runtime = Builder::new_current_thread().enable_all().build().expect("make a runtime");
        Self { runtime, client, base: url.to_owned(), token: token.to_owned() }
    }

    /// `GET /api/v2PATH`.
    pub fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None)
    }

    /// `POST /api/v2PATH`.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, Some(body.to_string()))
    }

    /// `PATCH /api/v2PATH`.
    pub fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PATCH, path, Some(body.to_string()))
    }

    /// `DELETE /api/v2PATH`.
    pub fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None)
    }

    /// Any request; the body is sent as it is, with the type of JSON.
    pub fn send(&self, method: Method, path: &str, body: Option<String>) -> Reply {
        self.try_send(method, path, body).expect("an answer")
    }

    /// The same, to a server that may be killed meanwhile.
    pub fn try_send(&self, method: Method, path: &str, body: Option<String>) -> reqwest::Result<Reply> {
        let mut request = self.client.request(method, format!("{}/api/v2{path}", self.base));
        if !self.token.is_empty() {
            request = request.header(protocol::rest::SESSION_TOKEN_HEADER, &self.token);
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body);
        }
        self.runtime.block_on(async {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let text = response.text().await?;
            Ok(Reply { status, headers, json: serde_json::from_str(&text).unwrap_or_default(), text })
        })
    }
}
