use super::*;

#[test]
fn mappings() {
    let content = "# c\nA: plain text # comment\n\nB: \"1\\n2\"\nC: '~'\nPEM: |\n  -----BEGIN\n  x\n  -----END\nF: >-\n  a\n  b\n";
    assert_pairs(
        Format::Yaml,
        content,
        &[("A", "plain text"), ("B", "1\n2"), ("C", "~"), ("PEM", "-----BEGIN\nx\n-----END\n"), ("F", "a b")],
    );
    assert_eq!(lines(Format::Yaml, content), [2, 4, 5, 6, 10].map(Some));
    assert_eq!(lines(Format::Yaml, "{A: a,\n B: b}"), [1, 2].map(Some));
    assert_pairs(Format::Yaml, "---\nA: b\n...\n", &[("A", "b")]);
    assert_pairs(Format::Yaml, "\u{feff}A: b\r\nC: d\r\n", &[("A", "b"), ("C", "d")]);
    assert_pairs(Format::Yaml, "!!map\nA: !!str 123\n\"1\": b\n'<<': c", &[("A", "123"), ("1", "b"), ("<<", "c")]);
    assert_pairs(Format::Yaml, "A: &anchor b\nC: d", &[("A", "b"), ("C", "d")]);
}

#[test]
fn plain_scalars_that_are_strings() {
    for value in [
        "yes",
        "No",
        "on",
        "nUll",
        "tRUE",
        "0xhunter2",
        "1.2.3",
        "12:30",
        "1e",
        "e5",
        "+",
        "-x",
        "0b12",
        "0o9",
        "2024-01-01-x",
        "2024-01",
        "a_1",
        ".",
        "~x",
        "é",
        "1 2",
        ".infx",
        "https://x/#y",
    ] {
        assert_pairs(Format::Yaml, &format!("A: {value}"), &[("A", value)]);
    }
}

#[test]
fn plain_scalars_of_another_type() {
    for value in [
        "",
        "~",
        "null",
        "Null",
        "NULL",
        "true",
        "True",
        "FALSE",
        "0",
        "007",
        "-12",
        "+3",
        "1_000",
        "0x1F",
        "-0xff",
        "0o17",
        "0b101",
        "1.5",
        ".5",
        "5.",
        "1e9",
        "-1.5E-3",
        ".inf",
        "-.INF",
        ".NaN",
        "2024-01-31",
        "2024-01-31T10:00:00Z",
        "2024-1-2 10:00:00",
        "<<",
    ] {
        let expected = "value of \"A\" on line 1 must be a string; quote the value if it is numeric or boolean";
        assert_eq!(message(Format::Yaml, &format!("A: {value}")), expected, "{value:?}");
        let key = message(Format::Yaml, &format!("? {value}\n: a"));
        assert!(key.contains("key must be a string") || key.contains("merge keys"), "{value:?}: {key}");
    }
}

#[test]
fn errors() {
    const MAPPING: &str = "secrets file must be one YAML mapping whose values are strings";
    const NESTED: &str = "value of \"A\" on line 1 must be a string, not a nested mapping or sequence";
    const QUOTE: &str = "must be a string; quote the value if it is numeric or boolean";
    const KEY: &str = "line 1: key must be a string; quote the key if it is numeric or boolean";
    const ALIAS: &str = "value of \"B\" on line 2 must be a literal string; YAML aliases are not supported";
    const ONE: &str = "secrets file must hold exactly one YAML document";
    assert_errors(
        Format::Yaml,
        &[
            ("hunter2", MAPPING),
            ("- hunter2", MAPPING),
            ("\"hunter2\"", MAPPING),
            ("A:\n  B: hunter2", NESTED),
            ("A: {B: hunter2}", NESTED),
            ("A: [hunter2]", NESTED),
            ("A: &x hunter2\nB: *x", ALIAS),
            ("A: &x hunter2\n*x : b", "line 2: key must be a literal string; YAML aliases are not supported"),
            ("<<: {A: hunter2}", "line 1: merge keys are not supported"),
            ("A: 1\n", &format!("value of \"A\" on line 1 {QUOTE}")),
            ("B: x\nA: true", &format!("value of \"A\" on line 2 {QUOTE}")),
            ("A: !!int \"1\"", &format!("value of \"A\" on line 1 {QUOTE}")),
            ("A: !mine hunter2", &format!("value of \"A\" on line 1 {QUOTE}")),
            ("!mine\nA: hunter2", "line 1: tags are not supported"),
            ("true: hunter2", KEY),
            ("1: hunter2", KEY),
            ("? [a]\n: hunter2", "line 1: key must be a string"),
            ("A: 'x'\nA: hunter2", "duplicate key \"A\" on line 2"),
            ("A: x\n---\nB: hunter2", ONE),
            ("A: x\n---\nhunter2", ONE),
            ("A: x\n---\n", ONE),
            ("---\n---\nA: hunter2", ONE),
            ("A: x\nB: h\0unter2", "line 2: control characters are not allowed"),
            ("A: @hunter2", "line 1: unexpected character; quote the value"),
        ],
    );
    for malformed in ["A: \"hunter2", "A: b: hunter2", "{A: hunter2", "A: b\n hunter2: c\n", "A: *hunter2"] {
        let message = message(Format::Yaml, malformed);
        assert!(message.starts_with("line ") && !message.contains("hunter2"), "{malformed:?}: {message}");
    }
}

#[test]
fn an_alias_bomb_is_refused_where_it_stands() {
    let levels = ('b'..='z').map(|level| {
        let below = char::from(level as u8 - 1);
        format!("{level}: &{level} [*{below}, *{below}]\n")
    });
    let bomb = format!("a: &a [x, x]\n{}", levels.collect::<String>());
    assert!(message(Format::Yaml, &bomb).starts_with("value of \"a\" on line 1"));
}
