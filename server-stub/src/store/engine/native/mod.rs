//! What each engine does with a statement: binds its values, runs it, takes locks. And where PostgreSQL's connections are from.

pub(super) mod pool;
pub(super) mod postgres;
pub(super) mod sqlite;
