mod env;
mod json;
mod yaml;

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
