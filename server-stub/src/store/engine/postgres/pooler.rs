//! Connection poolers between a server and its database.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};

/// Rounds of the probe. A pooler that is busy may happen to give a connection of its own once.
const ROUNDS: u32 = 3;

/// Whether a pooler lends its connections for single transactions only, as `PgBouncer` does with `pool_mode = transaction`.
///
/// Prepared statements, `LISTEN` and session settings would then land in the session of somebody else. The sign: two of our connections,
/// both open, get the same backend process.
pub(super) async fn shares_sessions(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let (mut one, mut other) = (options.connect().await?, options.connect().await?);
    let mut shared = false;
    for _ in 0..ROUNDS {
        shared |= backend(&mut one).await? == backend(&mut other).await?;
    }
    one.close().await?;
    other.close().await?;
    Ok(shared)
}

async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    // Not prepared: that is what such a pooler may not support.
    sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?.try_get(0)
}
