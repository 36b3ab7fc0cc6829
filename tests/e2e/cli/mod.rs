//! `coder secret`, `login`, `logout` and `whoami` against the server.

mod completion;
mod create;
mod documentation;
mod import;
mod list;
mod login;
mod manual;
mod mistakes;
mod unreachable;
mod update;

use serde_json::json;
use tests::{ControlPlane, World};

/// A server that stores nothing and shows what it was sent: no route of the real one gives a value back.
fn recorder() -> ControlPlane {
    ControlPlane::answering(|sent| {
        json!({
            "id": "00000000-0000-4000-8000-000000000000", "name": "x", "description": "", "env_name": "X",
            "file_path": "", "enabled": sent["enabled"].as_bool().unwrap_or(true),
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        })
    })
}
