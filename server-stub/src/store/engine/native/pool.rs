//! The connections of one server to its database.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// Connections of one server. More than a few for each core of the database only queue there.
const CONNECTIONS: u32 = 16;
/// Longest wait for a connection: as long as an agent waits for an answer.
const ACQUIRE_TIMEOUT: Duration = Duration::from_mins(1);

/// The connections of one server. All of them are replaced when one is found dead: the others are as good as dead, because the database
/// or the network to it was gone. Each would otherwise fail an operation of its own.
#[derive(Clone)]
pub(in crate::store::engine) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    options: PgConnectOptions,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    pool: PgPool,
    number: u64,
}

/// The pool of one operation.
#[derive(Clone)]
pub(in crate::store::engine) struct Lease {
    /// Where its connection is from.
    pub(in crate::store::engine) pool: PgPool,
    of: Pool,
    number: u64,
}

impl Pool {
    pub(in crate::store::engine) fn new(options: PgConnectOptions) -> Self {
        let current = Current { pool: lazy(&options), number: 0 };
        Self { shared: Arc::new(Shared { options, current: RwLock::new(current) }) }
    }

    /// For one operation.
    pub(in crate::store::engine) fn lease(&self) -> Lease {
        let Current { pool, number } = self.shared.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        Lease { pool, of: self.clone(), number }
    }

    /// Closes every connection.
    pub(in crate::store::engine) async fn close(&self) {
        self.lease().pool.close().await;
    }
}

impl Lease {
    /// A connection of this pool is dead. Whoever waits for another one of it gets one of the next pool.
    pub(in crate::store::engine) fn lost(&self) {
        let mut current = self.of.shared.current.write().unwrap_or_else(PoisonError::into_inner);
        // Another operation has noticed it before, or the process ends.
        if current.number != self.number || current.pool.is_closed() {
            return;
        }
        *current = Current { pool: lazy(&self.of.shared.options), number: self.number.wrapping_add(1) };
        drop(current);
        let pool = self.pool.clone();
        tokio::spawn(async move { pool.close().await });
    }
}

/// Idle connections are not checked before use: that would be a trip for each operation.
fn lazy(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .acquire_slow_threshold(ACQUIRE_TIMEOUT)
        .idle_timeout(Some(Duration::from_mins(10)))
        .test_before_acquire(false)
        .connect_lazy_with(options.clone())
}
