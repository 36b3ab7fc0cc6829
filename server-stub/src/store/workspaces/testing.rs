//! Rows that tests need and no workspace command makes.

use uuid::Uuid;

use super::super::{Place, Store, StoreError};

/// A statement behind the back of the store.
pub(crate) async fn execute(store: &Store, sql: &'static str) {
    let executed: Result<(), StoreError> = store
        .write(move |writing| {
            Box::pin(async move {
                sqlx::query(sql).execute(writing.connection()).await.unwrap();
                Ok(())
            })
        })
        .await;
    executed.unwrap();
}

/// A secret with the value `value of NAME`.
pub(crate) async fn put_secret(store: &Store, user: Uuid, name: &str, env_name: &str, file_path: &str, enabled: bool) {
    let (name, env_name, file_path) = (name.to_owned(), env_name.to_owned(), file_path.to_owned());
    let put: Result<(), StoreError> = store
        .write(move |writing| {
            Box::pin(async move {
                let id = Uuid::new_v4();
                let place = Place { table: "user_secrets", user, row: id, column: "value" };
                let sealed = writing.seal(&place, format!("value of {name}").as_bytes())?;
                sqlx::query("INSERT INTO user_secrets VALUES (?, ?, ?, '', ?, ?, 0, ?, ?, ?, 0, 0)")
                    .bind(id)
                    .bind(user)
                    .bind(name)
                    .bind(sealed.data)
                    .bind(sealed.key.as_str().to_owned())
                    .bind(env_name)
                    .bind(file_path)
                    .bind(enabled)
                    .execute(writing.connection())
                    .await
                    .unwrap();
                Ok(())
            })
        })
        .await;
    put.unwrap();
}
