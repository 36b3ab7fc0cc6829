//! Statements with their values, before an engine runs them.

use std::marker::PhantomData;

use jiff::Timestamp;
use uuid::Uuid;

use crate::store::keys::KeyId;

/// A statement of the store's dialect (see [`super::dialect`]) and the values of its placeholders. `R` is the type of its rows.
#[must_use = "a query does nothing until a connection runs it"]
pub(in crate::store) struct Query<R> {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Value>,
    pub(super) row: PhantomData<fn() -> R>,
}

/// A statement that returns rows. `{columns}` in it stands for the columns of `R`.
pub(in crate::store) fn query<R>(sql: &'static str) -> Query<R> {
    Query { sql, values: Vec::new(), row: PhantomData }
}

/// A statement that returns no rows.
pub(in crate::store) fn command(sql: &'static str) -> Query<()> {
    query(sql)
}

impl<R> Clone for Query<R> {
    fn clone(&self) -> Self {
        Self { sql: self.sql, values: self.values.clone(), row: PhantomData }
    }
}

impl<R> Query<R> {
    /// The value of the next placeholder.
    pub(in crate::store) fn bind(mut self, value: impl Bind) -> Self {
        self.values.push(value.value());
        self
    }
}

/// `INSERT INTO` with each column beside its value: `insert!("users" { id: id, username: name } "ON CONFLICT DO NOTHING")`.
macro_rules! insert {
    (@mark $column:ident) => { ", ?" };
    ($table:literal { $first:ident: $value:expr $(, $column:ident: $more:expr)* $(,)? } $($rest:literal)?) => {
        $crate::store::engine::command(concat!(
            "INSERT INTO ", $table, " (", stringify!($first) $(, ", ", stringify!($column))*, ") VALUES (?"
            $(, $crate::store::engine::insert!(@mark $column))*, ")" $(, " ", $rest)?
        ))
        .bind($value)$(.bind($more))*
    };
}
pub(in crate::store) use insert;

/// A value as it goes to an engine.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) enum Value {
    Null(Kind),
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Uuid(Uuid),
    Texts(Vec<String>),
    Uuids(Vec<Uuid>),
    Blobs(Vec<Vec<u8>>),
}

/// The type of a null: PostgreSQL types its placeholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Bool,
    Int,
    Text,
    Bytes,
    Uuid,
    List,
}

/// What can be the value of a placeholder.
pub(in crate::store) trait Bind {
    /// The type of the column.
    const KIND: Kind;
    /// The value as it goes to an engine.
    fn value(self) -> Value;
}

impl<T: Bind> Bind for Option<T> {
    const KIND: Kind = T::KIND;
    fn value(self) -> Value {
        self.map_or(Value::Null(T::KIND), T::value)
    }
}

macro_rules! bind {
    ($($type:ty, $kind:ident, $this:ident => $value:expr;)*) => {$(
        impl Bind for $type {
            const KIND: Kind = Kind::$kind;
            fn value(self) -> Value {
                let $this = self;
                $value
            }
        }
    )*};
}

bind! {
    bool, Bool, it => Value::Bool(it);
    i64, Int, it => Value::Int(it);
    i32, Int, it => Value::Int(it.into());
    u32, Int, it => Value::Int(it.into());
    u16, Int, it => Value::Int(it.into());
    // A time is microseconds since 1970 UTC.
    Timestamp, Int, it => Value::Int(it.as_microsecond());
    String, Text, it => Value::Text(it);
    &String, Text, it => Value::Text(it.clone());
    &str, Text, it => Value::Text(it.to_owned());
    KeyId, Text, it => Value::Text(it.as_str().to_owned());
    &KeyId, Text, it => Value::Text(it.as_str().to_owned());
    Vec<u8>, Bytes, it => Value::Bytes(it);
    [u8; 32], Bytes, it => Value::Bytes(it.to_vec());
    Uuid, Uuid, it => Value::Uuid(it);
    Vec<String>, List, it => Value::Texts(it);
    Vec<Uuid>, List, it => Value::Uuids(it);
    Vec<Vec<u8>>, List, it => Value::Blobs(it);
}
