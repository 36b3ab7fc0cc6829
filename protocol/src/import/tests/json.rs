use super::*;

#[test]
fn objects() {
    let content = r#" {"Z": "1", "a": "x\n\"\u00e9\ud83d\ude00", "M": ""} "#;
    assert_pairs(Format::Json, content, &[("Z", "1"), ("a", "x\n\"é😀"), ("M", "")]);
    assert_eq!(lines(Format::Json, content), [None, None, None]);
}

#[test]
fn errors() {
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
