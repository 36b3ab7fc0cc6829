//! How a dial ended that gave no WebSocket: the server, or something in front of it, answered with something else.

use std::io;

use protocol::problem::Problem;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{StatusCode, Url};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::Response;

use super::failure::DialError;
use super::redirect::Redirect;
use super::words::printable;
use crate::network::ConnectError;
use crate::tls::TlsFailure;

/// As much of a page's title is shown.
const MAX_TITLE: usize = 80;

/// Who failed the handshake with `server`, and why.
pub(super) fn explain(error: tungstenite::Error, server: &Url) -> DialError {
    match error {
        tungstenite::Error::Http(response) => refusal(&response, server),
        tungstenite::Error::Io(error) => match TlsFailure::find(&error) {
            Some(failure) => DialError::Connect(ConnectError::Tls(failure)),
            None => DialError::Broken(error),
        },
        tungstenite::Error::ConnectionClosed
        | tungstenite::Error::AlreadyClosed
        | tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            DialError::Broken(io::ErrorKind::UnexpectedEof.into())
        }
        other => DialError::NotHttp(Box::new(other)),
    }
}

/// Who says no, and why. The body is known as far as it arrived with the head.
fn refusal(response: &Response, server: &Url) -> DialError {
    let status = response.status();
    let body = response.body().as_deref().unwrap_or_default();
    let problem = serde_json::from_slice::<Problem>(body).ok().filter(|problem| !problem.message.is_empty());
    if status.is_redirection() {
        return DialError::Redirect(Redirect::new(server, "/api/v2/workspaceagents/me/rpc", response.headers()));
    }
    if lacks_upgrade(status, body) {
        return DialError::NoUpgrade(status);
    }
    match problem {
        None if is_page(response, body) => DialError::Page { status, title: title(body) },
        Some(problem) if status == StatusCode::BAD_REQUEST && is_about_version(&problem) => {
            DialError::Version(detail(&problem))
        }
        problem => {
            let detail = problem.as_ref().map(detail).unwrap_or_default();
            if status == StatusCode::UNAUTHORIZED {
                DialError::Token(detail)
            } else {
                DialError::Status { status, detail }
            }
        }
    }
}

/// A server that is asked for a WebSocket without the headers for it, which a proxy has to pass on, says so with the
/// status for that, or with 400 and the name of the header.
fn lacks_upgrade(status: StatusCode, body: &[u8]) -> bool {
    status == StatusCode::UPGRADE_REQUIRED
        || status == StatusCode::BAD_REQUEST && String::from_utf8_lossy(body).to_ascii_lowercase().contains("upgrade")
}

/// Coder names the parameter; nothing else that answers 400 has to do with versions.
fn is_about_version(problem: &Problem) -> bool {
    problem.validations.iter().any(|field| field.field == "version") || problem.message.contains("API version")
}

fn is_page(response: &Response, body: &[u8]) -> bool {
    let declared = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let start = body.trim_ascii_start().get(..5).unwrap_or_default();
    declared.starts_with(b"text/html") || start.eq_ignore_ascii_case(b"<!doc") || start.eq_ignore_ascii_case(b"<html")
}

fn title(body: &[u8]) -> String {
    let page = String::from_utf8_lossy(body);
    // Of the same length, so that positions count for both.
    let lower = page.to_ascii_lowercase();
    let Some(start) = lower.find("<title>").map(|at| at + "<title>".len()) else { return String::new() };
    let end = lower[start..].find('<').map_or(page.len(), |length| start + length);
    printable(&page[start..end]).split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_TITLE).collect()
}

/// The message and the first validation.
fn detail(problem: &Problem) -> String {
    let more = problem.validations.first().map_or(problem.detail.as_str(), |field| field.detail.as_str());
    let message = problem.message.trim_end_matches('.');
    printable(&if more.is_empty() { message.to_owned() } else { format!("{message}: {}", more.trim_end_matches('.')) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(status: u16, kind: &str, body: &str) -> String {
        let response =
            tokio_tungstenite::tungstenite::http::Response::builder().status(status).header("content-type", kind);
        let response = response.body(Some(body.as_bytes().to_vec())).unwrap();
        refusal(&response, &"https://coder.example.com".parse().unwrap()).to_string()
    }

    #[test]
    fn each_answerer_is_told_apart() {
        let page = "<html><head><TITLE>Sign\n in\u{1b}[31m</title>";
        let upgrade =
            r#"{"message":"Failed to accept websocket.","detail":"Connection header did not include 'upgrade'"}"#;
        for (status, kind, body, expected) in [
            (200, "text/html", page, "a web page answers in place of the server: 200 OK (Sign in [31m)"),
            (502, "text/html; charset=utf-8", "", "a web page answers in place of the server: 502 Bad Gateway"),
            (401, "text/html", "", "a web page answers in place of the server: 401 Unauthorized"),
            (401, "application/json", "{}", "the server refuses the agent token"),
            (
                426,
                "text/plain",
                "",
                "a proxy in between does not pass WebSockets on: the server answers 426 Upgrade Required",
            ),
            (
                400,
                "application/json",
                upgrade,
                "a proxy in between does not pass WebSockets on: the server answers 400 Bad Request",
            ),
            (
                400,
                "application/json",
                r#"{"message":"Query parameters are not valid."}"#,
                "the server answers 400 Bad Request (Query parameters are not valid)",
            ),
            (400, "text/plain", "bad", "the server answers 400 Bad Request"),
        ] {
            assert_eq!(explained(status, kind, body), expected);
        }
    }
}
