//! Who is calling.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use protocol::problem::Problem;
use protocol::rest::{SESSION_TOKEN_COOKIE, SESSION_TOKEN_HEADER};
use protocol::secret::Secret;
use uuid::Uuid;

use crate::rest::ApiError;
use crate::serve::AppState;
use crate::store::Session;
use crate::store::audit::Actor;
use crate::store::workspaces::AgentIdentity;

/// Address of the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Where the extractors leave who was admitted, for the access log and the audit of refusals.
#[derive(Clone, Debug, Default)]
pub struct Admitted(Arc<OnceLock<Actor>>);

impl Admitted {
    /// Who was admitted, once someone was.
    #[must_use]
    pub fn actor(&self) -> Option<&Actor> {
        self.0.get()
    }
}

/// The caller is a user, by a valid session token.
#[derive(Clone, Debug)]
pub struct User {
    /// The session.
    pub session: Session,
    /// The same, for audit records.
    pub actor: Actor,
}

impl FromRequestParts<AppState> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let session = match presented(parts) {
            Some(token) => state.store.session(&token).await?,
            None => None,
        };
        let Some(session) = session else {
            return Err(refused(parts, state, "You are signed out or your session has expired. Sign in to continue."));
        };
        let (id, name) = (session.user.id, session.user.username.clone());
        let actor = Actor::User { id, name, address: address(parts) };
        admit(parts, state, &actor, Some(&session.token_id))?;
        Ok(Self { session, actor })
    }
}

    }
}

impl User {
    /// Whether a path parameter means this user: `me`, the id, or the name in whatever letter case.
    #[must_use]
    pub fn is(&self, named: &str) -> bool {
        let user = &self.session.user;
        named == "me" || named.eq_ignore_ascii_case(&user.username) || Uuid::try_parse(named) == Ok(user.id)
