//! Where a database is, so that a copy of it can be told from the original.

use sqlx::{PgPool, Row as _};

/// A text that differs after a dump was restored (other tables), after a standby was promoted or a point in time was recovered (another
/// timeline), and on a cluster that was made anew. None if the server does not tell.
pub(super) async fn home(pool: &PgPool) -> Option<String> {
    let sql = "SELECT (SELECT system_identifier FROM pg_control_system())::text || '-' || \
               left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) || '-' || 'deployment'::regclass::oid::text";
    match sqlx::query(sql).fetch_one(pool).await.and_then(|row| row.try_get(0)) {
        Ok(home) => Some(home),
        Err(error) => {
            tracing::debug!(%error, "PostgreSQL does not tell where the database is");
            None
        }
    }
}
