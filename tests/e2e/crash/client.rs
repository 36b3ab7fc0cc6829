//! One client, and what the server must have of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Reply, Rest, Seed};

/// More than that are deleted again: fifty is the cap.
const FEW: usize = 12;

/// What is stored under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    /// In the value and in the description, which are written together.
    number: u64,
    enabled: bool,
}

type Secrets = BTreeMap<String, Stored>;

/// The server is gone, or its database is. It says 503 if nothing was done, and 504 if it does not know.
#[derive(Debug)]
pub struct Gone;

pub struct Client {
    token: String,
    seed: Seed,
    next: u64,
    secrets: Secrets,
    /// What a request that was not answered may have made of them.
    perhaps: Option<Secrets>,
    /// None while a request for a new one was not answered.
    public_key: Option<String>,
}

struct Request {
    method: Method,
    path: String,
    body: Option<Value>,
    status: u16,
    after: Secrets,
}

impl Client {
    pub fn new(token: &str, url: &str, seed: Seed) -> Self {
        let mut client =
            Self { token: token.to_owned(), seed, next: 0, secrets: Secrets::new(), perhaps: None, public_key: None };
        client.check(url).expect("a server");
        client
    }

    /// Looks for what was lost, then makes requests until the server is gone. Returns how many were answered.
    pub fn work(&mut self, url: &str, requests: usize) -> usize {
        let rest = Rest::new(url, &self.token);
        let mut made = 0;
        if self.check(url).is_err() {
            return made;
        }
        while made < requests {
            let done = if self.seed.below(16) == 0 { self.renew_key(&rest) } else { self.request(&rest) };
            if done.is_err() {
                break;
            }
            made += 1;
        }
        made
    }

    /// Compares with what the server has.
    pub fn check(&mut self, url: &str) -> Result<(), Gone> {
        let rest = Rest::new(url, &self.token);
        let listed = read(&rest, "/users/me/secrets")?;
        let found: Secrets = listed.as_array().expect("a list").iter().map(stored).collect();
        let expected = found == self.secrets || self.perhaps.as_ref() == Some(&found);
        assert!(expected, "lost or made up: {found:?}, not {:?} or {:?}", self.secrets, self.perhaps);
        (self.secrets, self.perhaps) = (found, None);
        let key = read(&rest, "/users/me/gitsshkey")?["public_key"].to_string();
        assert_eq!(self.public_key.as_ref().unwrap_or(&key), &key, "lost or made up: the git key");
        self.public_key = Some(key);
        Ok(())
    }

    /// Compares with what an agent was given: variable, file, value.
    pub fn check_values(&self, delivered: &[(String, String, String)]) {
        let enabled = self.secrets.iter().filter(|(_, secret)| secret.enabled);
        let expected: Vec<_> =
            enabled.map(|(name, secret)| (name.clone(), String::new(), value(secret.number))).collect();
        assert_eq!(delivered, expected, "lost or made up");
    }

    fn renew_key(&mut self, rest: &Rest) -> Result<(), Gone> {
        let before = self.public_key.take();
        let reply = send(rest, Method::PUT, "/users/me/gitsshkey", None)?;
        if reply.status == 503 {
            self.public_key = before;
            return Err(Gone);
        }
        let made = reply.expect(200).json;
        self.public_key = Some(made["public_key"].to_string());
        Ok(())
    }

    fn request(&mut self, rest: &Rest) -> Result<(), Gone> {
        let Request { method, path, body, status, after } = self.choose();
        let line = format!("{method} {path}");
        // What is going to be refused must change nothing, answered or not.
        self.perhaps = (status < 400).then(|| after.clone());
        let reply = send(rest, method, &path, body.map(|body| body.to_string()))?;
        if reply.status == 503 {
            self.perhaps = None;
            return Err(Gone);
        }
        assert_eq!(reply.status, status, "{line}: {}", reply.text);
        (self.secrets, self.perhaps) = (after, None);
        Ok(())
    }

    fn choose(&mut self) -> Request {
        let names: Vec<_> = self.secrets.keys().cloned().collect();
        if names.is_empty() {
            return self.create();
        }
        let name = self.seed.choose(&names).clone();
        if names.len() > FEW {
            return self.delete(&name);
        }
        match self.seed.below(8) {
            0 => self.create(),
            1 => self.delete(&name),
            2 => self.import(None),
            3 => self.import(Some(name)),
            4 => self.toggle(&name),
            5 => self.create_again(&name),
            _ => self.update(&name),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn create(&mut self) -> Request {
        let number = self.number();
        let name = format!("S{number}");
        let body = json!({ "name": name, "env_name": name, "value": value(number), "description": number.to_string() });
        let mut after = self.secrets.clone();
        after.insert(name, Stored { number, enabled: true });
        Request { method: Method::POST, path: SECRETS.into(), body: Some(body), status: 201, after }
    }

    fn create_again(&mut self, name: &str) -> Request {
        let body = json!({ "name": name, "value": "refused" });
        let after = self.secrets.clone();
        Request { method: Method::POST, path: SECRETS.into(), body: Some(body), status: 409, after }
    }

    fn update(&mut self, name: &str) -> Request {
        let number = self.number();
        let body = json!({ "value": value(number), "description": number.to_string() });
        self.patch(name, body, |secret| secret.number = number)
    }

    fn toggle(&mut self, name: &str) -> Request {
        let enabled = !self.secrets[name].enabled;
        self.patch(name, json!({ "enabled": enabled }), |secret| secret.enabled = enabled)
    }

    fn patch(&self, name: &str, body: Value, change: impl FnOnce(&mut Stored)) -> Request {
        let mut after = self.secrets.clone();
        change(after.get_mut(name).expect("a secret"));
        Request { method: Method::PATCH, path: format!("{SECRETS}/{name}"), body: Some(body), status: 200, after }
    }

    fn delete(&self, name: &str) -> Request {
        let mut after = self.secrets.clone();
        after.remove(name);
        Request { method: Method::DELETE, path: format!("{SECRETS}/{name}"), body: None, status: 204, after }
    }

    /// Two new ones; with one that is there already all are refused. An import has no descriptions.
    fn import(&mut self, existing: Option<String>) -> Request {
        let mut after = self.secrets.clone();
        let mut content = String::new();
        for _ in 0..2 {
            let name = format!("I{}", self.number());
            let _ = writeln!(content, "{name}={}", value(0));
            after.insert(name, Stored { number: 0, enabled: true });
        }
        let status = if existing.is_some() { 409 } else { 201 };
        if let Some(name) = existing {
            let _ = writeln!(content, "{name}=refused");
            after.clone_from(&self.secrets);
        }
        let body = json!({ "format": "env", "content": content });
        Request { method: Method::POST, path: format!("{SECRETS}/batch"), body: Some(body), status, after }
    }
}

const SECRETS: &str = "/users/me/secrets";

fn send(rest: &Rest, method: Method, path: &str, body: Option<String>) -> Result<Reply, Gone> {
    let reply = rest.try_send(method, path, body).map_err(|_| Gone)?;
    if reply.status == 504 { Err(Gone) } else { Ok(reply) }
}

fn read(rest: &Rest, path: &str) -> Result<Value, Gone> {
    let reply = send(rest, Method::GET, path, None)?;
    if reply.status == 503 { Err(Gone) } else { Ok(reply.expect(200).json) }
}

fn stored(secret: &Value) -> (String, Stored) {
    let text = |field: &str| secret[field].as_str().expect("a text").to_owned();
    let number = text("description").parse().unwrap_or(0);
    (text("name"), Stored { number, enabled: secret["enabled"].as_bool().expect("enabled") })
}

fn value(number: u64) -> String {
    format!("value-{number}")
}
