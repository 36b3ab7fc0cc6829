use proptest::prelude::*;

use super::*;

type Row<'a> = (&'a str, &'a str);

fn pairs(format: Format, content: &str) -> Vec<(String, String)> {
    let entries = parse(format, content).unwrap_or_else(|error| panic!("{content:?}: {error}"));
    entries.into_iter().map(|entry| (entry.key, entry.value.expose_str().unwrap().to_owned())).collect()
}

fn assert_pairs(format: Format, content: &str, expected: &[Row<'_>]) {
    let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(pairs(format, content), expected, "{content:?}");
}

fn message(format: Format, content: &str) -> String {
    match parse(format, content) {
        Ok(entries) => panic!("{content:?} gave {entries:?}"),
        Err(error) => error.to_string(),
    }
}

fn assert_errors(format: Format, table: &[(&str, &str)]) {
    for (content, expected) in table {
        let message = message(format, content);
        assert_eq!(&message, expected, "{content:?}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

fn lines(format: Format, content: &str) -> Vec<Option<usize>> {
    parse(format, content).unwrap().into_iter().map(|entry| entry.line).collect()
}

#[test]
fn env_lines() {
    const LINES: [(&str, Row<'_>); 30] = [
        ("A=b", ("A", "b")),
        ("  A  =  b  ", ("A", "b")),
        ("\tA=b\t", ("A", "b")),
        ("export A=b", ("A", "b")),
        ("export\tA=b", ("A", "b")),
        ("  export   A=b", ("A", "b")),
        ("export=foo", ("export", "foo")),
        ("export =foo", ("export", "foo")),
        ("exported=foo", ("exported", "foo")),
        ("A=b=c=", ("A", "b=c=")),
        ("A=b#c", ("A", "b#c")),
        ("A=b # c", ("A", "b # c")),
        ("A=$HOME/${x}", ("A", "$HOME/${x}")),
        ("A=", ("A", "")),
        ("A=\"\"", ("A", "")),
        ("A=''", ("A", "")),
        ("A=' b '", ("A", " b ")),
        ("A=\" b \"", ("A", " b ")),
        ("A=  \"b\"  ", ("A", "b")),
        (r#"A="a\nb""#, ("A", "a\nb")),
        (r#"A="a\tb""#, ("A", "a\tb")),
        (r#"A="a\rb""#, ("A", "a\rb")),
        (r#"A="a\\b""#, ("A", r"a\b")),
        (r#"A="a\"b""#, ("A", "a\"b")),
        (r#"A="a\xb\$""#, ("A", r"a\xb\$")),
        (r"A='a\nb'", ("A", r"a\nb")),
        (r"A=a\nb", ("A", r"a\nb")),
        ("A='\"b\"'", ("A", "\"b\"")),
        ("A=b\"c\"", ("A", "b\"c\"")),
        ("ключ=значение", ("ключ", "значение")),
    ];
    for (line, expected) in LINES {
        assert_pairs(Format::Env, line, &[expected]);
    }
    assert_pairs(Format::Env, "# c\n\n  # A=b\n\t\nB=1\n#\nC=2\n", &[("B", "1"), ("C", "2")]);
}

#[test]
fn env_crlf_and_byte_order_mark() {
    let content = "\u{feff}A=b\r\n\r\n# c\r\nC=\"d\"\r\n";
    assert_pairs(Format::Env, content, &[("A", "b"), ("C", "d")]);
    assert_eq!(lines(Format::Env, content), [Some(1), Some(4)]);
}

#[test]
fn env_errors() {
    const OPEN: &str = "line 1: missing closing double quote";
    const AFTER: &str = "line 1: unexpected text after the closing double quote";
    const AFTER_SINGLE: &str = "line 1: unexpected text after the closing single quote";
    assert_errors(
        Format::Env,
        &[
            ("hunter2", "line 1: expected KEY=VALUE but found no '='"),
            ("export A", "line 1: expected KEY=VALUE but found no '='"),
            ("=hunter2", "line 1: missing key before '='"),
            ("A=\"hunter2", OPEN),
            ("A=\"hunter2\\\"", OPEN),
            ("A=\"hunter2\\", OPEN),
            ("A=\"", OPEN),
            ("A=\"a\" # comment", AFTER),
            ("A=\"hun\"ter2\"", AFTER),
            ("A=\"a\" B=\"b\"", AFTER),
            ("A=\"a\"hunter2", AFTER),
            ("A=\"a\"\"b\"", AFTER),
            ("A='hunter2", "line 1: missing closing single quote"),
            ("A='", "line 1: missing closing single quote"),
            ("A='a' # comment", AFTER_SINGLE),
            ("A='a'b'", AFTER_SINGLE),
            ("A=1\n\n# c\nB=2\nhunter2", "line 5: expected KEY=VALUE but found no '='"),
            ("A=1\nB=2\nA=hunter2", "duplicate key \"A\" on line 3"),
        ],
    );
}

#[test]
fn json_objects() {
    let content = r#" {"Z": "1", "a": "x\n\"\u00e9\ud83d\ude00", "M": ""} "#;
    assert_pairs(Format::Json, content, &[("Z", "1"), ("a", "x\n\"é😀"), ("M", "")]);
    assert_eq!(lines(Format::Json, content), [None, None, None]);
}

#[test]
fn json_errors() {
    const OBJECT: &str = "secrets file must be one JSON object whose values are strings";
    const STRING: &str = "value of \"A\" must be a string";
    assert_errors(
        Format::Json,
        &[
            ("{\"A\": \"hunter2", "line 1: EOF while parsing a string at column 14"),
            ("{\"A\": hunter2}", "line 1: expected value at column 7"),
            ("{\"A\": \"x\",\n\"B\" \"hunter2\"}", "line 2: expected `:` at column 5"),
            ("[\"hunter2\"]", OBJECT),
            ("\"hunter2\"", OBJECT),
            ("1234", OBJECT),
            ("null", OBJECT),
            ("{\"A\": 1}", STRING),
            ("{\"A\": -1}", STRING),
            ("{\"A\": 1.5}", STRING),
            ("{\"A\": true}", STRING),
            ("{\"A\": null}", STRING),
            ("{\"A\": {\"hunter2\": \"hunter2\"}}", STRING),
            ("{\"A\": [\"hunter2\"]}", STRING),
            ("{\"A\": \"1\", \"A\": \"hunter2\"}", "duplicate key \"A\""),
            ("{\"A\": \"1\", \"\\u0041\": \"hunter2\"}", "duplicate key \"A\""),
            ("{\"A\": \"1\"} hunter2", "line 1: trailing characters at column 12"),
            ("{\"A\": \"1\"} {\"B\": \"2\"}", "line 1: trailing characters at column 12"),
            ("{1: \"hunter2\"}", "line 1: key must be a string at column 2"),
        ],
    );
}

#[test]
fn yaml_mappings() {
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
fn yaml_plain_scalars_that_are_strings() {
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
fn yaml_plain_scalars_of_another_type() {
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
fn yaml_errors() {
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

#[test]
fn deep_and_long_files_are_bounded_work() {
    const PIECES: [&str; 24] = [
        "[", "{", "? ", "- ", "&a ", "{a: ", "!!map ", "\n", "\"a\": ", "a: |\n ", "--- ", "%", "*a ", "!<", "'", "\"",
        "#", ":", "? a\n", "- ? ", "a,", "a ", "\\", "a=\"",
    ];
    let start = std::time::Instant::now();
    for (piece, format) in PIECES.into_iter().flat_map(|p| [Format::Env, Format::Json, Format::Yaml].map(|f| (p, f))) {
        let content = piece.repeat(MAX_FILE_BYTES / piece.len());
        if let Ok(entries) = parse(format, &content) {
            assert!(entries.len() <= rules::MAX_SECRETS, "{format} {piece:?}");
        }
    }
    // 72 MiB take a second or two; work that grows with the square of a file's length would take hours.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn sizes_and_counts() {
    let filled = |bytes: usize| format!("A={}", "x".repeat(bytes - 2));
    assert_eq!(parse(Format::Env, &filled(MAX_FILE_BYTES)).unwrap().len(), 1);
    let expected = "secrets file exceeds the maximum allowed size of 1048576 bytes";
    for format in [Format::Env, Format::Json, Format::Yaml] {
        assert_eq!(message(format, &filled(MAX_FILE_BYTES + 1)), expected);
    }
    for (format, separator) in [(Format::Env, "="), (Format::Yaml, ": ")] {
        let many = |count| (0..count).map(|n| format!("K{n}{separator}v\n")).collect::<Vec<_>>().concat();
        assert_eq!(parse(format, &many(50)).unwrap().len(), 50);
        assert_eq!(message(format, &many(51)), "secrets file holds more than 50 secrets");
    }
    let json = |count| format!("{{{}}}", (0..count).map(|n| format!("\"K{n}\":\"v\"")).collect::<Vec<_>>().join(","));
    assert_eq!(parse(Format::Json, &json(50)).unwrap().len(), 50);
    assert_eq!(message(Format::Json, &json(51)), "secrets file holds more than 50 secrets");
}

#[test]
fn a_file_without_secrets() {
    for (format, content) in [
        (Format::Env, ""),
        (Format::Env, " \n\t\r\n"),
        (Format::Env, "# a\n  # b=c\n"),
        (Format::Json, ""),
        (Format::Json, " \n"),
        (Format::Json, "{}"),
        (Format::Yaml, ""),
        (Format::Yaml, "# a\n"),
        (Format::Yaml, "{}"),
        (Format::Yaml, "---\n"),
        (Format::Yaml, "\u{feff}"),
    ] {
        assert_eq!(parse(format, content).unwrap_err(), ParseError::Empty, "{format} {content:?}");
    }
}

#[test]
fn formats() {
    assert_eq!("YAML".parse(), Ok(Format::Yaml));
    assert_eq!("".parse::<Format>().unwrap_err().to_string(), "a secrets file format is required");
    assert_eq!("toml".parse::<Format>().unwrap_err().to_string(), "unknown secrets file format");
    for format in [Format::Env, Format::Json, Format::Yaml] {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
}

#[test]
fn a_key_is_the_environment_variable_where_it_may_be_one() {
    for (format, content) in [
        (Format::Env, "PATH=x\nMY-KEY=x\nGOOD=x"),
        (Format::Json, r#"{"PATH":"x","MY-KEY":"x","GOOD":"x"}"#),
        (Format::Yaml, "PATH: x\nMY-KEY: x\nGOOD: x"),
    ] {
        let requests: Vec<_> = parse(format, content).unwrap().into_iter().map(Entry::into_request).collect();
        let names: Vec<_> = requests.iter().map(|r| (r.name.as_str(), r.env_name.as_str(), r.enabled)).collect();
        assert_eq!(names, [("PATH", "", None), ("MY-KEY", "", None), ("GOOD", "GOOD", None)]);
    }
}

#[test]
fn every_fault_of_every_entry_is_told_with_its_place() {
    let entries = parse(Format::Env, "ALPHA=1\n\nBETA=\na/b=\n").unwrap();
    let problems = check(&entries);
    let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "secret 2 (\"BETA\") value: Value is required.",
            "secret 3 (\"a/b\") name: Name must not contain /, ?, or #.",
            "secret 3 (\"a/b\") value: Value is required.",
        ]
    );
    assert_eq!(problems[0].request_field(), "secrets[1].value");
    assert_eq!(problems[0].located_detail(), "Secret \"BETA\" on line 3: Value is required.");
    let json = check(&parse(Format::Json, r#"{"BETA":""}"#).unwrap());
    assert_eq!(json[0].located_detail(), "Secret \"BETA\": Value is required.");
}

#[test]
fn a_message_cuts_a_long_key() {
    let key = "é".repeat(500);
    let problems = check(&parse(Format::Env, &format!("{key}=")).unwrap());
    assert_eq!(problems[0].located_detail(), format!("Secret \"{}...\" on line 1: Value is required.", "é".repeat(64)));
    assert!(message(Format::Env, &format!("{key}=\n{key}=")).len() < 300);
    assert_eq!(Shown(&"x".repeat(64)).to_string(), format!("\"{}\"", "x".repeat(64)));
    assert_eq!(Shown("a\n\"\u{1b}").to_string(), r#""a\n\"\u{1b}""#);
}

fn any_format() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Env), Just(Format::Json), Just(Format::Yaml)]
}

proptest! {
    #[test]
    fn any_text_is_an_answer_within_the_limits(format in any_format(), content in "(?s).{0,200}|[-a1:{}\\[\\]\"'|>&*!#%@=,~ \t\r\n\\\\]{0,80}") {
        if let Ok(entries) = parse(format, &content) {
            prop_assert!((1..=rules::MAX_SECRETS).contains(&entries.len()));
            let mut keys: Vec<_> = entries.iter().map(|entry| &entry.key).collect();
            keys.sort();
            keys.dedup();
            prop_assert_eq!(keys.len(), entries.len());
            prop_assert!(entries.iter().all(|entry| entry.line.is_none() == (format == Format::Json)));
        }
    }

    #[test]
    fn json_gives_back_any_strings(pairs in prop::collection::btree_map(".*", ".*", 1..20)) {
        let content = serde_json::to_string(&pairs).unwrap();
        let expected: Vec<_> = pairs.into_iter().collect();
        prop_assert_eq!(super::tests::pairs(Format::Json, &content), expected.clone());
    }

    #[test]
    fn yaml_gives_back_json_strings(key in "[A-Za-z_]{1,9}", value in "[ -~\\p{L}\n\t]{0,60}") {
        let content = format!("{key:?}: {}", serde_json::to_string(&value).unwrap());
        prop_assert_eq!(pairs(Format::Yaml, &content), vec![(key, value)]);
    }

    #[test]
    fn env_gives_back_double_quoted_text(value in "(?s).{0,80}") {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
        prop_assert_eq!(pairs(Format::Env, &format!("A=\"{quoted}\"")), vec![("A".to_owned(), value)]);
    }

    #[test]
    fn no_message_holds_a_value(format in any_format(), before in "[-a1:{}\\[\\]\"'|>&*!#%@=,~ \n]{0,12}", after in "[-a1:{}\\[\\]\"'|>&*!#%@=,~ \n]{0,12}") {
        // The marker stands where a value stands: after the separator of each format.
        let content = format!("A={before}\nB: {before}\n{{\"k\": {before}hunter2{after}");
        if let Err(error) = parse(format, &content) {
            prop_assert!(!error.to_string().contains("hunter2"), "{}", error);
        }
    }
}
