//! A running `coder-server` and its users.

use std::ffi::{OsStr, OsString};
use std::ops::{Deref, DerefMut};

use serde_json::Value;

use crate::command::Run;
use crate::env::Env;
use crate::process::Process;
use crate::rest::Rest;
use crate::wait::SHORT;

/// A running server; a [`Process`] with an address.
pub struct Server {
    process: Process,
    url: String,
}

impl Server {
    #[track_caller]
    pub(crate) fn start<A: AsRef<OsStr>>(env: &Env, serve: Run, args: impl IntoIterator<Item = A>) -> Self {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let mut run = env.tracing(serve.args(&args));
        if !args.iter().any(|arg| arg == "--listen") {
            run = run.args(["--listen", "127.0.0.1:0"]);
        }
        let mut process = run.spawn("server");
        let line = process.line_with("listening on", SHORT);
        // Up to a blank, or to the quote of a line in JSON.
        let address =
            line.split("listening on ").nth(1).unwrap_or_default().split([' ', '"']).next().unwrap_or_default();
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        Self { process, url }
    }

    /// Its address with the scheme.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        self.url.split("://").nth(1).unwrap_or_default()
    }
}

impl AsRef<str> for Server {
    fn as_ref(&self) -> &str {
        &self.url
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A user with a session token.
pub struct User {
    env: Env,
    /// Login name.
    pub name: String,
    /// Session token.
    pub token: String,
}

impl User {
    #[track_caller]
    pub(crate) fn create(env: &Env, name: &str) -> Self {
        let made = env.admin(["user", "create", name, "--json"]).reveals().run().success().json();
        let token = made["session_token"].as_str().expect("a session token").to_owned();
        Self::known(env, name, &token)
    }

    pub(crate) fn known(env: &Env, name: &str, token: &str) -> Self {
        env.watch(&format!("session token of {name}"), token.as_bytes());
        Self { env: env.clone(), name: name.to_owned(), token: token.to_owned() }
    }

    /// `coder ARGS…` as this user, on the server that was started last.
    pub fn coder<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.env.coder(args).env("CODER_URL", self.env.url()).env("CODER_SESSION_TOKEN", &self.token)
    }

    /// Creates a secret with a new canary for its value, piped in, and returns the value.
    #[track_caller]
    pub fn secret(&self, name: &str, flags: &[&str]) -> String {
        let value = self.env.canary(name);
        self.secret_with(name, &value, flags);
        value
    }

    /// Creates a secret with this value, which is looked for like a canary.
    #[track_caller]
    pub fn secret_with(&self, name: &str, value: impl AsRef<[u8]>, flags: &[&str]) {
        self.env.watch(name, value.as_ref());
        let _ = self.coder(["secret", "create", name]).args(flags).stdin(value).run().success();
    }

    /// One of their secrets, as the server lists it.
    #[track_caller]
    pub fn stored(&self, name: &str) -> Value {
        self.rest().get(&format!("/users/me/secrets/{name}")).expect(200).json
    }

    /// The names of their secrets, as the server lists them.
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        let listed = self.rest().get("/users/me/secrets").expect(200).json;
        let listed = listed.as_array().expect("a list").iter();
        listed.map(|secret| secret["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Requests as this user, to the server that was started last.
    pub fn rest(&self) -> Rest {
        Rest::new(&self.env.url(), &self.token)
    }
}
