//! Making a former value of a secret current again.

use std::sync::Arc;

use protocol::rest::{UpdateUserSecretRequest, UserSecret};
use uuid::Uuid;

use super::super::audit::Actor;
use super::change::{self, Update};
use super::versions::{self, KeepVersions};
use super::{SecretError, Secrets, Targets};

impl Secrets<'_> {
    /// Makes a former value current, by its number, else the last one. It is a change like any other.
    pub async fn rollback(
        &self,
        actor: Actor,
        user: Uuid,
        name: &str,
        to: Option<i64>,
        targets: &Arc<Targets>,
        keep: KeepVersions,
    ) -> Result<UserSecret, SecretError> {
        let (name, targets) = (name.to_owned(), Arc::clone(targets));
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let (number, value) = versions::former(writing, user, &name, to).await?;
                    let request = UpdateUserSecretRequest { value: Some(value), ..Default::default() };
                    let update = Update { request: Arc::new(request), targets, keep, rolled_back_to: Some(number) };
                    change::update(writing, actor, user, name, update).await
                })
            })
            .await
    }
}
