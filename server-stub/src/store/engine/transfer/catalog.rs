//! The tables to copy, as the databases themselves describe them: a list here would go stale with the next migration.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row as _, SqliteConnection};

use super::super::error::{Doing, StoreError};
use super::super::query::Kind;

/// What a database has of its own accord: the marks of its schema, and leases of servers that run on it.
const NOT_COPIED: [&str; 2] = ["schema_version", "servers"];

/// A table that both databases have.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Columns that identify a row and order the rows.
    pub(super) key: Vec<String>,
}

/// A column that both have.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

impl Table {
    /// Its columns, quoted, each as `write` wants it.
    pub(super) fn listed(&self, write: impl Fn(&Column) -> String) -> String {
        self.columns.iter().map(write).collect::<Vec<_>>().join(", ")
    }

    /// Its key, quoted.
    pub(super) fn order(&self) -> String {
        self.key.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    }
}

/// What SQLite knows of a table.
#[derive(Default)]
struct Described {
    columns: Vec<String>,
    key: BTreeMap<i64, String>,
    refers_to: BTreeSet<String>,
}

/// All tables, each behind those that it refers to. SQLite tells keys and references, PostgreSQL the types.
pub(super) async fn tables(
    sqlite: &mut SqliteConnection,
    postgres: &mut PgConnection,
) -> Result<Vec<Table>, StoreError> {
    let action = "read the schema";
    let described = described(sqlite).await.doing(action)?;
    let mut types = types(postgres).await.doing(action)?;
    let mut tables = BTreeMap::new();
    for (name, table) in &described {
        let mut kinds = types.remove(name).unwrap_or_default();
        let column = |column: &String| Some(Column { kind: kind(&kinds.remove(column)?)?, name: column.clone() });
        let columns: Option<Vec<_>> = table.columns.iter().map(column).collect();
        let columns = columns.filter(|_| kinds.is_empty()).ok_or(StoreError::Malformed { what: "the schema" })?;
        let key = table.key.values().cloned().collect();
        tables.insert(name.clone(), Table { name: name.clone(), columns, key });
    }
    if !types.is_empty() {
        return Err(StoreError::Malformed { what: "the schema" });
    }
    Ok(ordered(tables, &described))
}

async fn described(sqlite: &mut SqliteConnection) -> Result<BTreeMap<String, Described>, sqlx::Error> {
    let mut tables: BTreeMap<String, Described> = BTreeMap::new();
    let columns = "SELECT m.name AS name, c.name AS column_name, c.pk AS pk FROM sqlite_schema m \
                   JOIN pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY m.name, c.cid";
    for row in sqlx::query(columns).fetch_all(&mut *sqlite).await? {
        let (name, column): (String, String) = (row.try_get("name")?, row.try_get("column_name")?);
        if name.starts_with("sqlite_") || NOT_COPIED.contains(&name.as_str()) {
            continue;
        }
        let table = tables.entry(name).or_default();
        let place: i64 = row.try_get("pk")?;
        if place > 0 {
            table.key.insert(place, column.clone());
        }
        table.columns.push(column);
    }
    let references = "SELECT m.name AS name, f.\"table\" AS refers_to FROM sqlite_schema m \
                      JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'";
    for row in sqlx::query(references).fetch_all(sqlite).await? {
        if let Some(table) = tables.get_mut(&row.try_get::<String, _>("name")?) {
            table.refers_to.insert(row.try_get("refers_to")?);
        }
    }
    Ok(tables)
}

/// By table, then by column.
type Types = BTreeMap<String, BTreeMap<String, String>>;

async fn types(postgres: &mut PgConnection) -> Result<Types, sqlx::Error> {
    let mut types = Types::new();
    let columns = "SELECT table_name::text, column_name::text, udt_name::text FROM information_schema.columns \
                   WHERE table_schema = current_schema()";
    for row in sqlx::query(columns).fetch_all(postgres).await? {
        let table: String = row.try_get("table_name")?;
        if !NOT_COPIED.contains(&table.as_str()) {
            types.entry(table).or_default().insert(row.try_get("column_name")?, row.try_get("udt_name")?);
        }
    }
    Ok(types)
}

fn kind(postgres: &str) -> Option<Kind> {
    match postgres {
        "bool" => Some(Kind::Bool),
        "int4" | "int8" => Some(Kind::Int),
        "text" => Some(Kind::Text),
        "bytea" => Some(Kind::Bytes),
        "uuid" => Some(Kind::Uuid),
        _ => None,
    }
}

/// Each table behind those that it refers to. No table refers to itself through others.
fn ordered(mut tables: BTreeMap<String, Table>, described: &BTreeMap<String, Described>) -> Vec<Table> {
    let mut order = Vec::with_capacity(tables.len());
    while !tables.is_empty() {
        let waits = |name: &String| {
            described
                .get(name)
                .is_some_and(|table| table.refers_to.iter().any(|other| other != name && tables.contains_key(other)))
        };
        let (later, now): (BTreeMap<_, _>, BTreeMap<_, _>) = {
            let waiting: BTreeSet<String> = tables.keys().filter(|name| waits(name)).cloned().collect();
            std::mem::take(&mut tables).into_iter().partition(|(name, _)| waiting.contains(name))
        };
        if now.is_empty() {
            // A circle: the database refuses what refers to a row that is not there yet.
            order.extend(later.into_values());
            break;
        }
        order.extend(now.into_values());
        tables = later;
    }
    order
}
