//! Who is calling.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use protocol::problem::Problem;
use protocol::rest::{Role, SESSION_TOKEN_COOKIE, SESSION_TOKEN_HEADER, Scope};
use protocol::secret::Secret;
use uuid::Uuid;

use crate::api_error::ApiError;
use crate::limits::Turn;
use crate::state::AppState;
use crate::store::audit::Actor;
use crate::store::workspaces::AgentIdentity;
use crate::store::{SUSPENDED, Session};

/// Address of the client: of the other end of the connection, or behind the proxies that the administrator trusts.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Where the extractors leave who was admitted, for the access log and the audit of refusals.
#[derive(Clone, Debug, Default)]
pub struct Admitted(Arc<OnceLock<(Actor, Turn)>>);

impl Admitted {
    /// Who was admitted, once someone was.
    #[must_use]
    pub fn actor(&self) -> Option<&Actor> {
        self.0.get().map(|(actor, _)| actor)
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
            Some(token) => state.store.tokens().session(&token).await?,
            None => None,
        };
        let Some(session) = session else {
            return Err(refused(parts, state, "You are signed out or your session has expired. Sign in to continue."));
        };
        if session.user.status == SUSPENDED {
            let message = "Your account is suspended. Ask an administrator to activate it.";
            return Err(refused(parts, state, message));
        }
        let (id, name) = (session.user.id, session.user.username.clone());
        let actor = Actor::User { id, name, address: address(parts), token: Some(session.token_id.clone()) };
        admit(parts, state, &actor, Some(&session.token_id)).await?;
        Ok(Self { session, actor })
    }
}

impl User {
    /// Whether a path parameter means this user: `me`, the id, or the name in whatever letter case.
    #[must_use]
    pub fn is(&self, named: &str) -> bool {
        let user = &self.session.user;
        named == "me" || named.eq_ignore_ascii_case(&user.username) || Uuid::try_parse(named) == Ok(user.id)
    }

    /// Whether the user administers the deployment.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.session.role == Role::Owner
    }

    /// Whether the user may read the audit log, and lists of users and workspaces.
    #[must_use]
    pub fn is_auditor(&self) -> bool {
        matches!(self.session.role, Role::Owner | Role::Auditor)
    }

    /// Refuses what only an administrator may do.
    pub fn require_owner(&self) -> Result<(), ApiError> {
        let detail = "You need the role owner for this.";
        let refusal = || ApiError::with(StatusCode::FORBIDDEN, Problem::new("Forbidden.").detail(detail));
        self.is_owner().then_some(()).ok_or_else(refusal)
    }

    /// Refuses what a token may not do that only manages secrets: whoever defines a workspace gets the values.
    pub fn require_workspaces(&self) -> Result<(), ApiError> {
        if self.session.scope == Scope::Workspaces {
            return Ok(());
        }
        let problem = Problem::new("This token may not define workspaces.")
            .detail("Sign in with a token of scope workspaces: coder login --scope workspaces");
        Err(ApiError::with(StatusCode::FORBIDDEN, problem))
    }
}

/// The caller is a workspace agent, by a valid agent token, whose workspace is not revoked.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Which agent, of which workspace and owner.
    pub identity: AgentIdentity,
    /// The same, for audit records.
    pub actor: Actor,
}

/// The same, also if its workspace is revoked: whoever takes it has to see that no value reaches such a workspace.
#[derive(Clone, Debug)]
pub struct EvenRevoked(pub Agent);

impl FromRequestParts<AppState> for Agent {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let EvenRevoked(agent) = EvenRevoked::from_request_parts(parts, state).await?;
        if agent.identity.is_revoked { Err(revoked()) } else { Ok(agent) }
    }
}

/// The answer to the token of a revoked workspace. It is known, so it is no failed authentication of its address.
#[must_use]
pub fn revoked() -> ApiError {
    let problem = Problem::new("This workspace is revoked.").detail("Ask the administrator of the server.");
    ApiError::with(StatusCode::UNAUTHORIZED, problem)
}

impl FromRequestParts<AppState> for EvenRevoked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let token = presented(parts);
        let found = match token.as_ref().and_then(|token| token.expose_str().ok()) {
            Some(token) => state.store.agents().by_token(token).await?,
            None => None,
        };
        let Some(identity) = found else {
            return Err(refused(parts, state, "The agent token is missing or not valid."));
        };
        let actor = Actor::Agent { id: identity.id, name: identity.path(), address: address(parts) };
        admit(parts, state, &actor, None).await?;
        Ok(Self(Agent { identity, actor }))
    }
}

/// Where the request comes from.
#[must_use]
pub fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<Peer>().map(|peer| peer.0)
}

/// The token of a request, from the first place that has one: cookie, query, header, bearer, and the query again under another name.
///
/// Agents up to 2.31.0 dial with the cookie, newer ones with the header.
#[must_use]
pub fn presented(parts: &Parts) -> Option<Secret> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map(|query| query.0).unwrap_or_default();
    let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let cookie = cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == SESSION_TOKEN_COOKIE).then_some(value));
    let bearer = text("authorization")
        .and_then(|value| value.split_once(' '))
        .and_then(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer").then_some(token));
    [cookie, parameter(SESSION_TOKEN_COOKIE), text(SESSION_TOKEN_HEADER), bearer, parameter("access_token")]
        .into_iter()
        .flatten()
        .map(str::trim)
        .find(|token| !token.is_empty())
        .map(|token| Secret::from(token.to_owned()))
}

/// One body for a missing, a malformed and an unknown token. Past the limit of failures it is 429 instead.
#[must_use]
pub fn refused(parts: &Parts, state: &AppState, message: &str) -> ApiError {
    match state.limits.failed_authentication(address(parts)) {
        Ok(()) => ApiError::with(
            StatusCode::UNAUTHORIZED,
            Problem::new(message).detail(format!("Send a valid token in the header {SESSION_TOKEN_HEADER}.")),
        ),
        Err(after) => after.into(),
    }
}

/// Counts the request of an authenticated caller, waits for the caller's turn, which lasts as long as the request, and makes the caller
/// known to the layers around the handler.
pub async fn admit(parts: &Parts, state: &AppState, actor: &Actor, token_id: Option<&str>) -> Result<(), ApiError> {
    state.uses.note(actor, token_id);
    let Some(id) = actor.id() else { return Ok(()) };
    let refused = state.limits.request(id).err();
    // A handler that asks twice has its turn already. Who is refused needs none, but is to be known.
    if let Some(admitted) = parts.extensions.get::<Admitted>()
        && admitted.actor().is_none()
    {
        let turn = if refused.is_some() { Turn::default() } else { state.limits.turn(id).await? };
        drop(admitted.0.set((actor.clone(), turn)));
    }
    refused.map_or(Ok(()), |after| Err(after.into()))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn token(uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        presented(&parts).map(|token| token.expose_str().unwrap().to_owned())
    }

    #[test]
    fn the_first_place_with_a_token_counts() {
        let everywhere = [
            ("Cookie", "a=b; coder_session_token=cookie"),
            ("Coder-Session-Token", "header"),
            ("Authorization", "bEaReR bearer"),
        ];
        let uri = "/?coder_session_token=query&access_token=access";
        let rest = &everywhere[1..];
        assert_eq!(token(uri, &everywhere).unwrap(), "cookie");
        assert_eq!(token(uri, rest).unwrap(), "query");
        assert_eq!(token("/?access_token=access", rest).unwrap(), "header");
        assert_eq!(token("/?access_token=access", &rest[1..]).unwrap(), "bearer");
        assert_eq!(token("/?access_token=acc%65ss", &[]).unwrap(), "access");
        assert_eq!(
            token("/", &[("Cookie", "coder_session_token="), ("Coder-Session-Token", "header")]).unwrap(),
            "header"
        );
        assert_eq!(token("/", &[("Authorization", "Basic abc")]), None);
    }
}
