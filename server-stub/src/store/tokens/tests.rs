use std::net::IpAddr;

use super::text::ID_LENGTH;
use protocol::rest::{Role, Scope};

use super::*;
use crate::store::testing;

#[tokio::test]
async fn a_token_is_valid_until_revoked_and_never_stored() {
    let (dir, store) = testing::store().await;
    let user = store.users().create("alice").await.unwrap();
    let made = store.tokens().create(&user).await.unwrap();
    let session = store.tokens().session(&made.token).await.unwrap().unwrap();
    assert_eq!((session.user, &session.token_id), (user, &made.id));
    assert_eq!((session.role, session.scope), (Role::Owner, Scope::Secrets));
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let secret = &made.token.expose()[ID_LENGTH + 1..];
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
    assert!(store.tokens().revoke(&made.id, None, Actor::Administrator).await.unwrap());
    assert!(!store.tokens().revoke(&made.id, None, Actor::Administrator).await.unwrap());
    assert!(store.tokens().session(&made.token).await.unwrap().is_none());
}

#[tokio::test]
async fn a_token_with_another_secret_part_is_none() {
    let (_dir, store) = testing::store().await;
    let user = store.users().create("alice").await.unwrap();
    let made = store.tokens().create(&user).await.unwrap();
    let text = made.token.expose_str().unwrap();
    let last = if text.ends_with('0') { "1" } else { "0" };
    for bad in [
        format!("{}{last}", &text[..text.len() - 1]),
        made.id,
        String::new(),
        "-".into(),
        "x".repeat(75),
        format!("a\0{}", &text[2..]),
    ] {
        assert!(store.tokens().session(&bad.into()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn uses_are_recorded_with_time_and_place() {
    let (_dir, store) = testing::store().await;
    let user = store.users().create("alice").await.unwrap();
    let id = store.tokens().create(&user).await.unwrap().id;
    let address = Some(IpAddr::from([127, 0, 0, 1]));
    let actor = Actor::User { id: user.id, name: user.username, address, token: None };
    let last = now();
    store.tokens().record_uses(vec![TokenUse { actor, token_id: Some(id), last, requests: 3 }]).await.unwrap();
    let info = store.tokens().list().await.unwrap().remove(0);
    assert_eq!((info.last_used_at, info.last_used_from.as_deref()), (Some(last), Some("127.0.0.1")));
    let entry = store.audit().newest(1).await.unwrap().remove(0);
    assert_eq!((entry.action.as_str(), entry.diff), ("use", serde_json::json!({ "requests": 3 })));
}

/// A session that was made at `created`, lives `lifetime` after its last use, and would end at `expires`; all in hours from now.
async fn session_of(store: &crate::store::Store, created: i64, lifetime: u64, expires: i64) -> NewToken {
    let user = store.users().find("alice").await.unwrap().unwrap();
    let wanted = Wanted { kind: Kind::Session, lifetime: Some(Duration::from_hours(lifetime)), ..Wanted::default() };
    let made = store.tokens().create_with(Actor::Administrator, &user, wanted).await.unwrap();
    let at = |hours: i64| now().as_microsecond() + hours * 3_600_000_000;
    let set = command("UPDATE session_tokens SET created_at = ?, expires_at = ? WHERE id = ?");
    testing::run(store, set.bind(at(created)).bind(at(expires)).bind(&made.id)).await;
    made
}

async fn use_now(store: &crate::store::Store, made: &NewToken) -> i64 {
    let used = TokenUse { actor: Actor::Administrator, token_id: Some(made.id.clone()), last: now(), requests: 1 };
    store.tokens().record_uses(vec![used]).await.unwrap();
    let info = store.tokens().list().await.unwrap().into_iter().find(|info| info.id == made.id).unwrap();
    (info.expires_at.unwrap().as_microsecond() - now().as_microsecond() + 1_800_000_000).div_euclid(3_600_000_000)
}

#[tokio::test]
async fn a_session_slides_to_its_end_90_days_after_the_sign_in() {
    let (_dir, store) = testing::store().await;
    store.users().create("alice").await.unwrap();
    let fresh = session_of(&store, -100, 720, 3).await;
    assert_eq!(use_now(&store, &fresh).await, 720);
    let old = session_of(&store, -89 * 24, 720, 3).await;
    assert_eq!(use_now(&store, &old).await, 24);
    let ended = session_of(&store, -100, 720, -1).await;
    assert_eq!(use_now(&store, &ended).await, -1);
    assert!(store.tokens().session(&ended.token).await.unwrap().is_none());
    assert!(store.tokens().session(&fresh.token).await.unwrap().is_some());
}

#[tokio::test]
async fn an_expired_token_is_refused_listed_and_forgotten_after_a_week() {
    let (_dir, store) = testing::store().await;
    let user = store.users().create("alice").await.unwrap();
    let made = store.tokens().create(&user).await.unwrap();
    assert!(store.tokens().expire(&made.id, user.id, Actor::Administrator).await.unwrap());
    assert!(store.tokens().session(&made.token).await.unwrap().is_none());
    assert!(store.tokens().list().await.unwrap()[0].is_expired());
    assert_eq!(store.tokens().purge().await.unwrap(), 0);
    testing::execute(&store, "UPDATE session_tokens SET expires_at = 1").await;
    assert_eq!(store.tokens().purge().await.unwrap(), 1);
}

/// Whoever can write the database but has no key cannot make a token do more.
#[tokio::test]
async fn a_scope_in_the_database_counts_only_with_its_mac() {
    let (_dir, store) = testing::store().await;
    let user = store.users().create("alice").await.unwrap();
    let made = store.tokens().create(&user).await.unwrap();
    testing::execute(&store, "UPDATE session_tokens SET scope = 'workspaces'").await;
    assert!(store.tokens().session(&made.token).await.unwrap().is_none());
    let wanted = Wanted { scope: Scope::Workspaces, ..Wanted::default() };
    let made = store.tokens().create_with(Actor::Administrator, &user, wanted).await.unwrap();
    assert_eq!(store.tokens().session(&made.token).await.unwrap().unwrap().scope, Scope::Workspaces);
}

#[tokio::test]
async fn a_name_is_unique_for_its_user() {
    let (_dir, store) = testing::store().await;
    let [alice, bob] = [store.users().create("alice").await.unwrap(), store.users().create("bob").await.unwrap()];
    let create = async |user: &User, name: &str| {
        let wanted = Wanted { name: name.to_owned(), ..Wanted::default() };
        store
            .tokens()
            .create_with(Actor::Administrator, user, wanted)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(create(&alice, "ci").await, Ok(()));
    assert!(create(&alice, "ci").await.unwrap_err().contains("already exists"));
    assert_eq!(create(&bob, "ci").await, Ok(()));
    assert!(create(&bob, "a\u{1b}").await.is_err());
    assert!(create(&bob, &"x".repeat(65)).await.is_err());
}
