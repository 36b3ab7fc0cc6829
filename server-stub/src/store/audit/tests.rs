use std::time::Duration;

use super::*;
use crate::store::testing;

#[tokio::test]
async fn records_are_listed_in_order_and_purged_by_age() {
    let (_dir, store) = testing::store().await;
    let address = Some([127, 0, 0, 1].into());
    let actor = Actor::User { id: Uuid::from_u128(7), name: "alice".into(), address, token: None };
    for status in [201, 409] {
        let record = Record::new(actor.clone(), "create", "user_secret").on(None, "token").status(status);
        store.audit().write(record).await.unwrap();
    }
    let entries = store.audit().newest(10).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.status).collect::<Vec<_>>(), [201, 409]);
    assert_eq!((entries[0].address.as_str(), entries[0].target.as_str()), ("127.0.0.1", "token"));
    assert_eq!(store.audit().newest(1).await.unwrap()[0].status, 409);
    assert_eq!(store.audit().purge(Duration::from_hours(1)).await.unwrap(), 0);
    assert_eq!(store.audit().purge(Duration::ZERO).await.unwrap(), 2);
}

#[tokio::test]
async fn a_record_is_bounded_after_encoding() {
    let (_dir, store) = testing::store().await;
    for diff in [
        serde_json::json!({ "reason": "\u{1}".repeat(4096), "type": "ssh" }),
        serde_json::Value::from(vec!["x".repeat(100); 1000]),
    ] {
        let record = Record::new(Actor::Administrator, "connect", "workspace_session").on(None, &"y".repeat(4096));
        store.audit().write(record.diff(diff)).await.unwrap();
    }
    let entries = store.audit().newest(2).await.unwrap();
    assert_eq!(entries[0].diff["type"], "ssh");
    assert!(entries[0].diff["reason"].as_str().unwrap().ends_with("\u{1}…"));
    assert!(entries[1].diff["too_large"].as_u64().unwrap() > 100_000);
    assert!(store.audit().bytes().await.unwrap() < 2 * (MAX_DIFF_BYTES as u64 + 1024));
}

#[tokio::test]
async fn the_oldest_records_go_when_all_are_too_large() {
    let (_dir, store) = testing::store().await;
    for n in 0..30 {
        let record = Record::new(Actor::Administrator, "create", "user").on(None, &n.to_string());
        store.audit().write_all(vec![record; 100]).await.unwrap();
    }
    let all = store.audit().bytes().await.unwrap();
    assert_eq!(store.audit().keep_within(all).await.unwrap(), 0);
    assert_eq!(store.audit().keep_within(all / 2).await.unwrap(), 2000);
    assert!(store.audit().bytes().await.unwrap() < all / 2);
    assert_eq!(store.audit().newest(1).await.unwrap()[0].target, "29");
}
