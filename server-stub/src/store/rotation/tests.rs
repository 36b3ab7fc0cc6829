use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::rest::CreateUserSecretRequest;

use super::super::keys::sealed::SECRET_VALUE;
use super::super::{Store, testing};
use super::*;

row! {
    struct ValueRow { id: Uuid, value: Vec<u8>, value_key_id: KeyId }
}

row! {
    struct ColumnRow { table_name: String = "t.name", column_name: String = "c.name" }
}

async fn create(store: &Store, user: Uuid, name: &str) -> Uuid {
    let actor = Actor::User { id: user, name: "u".into(), address: None, token: None };
    let request =
        CreateUserSecretRequest { name: name.into(), value: format!("value of {name}").into(), ..Default::default() };
    store.secrets().create(actor, user, request, &Arc::default()).await.unwrap().id
}

async fn values(store: &Store, user: Uuid) -> Vec<(String, String)> {
    let rows = query::<ValueRow>("SELECT {columns} FROM user_secrets WHERE user_id = ? ORDER BY name").bind(user);
    let open = |row: ValueRow| {
        let value = store.database.keys().unseal(&row.value_key_id, &SECRET_VALUE.of(user, row.id), &row.value);
        (value.unwrap().expose_str().unwrap().to_owned(), row.value_key_id.to_string())
    };
    store.database.all(rows).await.unwrap().into_iter().map(open).collect()
}

#[tokio::test]
async fn every_sealed_column_is_rotated() {
    let (_dir, store) = testing::file_store().await;
    let sealed = query::<ColumnRow>(
        "SELECT {columns} FROM pragma_table_list t, pragma_table_info(t.name) c
         WHERE c.name LIKE '%\\_key\\_id' ESCAPE '\\'",
    );
    let sealed: BTreeSet<(String, String)> =
        store.database.all(sealed).await.unwrap().into_iter().map(|row| (row.table_name, row.column_name)).collect();
    let known = sealed::ALL.iter().map(|column| (column.table, column.name));
    let known = known.chain(["session_tokens", "agents", "git_ssh_keys"].map(|table| (table, "mac")));
    assert_eq!(sealed, known.map(|(table, name)| (table.to_owned(), format!("{name}_key_id"))).collect());
}

#[tokio::test]
async fn another_process_writes_all_the_while_and_nothing_is_left_under_the_old_key() {
    let (dir, admin) = testing::store().await;
    let server = testing::reopen(&dir).await;
    let data_dir = DataDir::open(dir.path()).unwrap();
    let old = admin.keys().ids().await.unwrap().remove(0);
    let users = [testing::user(&server, "alice").await, testing::user(&server, "bob").await];
    for n in 0..40 {
        create(&server, users[0], &format!("before{n:02}")).await;
    }
    let done = AtomicBool::new(false);
    let writing = async {
        let mut n = 0;
        while !done.load(Ordering::Relaxed) || n < 5 {
            create(&server, users[1], &format!("during{n:02}")).await;
            n = (n + 1).min(49);
            if n == 49 {
                break;
            }
        }
    };
    let rotating = async {
        let rotated = admin.keys().rotate(&data_dir, true).await.unwrap();
        done.store(true, Ordering::Relaxed);
        rotated
    };
    let (rotated, ()) = tokio::join!(rotating, writing);
    assert_eq!(rotated.dropped, [old]);
    assert!(rotated.values >= 40);
    for user in users {
        for (n, (value, key)) in values(&server, user).await.into_iter().enumerate() {
            assert!(value.ends_with(&format!("{n:02}")), "{value}");
            assert_eq!(key, rotated.active.as_str());
        }
    }
    let text = std::fs::read_to_string(data_dir.key_file()).unwrap();
    assert_eq!(key::parse(&text, "").unwrap().iter().map(key::id_of).collect::<Vec<_>>(), [rotated.active]);
    for store in [admin, server] {
        store.close().await;
    }
    assert_eq!(values(&testing::reopen(&dir).await, users[0]).await.len(), 40);
}

#[tokio::test]
async fn a_value_that_does_not_decrypt_keeps_its_key_and_does_not_stop_the_others() {
    let (dir, store) = testing::store().await;
    let data_dir = DataDir::open(dir.path()).unwrap();
    let user = testing::user(&store, "alice").await;
    let (bad, _good) = (create(&store, user, "bad").await, create(&store, user, "good").await);
    let damage = command("UPDATE user_secrets SET value = ? WHERE id = ?").bind(vec![0; 40]).bind(bad);
    testing::run(&store, damage).await;
    let error = store.keys().rotate(&data_dir, true).await.unwrap_err().to_string();
    assert!(error.contains(&format!("user_secrets {bad}")), "{error}");
    assert_eq!(store.keys().ids().await.unwrap().len(), 2);
    store.close().await;
    let store = testing::reopen(&dir).await;
    let actor = Actor::User { id: user, name: "alice".into(), address: None, token: None };
    store.secrets().delete(actor, user, "bad").await.unwrap();
    let rotated = store.keys().rotate(&data_dir, true).await.unwrap();
    assert_eq!((rotated.values, rotated.dropped.len()), (0, 1));
    assert_eq!(values(&store, user).await, [("value of good".to_owned(), rotated.active.to_string())]);
}

#[tokio::test]
async fn a_lost_or_wrong_key_is_named_and_never_replaced() {
    let (dir, store) = testing::file_store().await;
    let id = store.keys().ids().await.unwrap().remove(0);
    store.close().await;
    let data_dir = DataDir::open(dir.path()).unwrap();
    let open = || Store::open(&data_dir, KeySource::File(data_dir.key_file()));
    std::fs::remove_file(data_dir.key_file()).unwrap();
    assert!(matches!(open().await, Err(StoreError::Keys(KeyError::File { action: "read", .. }))));
    assert!(!data_dir.key_file().exists());
    file::create(&data_dir.key_file(), &key::generate().unwrap()).unwrap();
    let error = open().await.err().unwrap().to_string();
    assert!(error.contains(id.as_str()) && error.contains("encryption.key"), "{error}");
}

#[tokio::test]
async fn the_first_key_of_a_variable_encrypts_and_all_decrypt() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let dir = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(dir.path()).unwrap();
    let (old, new) = (key::generate().unwrap(), key::generate().unwrap());
    let open = |keys: &[&key::KeyBytes]| {
        let text = keys.iter().map(|key| STANDARD.encode(***key)).collect::<Vec<_>>().join(",");
        Store::open(&data_dir, KeySource::Variable { name: "KEYS", text: text.into() })
    };
    let store = open(&[&old]).await.unwrap();
    let user = testing::user(&store, "alice").await;
    create(&store, user, "a").await;
    assert!(matches!(store.keys().rotate(&data_dir, true).await, Err(RotateError::Variable("KEYS"))));
    store.close().await;
    let store = open(&[&new, &old]).await.unwrap();
    create(&store, user, "b").await;
    let keys: Vec<String> = values(&store, user).await.into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys, [key::id_of(&old).to_string(), key::id_of(&new).to_string()]);
    assert_eq!(store.keys().rotate(&data_dir, true).await.unwrap().dropped, [key::id_of(&old)]);
    store.close().await;
    assert_eq!(values(&open(&[&new]).await.unwrap(), user).await.len(), 2);
    assert!(matches!(open(&[&old]).await, Err(StoreError::Keys(KeyError::Missing { .. }))));
}
