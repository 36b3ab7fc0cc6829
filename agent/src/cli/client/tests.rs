use std::net::SocketAddr;

use protocol::rest::{ChangedSecret, CreateUserSecretRequest, SESSION_TOKEN_HEADER, User};
use reqwest::header::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::errors::chain;
use crate::network::Settings;

/// A server that gives one connection this answer, and gives back what it was asked.
async fn answering(answer: impl Into<Vec<u8>>) -> (Client, SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = answer.into();
    let asked = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 65536];
        let read = connection.read(&mut request).await.unwrap();
        // The client may have heard enough before the end.
        let _ = connection.write_all(&answer).await;
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let url = Url::parse(&format!("http://user:hunter2@{address}")).unwrap();
    let network = Network::new(url, Settings::default(), &[]).unwrap();
    let headers = HeaderMap::from_iter([(SESSION_TOKEN_HEADER.parse().unwrap(), "the-token".parse().unwrap())]);
    (Client::new(network, headers).unwrap(), address, asked)
}

fn answer(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// The failure of a GET that is answered so, with its hint.
async fn failure(answer: impl Into<Vec<u8>>) -> (String, String) {
    let (client, address, asked) = answering(answer).await;
    let error = client.get::<User>(&["users", "me"]).await.unwrap_err();
    asked.await.unwrap();
    let text = chain(&error);
    assert!(!text.contains("hunter2") && !text.contains("the-token"), "{text}");
    (text.replace(&address.to_string(), "SERVER"), error.hint().unwrap_or_default())
}

#[tokio::test]
async fn a_request_carries_the_token_and_the_body() {
    let (client, _, asked) = answering(answer("201 Created", "application/json", "{}")).await;
    let request = CreateUserSecretRequest { name: "a".into(), ..CreateUserSecretRequest::default() };
    let _: Changed<serde_json::Value> =
        client.change(Method::POST, &["users", "me", "secrets"], Some(&request)).await.unwrap();
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("POST /api/v2/users/me/secrets HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("coder-session-token: the-token\r\n"), "{asked}");
    assert!(asked.contains(&format!("user-agent: coder-cli/{VERSION}\r\n")), "{asked}");
    assert!(asked.ends_with("{\"name\":\"a\",\"value\":\"\"}"), "{asked}");
}

#[tokio::test]
async fn a_refusal_is_told_in_the_words_of_the_server() {
    let body = r#"{"message":"Validation failed.","validations":[{"field":"name","detail":"name already in use"}]}"#;
    let (text, hint) = failure(answer("409 Conflict", "application/json; charset=utf-8", body)).await;
    assert_eq!(text, "Validation failed.\n1 validation error found\n\tname: name already in use");
    assert_eq!(hint, "");
    let (text, hint) = failure(answer("401 Unauthorized", "application/json", r#"{"message":"Who are you?"}"#)).await;
    assert_eq!(text, "Who are you?");
    assert!(hint.contains("coder login http://127.0.0.1:"), "{hint}");
    let (text, _) = failure(answer("500 Oops", "application/json", "[]")).await;
    assert_eq!(text, "the server answered 500 Internal Server Error.");
}

#[tokio::test]
async fn a_page_is_no_answer_whatever_its_status() {
    for status in ["200 OK", "404 Not Found"] {
        let (text, _) = failure(answer(status, "text/html; charset=utf-8", "<html>")).await;
        assert_eq!(text, format!("http://SERVER is not a Coder server: it answered {status} with text/html"));
    }
    let (client, _, _asked) = answering(answer("200 OK", "text/html", "<html>")).await;
    let error = client.delete(&["x"]).await.unwrap_err();
    assert!(matches!(error, ClientError::NotCoder { .. }) && error.may_be_done(), "{error}");
}

#[tokio::test]
async fn a_deletion_needs_no_body() {
    let (client, _, asked) = answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    client.delete(&["users", "me", "secrets", "a"]).await.unwrap();
    assert!(asked.await.unwrap().starts_with("DELETE /api/v2/users/me/secrets/a "));
}

#[tokio::test]
async fn the_token_does_not_follow_a_redirect() {
    let (elsewhere, _, _never) = answering(answer("200 OK", "application/json", "{}")).await;
    let location = elsewhere.server();
    let redirect = format!("HTTP/1.1 307 Go\r\nLocation: {location}/x?token=hunter2\r\nContent-Length: 0\r\n\r\n");
    let (text, _) = failure(redirect).await;
    assert_eq!(text, format!("http://SERVER sends us on to {location}/x"));
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let mut endless = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".to_vec();
    endless.resize(MAX_BODY_BYTES + 1024, b' ');
    let (text, _) = failure(endless).await;
    assert_eq!(text, "the answer of http://SERVER exceeds 16777216 bytes");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    for broken in
        ["", "no HTTP\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"]
    {
        let (text, hint) = failure(broken).await;
        assert!(text.starts_with("cannot reach http://SERVER: "), "{text}");
        assert!(hint.starts_with("Check the address"), "{hint}");
    }
}

#[test]
fn a_name_is_one_segment_of_the_route() {
    let base = Url::parse("https://example.com").unwrap();
    for (name, expected) in [
        ("api-key", "https://example.com/api/v2/users/me/secrets/api-key"),
        ("two words", "https://example.com/api/v2/users/me/secrets/two%20words"),
        ("100%", "https://example.com/api/v2/users/me/secrets/100%25"),
        ("a\tb\nc", "https://example.com/api/v2/users/me/secrets/a%09b%0Ac"),
        ("%2e%2e", "https://example.com/api/v2/users/me/secrets/%252e%252e"),
        ("...", "https://example.com/api/v2/users/me/secrets/..."),
        ("a\\b;c&d=e", "https://example.com/api/v2/users/me/secrets/a%5Cb%3Bc%26d%3De"),
        ("é", "https://example.com/api/v2/users/me/secrets/%C3%A9"),
    ] {
        assert_eq!(route(&base, &["users", "me", "secrets", name]).as_str(), expected);
    }
    let below = Url::parse("https://example.com/coder/").unwrap();
    assert_eq!(route(&below, &["users", "me"]).as_str(), "https://example.com/coder/api/v2/users/me");
}

#[test]
fn an_address_is_shown_without_credentials() {
    let url = Url::parse("https://me:hunter2@example.com:8443/?token=hunter2").unwrap();
    assert_eq!(shown(&url), "https://example.com:8443");
}

#[test]
fn json_is_told_from_a_page() {
    let typed = |value: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
    assert!(is_json(&typed("application/json; charset=utf-8")));
    assert!(!is_json(&typed("text/html; charset=utf-8")));
    assert!(!is_json(&HeaderMap::new()));
    assert_eq!(content_type(&typed("text/html; charset=utf-8")), "text/html");
}

/// What a change that is answered so is said to be: `made`, `made unread`, `perhaps`, or `not`.
async fn outcome(answer: &str) -> &'static str {
    let (client, _, _asked) = answering(answer).await;
    let request = CreateUserSecretRequest { name: "a".into(), ..CreateUserSecretRequest::default() };
    match client.change::<ChangedSecret>(Method::POST, &["users", "me", "secrets"], Some(&request)).await {
        Ok(Changed::Answered(_)) => "made",
        Ok(Changed::Unread(_)) => "made unread",
        Err(error) if error.may_be_done() => "perhaps",
        Err(_) => "not",
    }
}

#[tokio::test]
async fn a_change_is_told_from_a_failure_and_from_a_guess() {
    const GOOD: &str = r#"{"name":"a"}"#;
    const VERSION: &str = "application/json\r\nX-Coder-Build-Version: v2.36.0";
    let json = |status, body| answer(status, "application/json", body);
    let cut = |head: &str| format!("HTTP/1.1 {head}\r\nContent-Length: 99\r\n\r\n{{");
    for (said, expected) in [
        (json("201 Created", GOOD), "made"),
        (json("200 OK", GOOD), "made"),
        (json("201 Created", "{\"na"), "made unread"),
        (json("201 Created", r#"{"nom":"a"}"#), "made unread"),
        (cut("201 Created\r\nContent-Type: application/json"), "made unread"),
        (answer("200 OK", VERSION, "[]"), "made unread"),
        (json("200 OK", r#"{"sign":"in"}"#), "perhaps"),
        (cut("200 OK\r\nContent-Type: application/json"), "perhaps"),
        (answer("200 OK", "text/html", "<html>"), "perhaps"),
        (answer("502 Bad Gateway", "text/html", "<html>"), "perhaps"),
        (json("500 Oops", r#"{"message":"Internal error creating secret."}"#), "perhaps"),
        (String::new(), "perhaps"),
        (json("400 Bad", r#"{"message":"No."}"#), "not"),
        (json("404 Not Found", r#"{"message":"Route not found."}"#), "not"),
        (answer("403 Forbidden", "text/html", "<html>"), "not"),
        ("HTTP/1.1 307 Go\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".into(), "not"),
    ] {
        assert_eq!(outcome(&said).await, expected, "{said:?}");
    }
}
