//! Whether the database can be written.

use super::{Doing, Store, StoreError};

impl Store {
    /// Writes something that changes nothing, through to the disk.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.write(|writing| {
            Box::pin(async move {
                let query = sqlx::query("UPDATE deployment SET id = id");
                query.execute(writing.connection()).await.doing("write to the database").map(drop)
            })
        })
        .await
    }
}
