//! Rows as typed structs. No row is read by position, and a column that is not what its struct says is an error that names it.

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::failure::DatabaseError;
use crate::store::keys::KeyId;
use crate::store::time;

/// A row of any engine.
pub(in crate::store) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of the column `name`.
    pub(in crate::store) fn get<T: Column>(&self, name: &'static str) -> Result<T, DatabaseError> {
        T::read(self, name)
    }
}

/// A struct that a row becomes. Made by [`row!`].
pub(in crate::store) trait FromRow: Sized {
    /// What `{columns}` in a query stands for.
    const COLUMNS: &'static str;
    /// Reads every column by its name.
    fn from_row(row: &Row) -> Result<Self, DatabaseError>;
}

/// Declares a row: the one list of the columns that a query reads, with their types.
///
/// ```ignore
/// row! {
///     pub(super) struct SessionRow {
///         secret_hash: Vec<u8>,           // a column of that name
///         user_id: Uuid = "u.id",         // another expression
///     }
/// }
/// ```
macro_rules! row {
    (@column $field:ident) => { stringify!($field) };
    (@column $field:ident $expression:literal) => { concat!($expression, " AS ", stringify!($field)) };
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $(#[$first_meta:meta])* $first_vis:vis $first:ident: $first_type:ty $(= $first_expression:literal)?
        $(, $(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty $(= $expression:literal)?)* $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name {
            $(#[$first_meta])* $first_vis $first: $first_type,
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        impl $crate::store::engine::FromRow for $name {
            const COLUMNS: &'static str = concat!(
                $crate::store::engine::row!(@column $first $($first_expression)?)
                $(, ", ", $crate::store::engine::row!(@column $field $($expression)?))*
            );

            fn from_row(row: &$crate::store::engine::Row) -> Result<Self, $crate::store::engine::DatabaseError> {
                Ok(Self { $first: row.get(stringify!($first))?, $($field: row.get(stringify!($field))?,)* })
            }
        }
    };
}
pub(in crate::store) use row;

/// A type that a column can be read as.
pub(in crate::store) trait Column: Sized {
    /// Reads the column `name`.
    fn read(row: &Row, name: &'static str) -> Result<Self, DatabaseError>;
}

/// What the engines decode by themselves.
macro_rules! native {
    ($($type:ty),*) => {$(
        impl Column for $type {
            fn read(row: &Row, name: &'static str) -> Result<Self, DatabaseError> {
                match row {
                    Row::Sqlite(row) => row.try_get(name),
                    Row::Postgres(row) => row.try_get(name),
                }
                .map_err(|source| DatabaseError::column(name, source))
            }
        }

        impl Column for Option<$type> {
            fn read(row: &Row, name: &'static str) -> Result<Self, DatabaseError> {
                match row {
                    Row::Sqlite(row) => row.try_get(name),
                    Row::Postgres(row) => row.try_get(name),
                }
                .map_err(|source| DatabaseError::column(name, source))
            }
        }
    )*};
}
native!(bool, i64, String, Vec<u8>, Uuid);

/// What is made of a native value; `None` if the value is not one that this program writes.
macro_rules! derived {
    ($($type:ty, $native:ty, $this:ident => $value:expr;)*) => {$(
        impl Column for $type {
            fn read(row: &Row, name: &'static str) -> Result<Self, DatabaseError> {
                let $this: $native = row.get(name)?;
                $value.ok_or_else(|| DatabaseError::unexpected(name))
            }
        }
    )*};
}
derived! {
    i32, i64, it => i32::try_from(it).ok();
    u16, i64, it => u16::try_from(it).ok();
    usize, i64, it => usize::try_from(it).ok();
    Timestamp, i64, it => Some(time(it));
    Option<Timestamp>, Option<i64>, it => Some(it.map(time));
    Option<i32>, Option<i64>, it => it.map(i32::try_from).transpose().ok();
    KeyId, String, it => Some(KeyId::stored(&it));
    Option<KeyId>, Option<String>, it => Some(it.map(|id| KeyId::stored(&id)));
    [u8; 32], Vec<u8>, it => <[u8; 32]>::try_from(it).ok();
}
