//! Bodies of the REST API under `/api/v2`, with the field names of Coder's API.

mod accounts;

use std::fmt;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

pub use accounts::{
    ApiKey, CreateTokenRequest, CreatedToken, NoRole, NoScope, Role, Scope, TokenConfig, UpdateRolesRequest, User,
    UserRole, Users, never,
};

use crate::secret::{self, Secret};

/// Header that carries a session token or an agent token.
pub const SESSION_TOKEN_HEADER: &str = "Coder-Session-Token";
/// Cookie and query parameter of the same meaning; agents up to 2.31.0 authenticate the RPC dial by the cookie.
pub const SESSION_TOKEN_COOKIE: &str = "coder_session_token";
/// Response header with the server's version.
pub const BUILD_VERSION_HEADER: &str = "X-Coder-Build-Version";

/// A user secret as every route returns it: never with its value.
///
/// A reader needs the name alone, because Coder's versions differ in the others: older ones send no `enabled`. A
/// field that is absent or null has its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSecret {
    /// Stable identifier.
    #[serde(default, deserialize_with = "null_is_default")]
    pub id: Uuid,
    /// Unique for the user; cannot change.
    pub name: String,
    /// Free text.
    #[serde(default, deserialize_with = "null_is_default")]
    pub description: String,
    /// Environment variable target; empty for none.
    #[serde(default, deserialize_with = "null_is_default")]
    pub env_name: String,
    /// File target, starting with `~/` or `/`; empty for none.
    #[serde(default, deserialize_with = "null_is_default")]
    pub file_path: String,
    /// Whether the user wants it delivered. A server that does not know the field delivers every secret.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// When it was created.
    #[serde(default, deserialize_with = "null_is_default")]
    pub created_at: Timestamp,
    /// When anything of it last changed.
    #[serde(default, deserialize_with = "null_is_default")]
    pub updated_at: Timestamp,
}

fn yes() -> bool {
    true
}

fn null_is_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What a client reads of a server's answer to a change. Only the name has to be there: an answer of another version
/// must not turn a change that was made into a failure.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ChangedSecret {
    /// The secret that was created or changed.
    pub name: String,
    /// Its environment variable target; none where the server sends no such text.
    #[serde(default, deserialize_with = "if_readable")]
    pub env_name: Option<String>,
    /// Its file target; none where the server sends no such text.
    #[serde(default, deserialize_with = "if_readable")]
    pub file_path: Option<String>,
    /// Whether it is delivered, as the server says it; none where the server does not know the field.
    #[serde(default)]
    pub enabled: Option<serde_json::Value>,
}

impl ChangedSecret {
    /// Whether workspaces get the secret. A server without the field delivers every secret; none where the server says
    /// something else than yes or no.
    #[must_use]
    pub fn is_enabled(&self) -> Option<bool> {
        self.enabled.as_ref().map_or(Some(true), serde_json::Value::as_bool)
    }
}

/// The value where it has the expected type, else none.
fn if_readable<'de, T: DeserializeOwned, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(from)?).ok())
}

/// `POST /users/{user}/secrets`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CreateUserSecretRequest {
    /// See [`crate::rules::name`].
    #[serde(default)]
    pub name: String,
    /// See [`crate::rules::value`].
    #[serde(default, serialize_with = "secret::expose_on_the_wire")]
    pub value: Secret,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Environment variable target; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub env_name: String,
    /// File target; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file_path: String,
    /// Absent means true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// `PATCH /users/{user}/secrets/{name}`: an absent field stays as it is, an empty one is cleared.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct UpdateUserSecretRequest {
    /// A new value, possibly empty.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "secret::expose_optional_on_the_wire")]
    pub value: Option<Secret>,
    /// A new description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A new environment variable target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_name: Option<String>,
    /// A new file target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_path: Option<String>,
    /// Turns delivery on or off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Deletes the former values at once, as after a leak. Coder's servers keep none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forget_old: bool,
}

/// One value that a secret has, or had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVersion {
    /// Counts from 1 with each new value.
    pub number: i64,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Public id of the session token that stored it; empty where that is not known.
    pub token_id: String,
    /// When another value took its place; none for the current one.
    pub replaced_at: Option<Timestamp>,
}

/// `POST /users/{user}/secrets/{name}/rollback`
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct RollbackUserSecretRequest {
    /// The number of the value; without, the one before the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
}

impl UpdateUserSecretRequest {
    /// Whether no field is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.value.is_none()
            && self.description.is_none()
            && self.env_name.is_none()
            && self.file_path.is_none()
            && self.enabled.is_none()
            && !self.forget_old
    }
}

/// `POST /users/{user}/secrets/batch`. The content is one long secret.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ImportUserSecretsRequest {
    /// Absent or unknown is refused with a message of its own, so it arrives as text; see [`Format`](crate::import::Format).
    #[serde(default)]
    pub format: String,
    /// The text of the file.
    #[serde(default, serialize_with = "secret::expose_on_the_wire")]
    pub content: Secret,
}

impl ImportUserSecretsRequest {
    /// A request for the text of a file in `format`, an [`import::Format`](crate::import::Format).
    #[must_use]
    pub fn new(format: impl fmt::Display, content: Secret) -> Self {
        Self { format: format.to_string(), content }
    }
}

/// `GET /deployment/user-secrets/capabilities`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSecretsCapabilities {
    /// False where the administrator has turned file targets off.
    pub file_path_delivery_enabled: bool,
}

/// `GET /buildinfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildInfo {
    /// Where the source is.
    pub external_url: String,
    /// Semantic version with a leading `v`.
    pub version: String,
    /// The address of the deployment.
    pub dashboard_url: String,
    /// Whether usage is reported to anyone; never here.
    pub telemetry: bool,
    /// Whether this is a proxy; never here.
    pub workspace_proxy: bool,
    /// The constant `1.0`; it tells nothing about the Agent API.
    pub agent_api_version: String,
    /// Present for clients that expect it.
    pub provisioner_api_version: String,
    /// Shown by clients whose version differs.
    pub upgrade_message: String,
    /// Identifies the deployment.
    pub deployment_id: String,
}

/// `GET /users/{user}/gitsshkey`, and `PUT` there for a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSshKey {
    /// Whose key it is.
    pub user_id: Uuid,
    /// When the user got a key for the first time.
    pub created_at: Timestamp,
    /// When this key was made.
    pub updated_at: Timestamp,
    /// A line for `authorized_keys` or a git host, with its newline.
    pub public_key: String,
}

/// `GET /workspaceagents/me/gitsshkey`: the key of the workspace's owner.
#[derive(Debug, Serialize, Deserialize)]
pub struct AgentGitSshKey {
    /// A line for `authorized_keys`, with its newline.
    pub public_key: String,
    /// PEM: OpenSSH's own format for ed25519, SEC1 for ECDSA, PKCS#1 for RSA.
    #[serde(serialize_with = "secret::expose_on_the_wire")]
    pub private_key: Secret,
}

/// `POST /workspaceagents/me/log-source`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostLogSourceRequest {
    /// Chosen by the agent; posting the same one again changes nothing.
    pub id: Uuid,
    /// Shown beside the lines.
    pub display_name: String,
    /// Path or address of an icon; may be empty.
    #[serde(default)]
    pub icon: String,
}

/// Answer to [`PostLogSourceRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceAgentLogSource {
    /// The agent it belongs to.
    pub workspace_agent_id: Uuid,
    /// As requested.
    pub id: Uuid,
    /// When it was first posted.
    pub created_at: Timestamp,
    /// As requested.
    pub display_name: String,
    /// As requested.
    pub icon: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::Format;

    #[test]
    fn a_create_request_on_the_wire() {
        let request = CreateUserSecretRequest {
            name: "a".into(),
            value: Secret::from("x\n\"é".to_owned()),
            env_name: "A".into(),
            enabled: Some(false),
            ..CreateUserSecretRequest::default()
        };
        let body = serde_json::to_string(&request).unwrap();
        assert_eq!(body, "{\"name\":\"a\",\"value\":\"x\\n\\\"é\",\"env_name\":\"A\",\"enabled\":false}");
        let read: CreateUserSecretRequest = serde_json::from_str(&body).unwrap();
        assert_eq!(read.value, request.value);
        assert_eq!(serde_json::from_str::<CreateUserSecretRequest>("{}").unwrap().enabled, None);
    }

    #[test]
    fn an_update_request_tells_absent_from_empty() {
        let clear = UpdateUserSecretRequest {
            value: Some(Secret::default()),
            file_path: Some(String::new()),
            ..UpdateUserSecretRequest::default()
        };
        let body = serde_json::to_string(&clear).unwrap();
        assert_eq!(body, r#"{"value":"","file_path":""}"#);
        assert!(!serde_json::from_str::<UpdateUserSecretRequest>(&body).unwrap().is_empty());
        assert!(serde_json::from_str::<UpdateUserSecretRequest>(r#"{"name":"x"}"#).unwrap().is_empty());
        assert_eq!(serde_json::to_string(&UpdateUserSecretRequest::default()).unwrap(), "{}");
    }

    #[test]
    fn what_a_version_does_not_send_has_a_default() {
        for body in [r#"{"name":"a"}"#, r#"{"name":"a","env_name":null,"created_at":null,"new":{"x":[1]}}"#] {
            let secret: UserSecret = serde_json::from_str(body).unwrap();
            assert_eq!((secret.name.as_str(), secret.enabled, secret.env_name.as_str()), ("a", true, ""), "{body}");
            assert_eq!(secret.created_at, Timestamp::UNIX_EPOCH);
        }
        assert!(serde_json::from_str::<UserSecret>(r#"{"env_name":"A"}"#).is_err());
    }

    #[test]
    fn an_answer_to_a_change_is_read_as_far_as_it_goes() {
        let read = |body| serde_json::from_str::<ChangedSecret>(body).unwrap();
        let none = ChangedSecret { name: "a".into(), env_name: None, file_path: None, enabled: None };
        assert_eq!(read(r#"{"name":"a"}"#), none);
        assert_eq!(none.is_enabled(), Some(true));
        let odd = read(r#"{"name":"a","enabled":"on Fridays","env_name":{"linux":"A"},"file_path":7}"#);
        assert_eq!((odd.is_enabled(), odd.env_name, odd.file_path), (None, None, None));
        let off = read(r#"{"name":"a","enabled":false,"env_name":"A"}"#);
        assert_eq!((off.is_enabled(), off.env_name.as_deref()), (Some(false), Some("A")));
    }

    #[test]
    fn debug_of_a_request_shows_no_value() {
        let secret = || Secret::from("hunter2".to_owned());
        let requests = [
            format!("{:?}", CreateUserSecretRequest { value: secret(), ..CreateUserSecretRequest::default() }),
            format!("{:?}", UpdateUserSecretRequest { value: Some(secret()), ..UpdateUserSecretRequest::default() }),
            format!("{:?}", ImportUserSecretsRequest::new(Format::Env, secret())),
        ];
        assert!(requests.iter().all(|shown| !shown.contains("hunter2")), "{requests:?}");
    }
}
