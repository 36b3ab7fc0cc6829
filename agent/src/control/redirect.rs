//! Where a server sends us instead of answering: to its new address, or to the login page of an access proxy.

use std::fmt;

use reqwest::Url;
use reqwest::header::{HeaderMap, LOCATION};

use super::words::printable;

/// A redirect, which is never followed: the token would go along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    location: String,
    login: bool,
}

impl Redirect {
    /// The redirect of a request to `server` for `path`.
    pub(super) fn new(server: &Url, path: &str, headers: &HeaderMap) -> Self {
        let location = headers.get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let Ok(mut location) = server.join(&location.unwrap_or_default()) else {
            return Self { location: "an address that is none".to_owned(), login: false };
        };
        // A server that has moved keeps the path, and one that wants https its name; a login page has its own.
        let moved = location.path().ends_with(path);
        let same = location.host() == server.host() && location.path() == server.path();
        let login = !moved && !same;
        // What follows is the business of the login page, and may be a credential.
        location.set_query(None);
        location.set_fragment(None);
        Self { location: printable(location.as_str()), login }
    }

    /// Whether it leads to a page for people.
    pub(super) fn is_login(&self) -> bool {
        self.login
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.login { "sends us to a login page:" } else { "redirects to" };
        write!(f, "{what} {}", self.location)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_pages_and_new_addresses_are_told_apart() {
        let server = "https://coder.example.com/".parse().unwrap();
        let path = "/api/v2/workspaceagents/me/rpc";
        for (location, expected) in [
            (
                "https://new.example/api/v2/workspaceagents/me/rpc?x",
                "redirects to https://new.example/api/v2/workspaceagents/me/rpc",
            ),
            ("https://coder.example.com/", "redirects to https://coder.example.com/"),
            ("https://coder.example.com", "redirects to https://coder.example.com/"),
            ("/login?next=1", "sends us to a login page: https://coder.example.com/login"),
            (
                "https://team.cloudflareaccess.com/cdn-cgi/access/login/x?meta=jwt",
                "sends us to a login page: https://team.cloudflareaccess.com/cdn-cgi/access/login/x",
            ),
            ("https://login.example/?next=1", "sends us to a login page: https://login.example/"),
        ] {
            let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
            assert_eq!(Redirect::new(&server, path, &headers).to_string(), expected, "{location}");
        }
    }
}
