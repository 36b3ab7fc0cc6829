//! The routes of user secrets, asked of the built server over a socket. The names are those of the reference's own tests.

mod create;
mod import;
mod limits;
mod policy;
mod principals;
mod read;
mod update;

use std::ops::Deref;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Env, Rest, User, World};

const SECRETS: &str = "/users/me/secrets";
/// A test asks more often than a person may.
const UNLIMITED: [&str; 2] = ["--rate-limit", "0"];
const NO_FILES: &str = "--disable-user-secret-file-path";

/// A world whose routes are asked directly, and a second user.
struct Api {
    world: World<()>,
    bob: User,
}

impl Deref for Api {
    type Target = World<()>;

    fn deref(&self) -> &World<()> {
        &self.world
    }
}

impl Api {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(flags: &[&str]) -> Self {
        let world = World::builder().within(Env::quiet()).server(UNLIMITED).server(flags).start();
        Self { bob: world.env.user("bob"), world }
    }

    /// The same data after a restart under another policy.
    fn policy(mut self, file_paths: bool) -> Self {
        let flags: &[&str] = if file_paths { &[] } else { &[NO_FILES] };
        self.restart(flags);
        self
    }

    fn restart(&mut self, flags: &[&str]) {
        let _ = self.world.server.terminate();
        self.world.server = self.env.server_with([&UNLIMITED[..], flags].concat());
    }

    fn call(&self, user: &User, method: Method, path: &str, body: Option<Value>) -> Answer {
        let reply = Rest::new(self.server.url(), &user.token).send(method, path, body.map(|body| body.to_string()));
        Answer { status: reply.status, length: reply.text.len(), body: reply.json }
    }

    fn get(&self, path: &str) -> Answer {
        self.call(&self.alice, Method::GET, path, None)
    }

    fn create(&self, body: Value) -> Answer {
        self.call(&self.alice, Method::POST, SECRETS, Some(body))
    }

    fn patch(&self, name: &str, body: Value) -> Answer {
        self.call(&self.alice, Method::PATCH, &format!("{SECRETS}/{name}"), Some(body))
    }

    fn delete(&self, name: &str) -> Answer {
        self.call(&self.alice, Method::DELETE, &format!("{SECRETS}/{name}"), None)
    }

    fn import(&self, format: &str, content: &str) -> Answer {
        let body = json!({ "format": format, "content": content });
        self.call(&self.alice, Method::POST, &format!("{SECRETS}/batch"), Some(body))
    }

    /// The newest audit records about secrets, as the administrator sees them; the last is the newest.
    fn audited(&self, count: usize) -> Vec<Value> {
        let shown = self.env.admin(["audit", "--json"]).run().success().stdout;
        let entries: Vec<Value> = serde_json::from_str(&shown).unwrap();
        let about_secrets: Vec<Value> =
            entries.into_iter().filter(|entry| entry["resource"] == "user_secret").collect();
        about_secrets[about_secrets.len() - count..].to_vec()
    }
}

struct Answer {
    status: u16,
    length: usize,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// Fields and details of the faults.
    fn faults(&self) -> Vec<(&str, &str)> {
        let faults = self.body["validations"].as_array().map(Vec::as_slice).unwrap_or_default();
        faults.iter().map(|fault| (fault["field"].as_str().unwrap(), fault["detail"].as_str().unwrap())).collect()
    }

    fn fields(&self) -> Vec<&str> {
        self.faults().into_iter().map(|(field, _)| field).collect()
    }

    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap()
    }
}
