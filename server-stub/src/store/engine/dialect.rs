//! The dialect in which the store writes its SQL once.
//!
//! It is what SQLite and PostgreSQL both take, plus tokens in braces for what they spell differently:
//!
//! | token | SQLite | PostgreSQL |
//! |---|---|---|
//! | `?`, `?1` | `?`, `?1` | `$1`, `$2`, …; `$1` |
//! | `{columns}` | the columns of the row type | the same |
//! | `{fold X}` | `X`: these columns are declared `NOCASE` | `lower(X)` |
//! | `{each text}`, `{each uuid}`, `{each bytes}` | the rows of a bound list, from JSON | `unnest($n)` |
//! | `{hex X}`, `{id X}` | `hex(X)` | `encode(X, 'hex')`, `X` |
//! | `{rows A, B ORDER BY C}` | a JSON array of arrays | the same |
//! | `{int}`, `{bool}`, `{text}`, `{bytes}`, `{uuid}` | types of columns | the same |
//! | `{strict}` | `STRICT`, after a `CREATE TABLE` | |
//!
//! Rules that keep a statement portable: `TRUE` and `FALSE`, not 1 and 0; `CASE`, not `iif`; one statement at a time, several through
//! [`super::Connection::batch`]; columns named in every `INSERT`; no JSON operators.

use std::borrow::Cow;

/// Writes `sql` in SQLite's words.
pub(super) fn sqlite(sql: &'static str, columns: &str) -> Cow<'static, str> {
    if !sql.contains('{') {
        return Cow::Borrowed(sql);
    }
    let mut text = String::with_capacity(sql.len() + columns.len());
    expand(sql, columns, &mut text, &mut |token, text| match token {
        Token::Fold(inner) => text.push_str(inner),
        Token::EachText => text.push_str("SELECT value FROM json_each(?)"),
        Token::EachBlob => text.push_str("SELECT unhex(value) AS value FROM json_each(?)"),
        Token::Hex(inner) | Token::Id(inner) => text.extend(["hex(", inner, ")"]),
        Token::Rows(columns, order) => {
            text.extend(["json_group_array(json_array(", columns, ") ORDER BY ", order, ")"]);
        }
        Token::Int | Token::Bool => text.push_str("INTEGER"),
        Token::Text => text.push_str("TEXT"),
        Token::Bytes | Token::Uuid => text.push_str("BLOB"),
        Token::Strict => text.push_str("STRICT"),
    });
    Cow::Owned(text)
}

/// Writes `sql` in PostgreSQL's words.
pub(super) fn postgres(sql: &'static str, columns: &str) -> Cow<'static, str> {
    if !sql.contains(['{', '?']) {
        return Cow::Borrowed(sql);
    }
    let mut text = String::with_capacity(sql.len() + columns.len());
    expand(sql, columns, &mut text, &mut |token, text| match token {
        Token::Fold(inner) => text.extend(["lower(", inner, ")"]),
        Token::EachText | Token::EachBlob => text.push_str("SELECT unnest(?) AS value"),
        Token::Hex(inner) => text.extend(["encode(", inner, ", 'hex')"]),
        Token::Id(inner) => text.push_str(inner),
        Token::Rows(columns, order) => {
            text.extend(["coalesce(json_agg(json_build_array(", columns, ") ORDER BY ", order, "), '[]')::text"]);
        }
        Token::Int => text.push_str("BIGINT"),
        Token::Bool => text.push_str("BOOLEAN"),
        Token::Text => text.push_str("TEXT COLLATE \"C\""),
        Token::Bytes => text.push_str("BYTEA"),
        Token::Uuid => text.push_str("UUID"),
        Token::Strict => {}
    });
    Cow::Owned(number(&text))
}

/// Placeholders as PostgreSQL numbers them. No statement has a question mark in a text.
fn number(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut numbered = String::with_capacity(sql.len() + 16);
    numbered.push_str(parts.next().unwrap_or_default());
    for (next, part) in (1..).zip(parts) {
        numbered.push('$');
        if !part.starts_with(|first: char| first.is_ascii_digit()) {
            numbered.push_str(&i32::to_string(&next));
        }
        numbered.push_str(part);
    }
    numbered
}

enum Token<'t> {
    Fold(&'t str),
    EachText,
    EachBlob,
    Hex(&'t str),
    Id(&'t str),
    Rows(&'t str, &'t str),
    Int,
    Bool,
    Text,
    Bytes,
    Uuid,
    Strict,
}

/// Copies `sql` to `out` with each token written by `write`, inner tokens first.
fn expand(sql: &str, columns: &str, out: &mut String, write: &mut dyn FnMut(Token<'_>, &mut String)) {
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let end = closing(after);
        let (token, following) = (&after[..end], &after[(end + 1).min(after.len())..]);
        let (name, argument) = token.split_once(' ').unwrap_or((token, ""));
        rest = following;
        if name == "columns" {
            expand(columns, "", out, write);
            continue;
        }
        let mut inner = String::new();
        expand(argument, "", &mut inner, write);
        let token = match (name, inner.as_str()) {
            ("fold", inner) => Some(Token::Fold(inner)),
            ("each", "text") => Some(Token::EachText),
            ("each", _) => Some(Token::EachBlob),
            ("hex", inner) => Some(Token::Hex(inner)),
            ("id", inner) => Some(Token::Id(inner)),
            ("int", _) => Some(Token::Int),
            ("bool", _) => Some(Token::Bool),
            ("text", _) => Some(Token::Text),
            ("bytes", _) => Some(Token::Bytes),
            ("uuid", _) => Some(Token::Uuid),
            ("strict", _) => Some(Token::Strict),
            ("rows", inner) => inner.split_once(" ORDER BY ").map(|(columns, order)| Token::Rows(columns, order)),
            _ => None,
        };
        if let Some(token) = token {
            write(token, out);
        } else {
            // Left as it is, so that the engine refuses the statement and quotes it.
            out.extend(["{", name, "}"]);
        }
    }
    out.push_str(rest);
}

/// Where the brace closes that `text` is the inside of.
fn closing(text: &str) -> usize {
    let mut depth = 0_u32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_written_in_the_words_of_the_engine() {
        for (sql, in_sqlite, in_postgres) in [
            ("DELETE FROM users", "DELETE FROM users", "DELETE FROM users"),
            ("a = ? AND b = ?", "a = ? AND b = ?", "a = $1 AND b = $2"),
            ("a = ?2 OR b = ?1", "a = ?2 OR b = ?1", "a = $2 OR b = $1"),
            (
                "SELECT {columns} FROM t WHERE {fold t.name} = {fold ?} AND x = ?",
                "SELECT id, hex(x) FROM t WHERE t.name = ? AND x = ?",
                "SELECT id, encode(x, 'hex') FROM t WHERE lower(t.name) = lower($1) AND x = $2",
            ),
            ("x IN ({each text})", "x IN (SELECT value FROM json_each(?))", "x IN (SELECT unnest($1) AS value)"),
            (
                "x IN ({each uuid})",
                "x IN (SELECT unhex(value) AS value FROM json_each(?))",
                "x IN (SELECT unnest($1) AS value)",
            ),
            (
                "{rows {id id}, name, {hex v} ORDER BY name}",
                "json_group_array(json_array(hex(id), name, hex(v)) ORDER BY name)",
                "coalesce(json_agg(json_build_array(id, name, encode(v, 'hex')) ORDER BY name), '[]')::text",
            ),
            (
                "CREATE TABLE t (a {uuid}, b {int}) {strict}",
                "CREATE TABLE t (a BLOB, b INTEGER) STRICT",
                "CREATE TABLE t (a UUID, b BIGINT) ",
            ),
        ] {
            assert_eq!(sqlite(sql, "id, {hex x}"), in_sqlite);
            assert_eq!(postgres(sql, "id, {hex x}"), in_postgres);
        }
    }

    #[test]
    fn an_unknown_token_reaches_the_engine_which_refuses_it() {
        assert_eq!(sqlite("SELECT {what is this} FROM {t", ""), "SELECT {what} FROM {t}");
    }
}
