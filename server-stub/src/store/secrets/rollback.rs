//! Making a former value of a secret current again.

use std::sync::Arc;

use protocol::rest::{UpdateUserSecretRequest, UserSecret};
use uuid::Uuid;

use super::super::audit::Actor;
use super::change::{self, Update};
use super::versions::{self, KeepVersions};
use super::{FilePaths, SecretError, Secrets};

impl Secrets<'_> {
    /// Makes a former value current, by its number, else the last one. It is a change like any other.
    pub async fn rollback(
        &self,
        actor: Actor,
        user: Uuid,
        name: &str,
        to: Option<i64>,
        files: FilePaths,
        keep: KeepVersions,
    ) -> Result<UserSecret, SecretError> {
        let name = name.to_owned();
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let (number, value) = versions::former(writing, user, &name, to).await?;
                    let request = UpdateUserSecretRequest { value: Some(value), ..Default::default() };
                    let update = Update { request: Arc::new(request), files, keep, rolled_back_to: Some(number) };
                    change::update(writing, actor, user, name, update).await
                })
            })
            .await
    }
}
