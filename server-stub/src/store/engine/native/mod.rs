//! What each engine does with a statement: binds its values, runs it, takes locks.

pub(super) mod postgres;
pub(super) mod sqlite;
