//! SPDX license expressions, as `Cargo.toml` has them.

/// Whether the expression can be met with licenses that `is_allowed`. `A/B` is how crates wrote `A OR B` once.
pub fn allows(expression: &str, is_allowed: impl Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = alternatives(&mut rest, &is_allowed);
    met && rest.is_empty()
}

/// `OR` binds loosest.
fn alternatives(rest: &mut &[&str], is_allowed: &impl Fn(&str) -> bool) -> bool {
    let mut met = all(rest, is_allowed);
    while take(rest, "OR") {
        met |= all(rest, is_allowed);
    }
    met
}

fn all(rest: &mut &[&str], is_allowed: &impl Fn(&str) -> bool) -> bool {
    let mut met = one(rest, is_allowed);
    while take(rest, "AND") {
        met &= one(rest, is_allowed);
    }
    met
}

fn one(rest: &mut &[&str], is_allowed: &impl Fn(&str) -> bool) -> bool {
    if take(rest, "(") {
        return alternatives(rest, is_allowed) & take(rest, ")");
    }
    let Some((license, after)) = rest.split_first() else { return false };
    *rest = after;
    if take(rest, "WITH") {
        // An exception gives more rights, and counts as the license with its name.
        let Some((exception, after)) = rest.split_first() else { return false };
        *rest = after;
        return is_allowed(&format!("{license} WITH {exception}"));
    }
    is_allowed(license)
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    let is_next = rest.first() == Some(&word);
    if is_next {
        *rest = &rest[1..];
    }
    is_next
}

#[test]
fn expressions() {
    let allowed = |license: &str| ["MIT", "ISC", "Unicode-3.0"].contains(&license);
    for (expression, is_met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("", false),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(GPL-3.0 OR Apache-2.0) AND Unicode-3.0", false),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("MIT AND GPL-3.0 OR Apache-2.0", false),
        ("MIT WITH LLVM-exception", false),
        ("(MIT", false),
        ("MIT OR", true),
        ("MIT ISC", false),
    ] {
        assert_eq!(allows(expression, allowed), is_met, "{expression}");
    }
}
