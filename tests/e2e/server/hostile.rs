//! What agents and users send who mean harm.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tests::Rest;
use tokio::time::timeout;

use crate::peers::client::Client;
use crate::peers::control_plane::{LIFECYCLE, LOGS, MANIFEST, STARTUP};
use crate::peers::wire::{self, Proto};

pub const METADATA: &str = "/coder.agent.v2.Agent/BatchUpdateMetadata";
pub const CONNECTION: &str = "/coder.agent.v2.Agent/ReportConnection";

/// A million items, of two bytes each on the wire.
pub fn million_of_metadata() -> Vec<u8> {
    [0x12, 0].repeat(1_000_000)
}

/// The end of a user's session, with a reason that JSON makes six times as long.
pub fn connection() -> Vec<u8> {
    let reason = "\u{1}".repeat(4096);
    let connection = Proto::default().bytes(1, [7; 16]).number(2, 2).number(3, 1).bytes(7, reason);
    Proto::default().message(1, &connection).0
}

/// As many empty lines as an agent may send at a time.
pub fn empty_lines() -> Vec<u8> {
    let mut lines = Proto::default().bytes(1, [0; 16]).0;
    lines.extend([0x12, 0].repeat(49_000));
    lines
}

/// Calls everything, sixteen times at once and again and again, until told to stop.
pub fn agent(server: &str, token: &str, stop: &AtomicBool) {
    let calls: Vec<_> = [
        (METADATA, million_of_metadata()),
        (CONNECTION, connection()),
        (LOGS, empty_lines()),
        (MANIFEST, Vec::new()),
        (LIFECYCLE, Proto::default().message(1, &Proto::default().number(1, 2)).0),
        (STARTUP, Proto::default().message(1, &Proto::default().bytes(1, "no version")).0),
    ]
    .into_iter()
    .map(|(path, body)| wire::request(path, &body))
    .collect();
    let mut client = Client::dial(server, token);
    while !stop.load(Ordering::Relaxed) {
        if !client.is_open() {
            client = Client::dial(server, token);
        }
        let streams: Vec<_> = (0..16).map_while(|_| client.try_open()).collect();
        let answers = streams.into_iter().zip(calls.iter().cycle()).map(|(stream, call)| wire::call(stream, call));
        client.block_on(async { drop(timeout(Duration::from_secs(2), join_all(answers)).await) });
    }
}

/// Makes, breaks and removes secrets, and sends what is refused, until told to stop.
pub fn user(server: &str, token: &str, stop: &AtomicBool) {
    let rest = Rest::new(server, token);
    let text = "\u{1}".repeat(100_000);
    while !stop.load(Ordering::Relaxed) {
        for body in [
            json!({ "name": "mine", "value": "x".repeat(24_000), "description": "d" }),
            json!({ "name": "mine", "value": "x", "description": text }),
            json!({ "name": text, "value": "x" }),
        ] {
            let _ = rest.try_send(Method::POST, "/users/me/secrets", Some(body.to_string()));
        }
        let _ = rest.try_send(Method::POST, "/users/me/secrets", Some("{".repeat(900_000)));
        let _ = rest.try_send(Method::DELETE, "/users/me/secrets/mine", None);
        let _ = rest.try_send(Method::DELETE, "/users/other/secrets/mine", None);
    }
}
