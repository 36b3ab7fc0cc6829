use super::*;

#[test]
fn lines_and_quotes() {
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
fn crlf_and_byte_order_mark() {
    let content = "\u{feff}A=b\r\n\r\n# c\r\nC=\"d\"\r\n";
    assert_pairs(Format::Env, content, &[("A", "b"), ("C", "d")]);
    assert_eq!(lines(Format::Env, content), [Some(1), Some(4)]);
}

#[test]
fn errors() {
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
fn doubtful_lines_are_named_without_their_value() {
    let said = |line: &str| {
        let content = format!("# A=x # y\n\n{line}\n");
        let said: Vec<_> = doubts(Format::Env, &content).iter().map(ToString::to_string).collect();
        assert!(said.iter().all(|text| text.starts_with("line 3 (\"A\"): ") && !text.contains("hunter2")), "{said:?}");
        said.join("").split(": ").nth(1).unwrap_or_default().split(' ').take(3).collect::<Vec<_>>().join(" ")
    };
    for (line, expected) in [
        ("A=hunter2 # rotate in May", "the text from"),
        ("export A=hunter2\t# x\r", "the text from"),
        ("A=#hunter2", "the text from"),
        ("A=${HUNTER}hunter2", "$ is stored"),
        ("A=\"$(hunter2)\"", "$ is stored"),
        (r"A=-----BEGIN\nhunter2", r"\n is stored"),
        ("A=\u{201c}hunter2\u{201d}", "typographic quotes are"),
        ("A=hunter2#x", ""),
        ("A=pa$$w0rd$x", ""),
        ("A='${x} # y'", ""),
        ("A=\"x # y\"", ""),
        (r#"A="x\ny""#, ""),
        ("A=hunter2", ""),
    ] {
        assert_eq!(said(line), expected, "{line}");
    }
    assert_eq!(doubts(Format::Yaml, "A: x=1 # y"), []);
}
