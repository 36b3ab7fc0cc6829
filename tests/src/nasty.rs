//! Values that careless quoting changes, cuts or lets loose, and what a process saw of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::server::User;

/// Variables and their values, each line long or odd enough not to be found in a log by chance. All together are below the
/// cap of one user, without [`largest`].
pub const NASTY: [(&str, &str); 20] = [
    ("MULTILINE", "-----BEGIN KEY-----\nMIIEvQIBADANnasty\n-----END KEY-----\n"),
    ("NEWLINES_AROUND", "\n\n nasty lines between \n\n\n"),
    ("CARRIAGE_RETURNS", "a line of DOS\r\nand one of a Mac\rthe end\r"),
    ("QUOTES", "it's \"quoted\" `twice` \\' and \\\" ''\"\" 'end"),
    ("HASH", "before # after #; and && more | done # <&3 >out"),
    ("DOLLAR", "$HOME ${HOME} $(id -u) `id -u` $$ !! $'x' %s %h %% $"),
    ("BACKSLASH", "C:\\new\\table\\\\ \\$x \\\n continued\\0\\x41\\"),
    ("TRAILING_BACKSLASH", "C:\\ends with\\"),
    ("UNICODE", "grüße, 日本語, 🔑 \u{202e}tfel \u{feff}\u{a0}\u{2028}"),
    ("SPACES", "  leading and trailing \t\n\n"),
    ("CONTROLS", "bell \u{7} escape \u{1b}[31m rubout \u{7f} one \u{1} feed \u{b}\u{c}"),
    ("EQUALS", "=nasty=first=and last=="),
    ("GLOB", "* ? [a-z] ~ ~root/x {one,two} {{ .Values }} %{x}"),
    ("OPTION", "-n --help -- and nothing else"),
    ("HERE_DOCUMENT", "text\nEOF\n'EOF'\nmore nasty text\n"),
    ("FUNCTION", "() { :; }; echo nasty-function"),
    ("LIKE_A_LINE", "LD_PRELOAD=/nasty/line.so"),
    ("INJECTION", "harmless\nLD_PRELOAD=/nasty/evil.so\nexport EVIL=1; false\nPATH=/nasty/bin\n"),
    ("SHELL_INJECTION", "'; export EVIL=1; '\"; export EVIL=2; \"\n)}; export EVIL=3; #"),
    ("YAML", "- {a: [b, 'c']} # no\n  : &x *x !!y |\n---\n"),
];

/// What the workspace says of itself in each of its processes.
const OF_THE_WORKSPACE: &str = "CODER CODER_WORKSPACE_NAME CODER_WORKSPACE_AGENT_NAME CODER_WORKSPACE_OWNER_NAME \
     CODER_WORKSPACE_ID CODER_LAUNCH CS_DISABLE_GETTING_STARTED_OVERRIDE GIT_SSH_COMMAND";

/// A value of the largest size there may be, whose lines are numbered so that none is missed. It takes all that a user
/// may have in variables.
pub fn largest() -> String {
    let lines: Vec<_> = (0..1536).map(|line| format!("{line:04} '\"`\\$PWD #\n")).collect();
    lines.concat()
}

/// Makes a secret of each of [`NASTY`].
#[track_caller]
pub fn store(user: &User) {
    for (name, value) in NASTY {
        user.secret_with(&name.to_lowercase(), value, &["--env", name]);
    }
}

/// Makes a secret `LARGEST` of [`largest`]. It is not looked for in logs: so many lines would take minutes.
#[track_caller]
pub fn store_largest(user: &User) {
    let create = user.coder(["secret", "create", "largest", "--env", "LARGEST"]);
    let _ = create.stdin(largest()).run().success();
}

/// The variables of a process, byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen(BTreeMap<String, Vec<u8>>);

impl Seen {
    /// What `/proc/PID/environ` holds or `env -0` prints. A name that comes twice is a failure.
    #[track_caller]
    pub fn parse(block: &[u8]) -> Self {
        let mut variables = BTreeMap::new();
        for pair in block.split(|byte| *byte == 0).filter(|pair| !pair.is_empty()) {
            let text = String::from_utf8_lossy(pair);
            let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or_else(|| panic!("no NAME=value: {text}"));
            let name = String::from_utf8_lossy(&pair[..equals]).into_owned();
            let twice = variables.insert(name, pair[equals + 1..].to_vec());
            assert_eq!(twice, None, "comes twice: {text}");
        }
        assert!(!variables.is_empty(), "an empty environment");
        Self(variables)
    }

    /// The same from a file.
    #[track_caller]
    pub fn read(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        Self::parse(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// The value of one variable, for messages and for values that are text.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// All names, with spaces between them.
    pub fn names(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Panics unless `values` are there byte for byte, and beside them nothing but what the workspace says of itself and
    /// the names in `surroundings` (with spaces between them). `way` says where it was seen.
    #[track_caller]
    pub fn is_exactly<V: AsRef<str>>(&self, way: &str, values: &[(&str, V)], surroundings: &str) {
        for (name, value) in values {
            let seen = self.0.get(*name).map(Vec::as_slice);
            let same = seen == Some(value.as_ref().as_bytes());
            assert!(same, "{name} in {way} is {:?}", seen.map(|seen| seen.escape_ascii().to_string()));
        }
        let is_expected = |name: &str| {
            let mut known = OF_THE_WORKSPACE.split_whitespace().chain(surroundings.split_whitespace());
            values.iter().any(|(expected, _)| *expected == name) || known.any(|known| known == name)
        };
        let extra: Vec<_> = self.0.keys().filter(|name| !is_expected(name)).collect();
        assert!(extra.is_empty(), "in {way} there is also {extra:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fit_into_what_one_user_may_have() {
        assert_eq!(largest().len(), 24_576);
        assert!(NASTY.iter().map(|(_, value)| value.len()).sum::<usize>() < 24_576);
    }

    #[test]
    #[should_panic(expected = "A in here is Some(\"1\")")]
    fn a_changed_value_is_a_failure() {
        Seen::parse(b"A=1\0B=2").is_exactly("here", &[("A", "1\n")], "B");
    }

    #[test]
    #[should_panic(expected = "in here there is also [\"EVIL\"]")]
    fn one_more_is_a_failure() {
        Seen::parse(b"A=1\0EVIL=1\0PATH=x\0").is_exactly("here", &[("A", "1")], "HOME PATH");
    }

    #[test]
    #[should_panic(expected = "comes twice: A=2")]
    fn the_same_name_twice_is_a_failure() {
        Seen::parse(b"A=1\0A=2\0");
    }
}
