use std::sync::Arc;
use std::time::Duration;

use protocol::import::Format;
use protocol::rest::{CreateUserSecretRequest, ImportUserSecretsRequest, UpdateUserSecretRequest};

use super::super::engine::{command, row};
use super::super::keys::sealed::SECRET_VALUE;
use super::super::keys::{KeyError, KeyId};
use super::super::testing::{self, World};
use super::*;

const CANARY: &str = "canary-5f1c2b7e9d";

row! {
    struct SealedRow { value_key_id: KeyId, value: Vec<u8> }
}

impl World {
    async fn create(&self, name: &str, value: &str) -> Result<UserSecret, SecretError> {
        let request = CreateUserSecretRequest {
            name: name.into(),
            value: value.to_owned().into(),
            ..CreateUserSecretRequest::default()
        };
        self.store.secrets().create(self.actor.clone(), self.user, request, &Arc::default()).await
    }

    async fn value(&self, id: Uuid) -> (String, Result<String, KeyError>) {
        let find = query::<SealedRow>("SELECT {columns} FROM user_secrets WHERE id = ?").bind(id);
        let row = self.store.database.one(find).await.unwrap();
        let opened = self.store.database.keys().unseal(&row.value_key_id, &SECRET_VALUE.of(self.user, id), &row.value);
        (row.value_key_id.to_string(), opened.map(|value| value.expose_str().unwrap().to_owned()))
    }
}

#[tokio::test]
async fn a_value_is_in_no_file_and_survives_a_restart() {
    let mut world = World::new().await;
    let secret = world.create("token", CANARY).await.unwrap();
    let update = UpdateUserSecretRequest { value: Some(format!("{CANARY}2").into()), ..Default::default() };
    let (actor, user) = (world.actor.clone(), world.user);
    world.store.secrets().update(actor, user, "token", update, &Arc::default(), KeepVersions(5)).await.unwrap();
    for file in std::fs::read_dir(world.dir.path()).unwrap().map(Result::unwrap) {
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{:?}", file.path());
    }
    world.store.close().await;
    world.store = testing::reopen(&world.dir).await;
    assert_eq!(world.value(secret.id).await.1.unwrap(), format!("{CANARY}2"));
}

#[tokio::test]
async fn a_value_moved_to_another_row_does_not_open() {
    let world = World::new().await;
    let (one, two) = (world.create("one", "1").await.unwrap(), world.create("two", "2").await.unwrap());
    let sql = "UPDATE user_secrets SET value = (SELECT value FROM user_secrets WHERE id = ?) WHERE id = ?";
    testing::run(&world.store, command(sql).bind(one.id).bind(two.id)).await;
    assert!(matches!(world.value(two.id).await.1, Err(KeyError::Undecryptable { .. })));
    assert_eq!(world.value(one.id).await.1.unwrap(), "1");
}

#[tokio::test]
async fn each_write_has_one_audit_record_and_a_refused_one_has_none() {
    let world = World::new().await;
    let (actor, user) = (world.actor.clone(), world.user);
    world.create("token", CANARY).await.unwrap();
    world.create("token", CANARY).await.unwrap_err();
    let update = UpdateUserSecretRequest { env_name: Some("TOKEN".into()), ..Default::default() };
    world.store.secrets().update(actor.clone(), user, "token", update, &Arc::default(), KeepVersions(5)).await.unwrap();
    world.store.secrets().delete(actor.clone(), user, "token").await.unwrap();
    let text = format!("A={CANARY}\nB={CANARY}\nA=again");
    let import = |text: &str| ImportUserSecretsRequest::new(Format::Env, text.to_owned().into());
    world.store.secrets().import(actor.clone(), user, import(&text), &Targets::default()).await.unwrap_err();
    world.store.secrets().import(actor, user, import(&text[..text.len() - 8]), &Targets::default()).await.unwrap();

    let entries = world.store.audit().newest(20).await.unwrap();
    let told: Vec<_> = entries.iter().map(|e| (e.action.as_str(), e.resource.as_str(), e.target.as_str())).collect();
    assert_eq!(
        told,
        [
            ("create", "user", "alice"),
            ("create", "user_secret", "token"),
            ("write", "user_secret", "token"),
            ("delete", "user_secret", "token"),
            ("create", "user_secret", "A"),
            ("create", "user_secret", "B"),
        ]
    );
    assert_eq!(entries[2].diff, serde_json::json!({ "env_name": { "old": "", "new": "TOKEN" } }));
    assert_eq!(entries[1].diff["value"], serde_json::json!({ "secret": true }));
    assert!(!serde_json::to_string(&entries).unwrap().contains(CANARY));
    world.store.audit().purge(Duration::ZERO).await.unwrap();
}
