//! The hunt for values: every secret a test makes is known here, and nothing but its owner's files may hold it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use aho_corasick::AhoCorasick;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// A value shorter than this is not looked for: it would be found by chance.
const SHORTEST: usize = 8;
/// Of a longer value both ends are looked for: the automaton is built for every text, and grows with the values.
const LONGEST: usize = 256;

/// The values that must not be seen.
#[derive(Default)]
pub struct Canaries(Mutex<Vec<Canary>>);

struct Canary {
    label: String,
    value: Vec<u8>,
}

/// A value where none may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The file, or what else was searched.
    pub place: String,
    /// Whose value, in the words of [`Canaries::watch`].
    pub label: String,
    /// `raw`, `hex`, `base64` …
    pub form: &'static str,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the value of {} ({})", self.place, self.label, self.form)
    }
}

impl Canaries {
    /// A new value nobody else has, recognisable by eye.
    pub fn mint(&self, label: &str) -> String {
        let value = format!("canary-{label}-{}", uuid::Uuid::new_v4().simple());
        self.watch(label, value.as_bytes());
        value
    }

    /// Looks for `value` from now on.
    pub fn watch(&self, label: &str, value: &[u8]) {
        self.0.lock().unwrap().push(Canary { label: label.to_owned(), value: value.to_vec() });
    }

    /// Searches one text.
    pub fn find(&self, place: &str, text: &[u8]) -> Vec<Leak> {
        Hunter::new(self).find(place, text)
    }

    /// Searches the names and contents of all files below `root`, but not the contents below `homes`: a home belongs to
    /// the owner of the secrets. The agent's own state inside a home is searched.
    pub fn find_in_files(&self, root: &Path, homes: &[PathBuf]) -> Vec<Leak> {
        let hunter = Hunter::new(self);
        let mut leaks = Vec::new();
        hunter.walk(root, &|path| !homes.iter().any(|home| path.starts_with(home)), &mut leaks);
        for state in homes.iter().map(|home| home.join(".local/state")) {
            hunter.walk(&state, &|_| true, &mut leaks);
        }
        leaks
    }

    /// Searches the command lines of every process.
    pub fn find_in_command_lines(&self) -> Vec<Leak> {
        let hunter = Hunter::new(self);
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .map(|process| process.path().join("cmdline"))
            .filter_map(|path| Some((path.display().to_string(), fs::read(&path).ok()?)))
            .flat_map(|(place, line)| hunter.find(&place, &line))
            .collect()
    }
}

struct Hunter {
    patterns: Option<AhoCorasick>,
    meanings: Vec<(String, &'static str)>,
}

impl Hunter {
    fn new(canaries: &Canaries) -> Self {
        let mut forms = BTreeMap::new();
        for canary in canaries.0.lock().unwrap().iter() {
            // One line of a key file in a log is as bad as all of them.
            let lines = canary.value.split(|byte| *byte == b'\n');
            for piece in std::iter::once(&canary.value[..]).chain(lines).filter(|piece| piece.len() >= SHORTEST) {
                for (form, pattern) in ends(piece).into_iter().flat_map(forms_of) {
                    forms.entry(pattern).or_insert_with(|| (canary.label.clone(), form));
                }
            }
        }
        let patterns = (!forms.is_empty()).then(|| AhoCorasick::new(forms.keys()).expect("build the patterns"));
        Self { patterns, meanings: forms.into_values().collect() }
    }

    fn find(&self, place: &str, text: &[u8]) -> Vec<Leak> {
        let matches = self.patterns.iter().flat_map(|patterns| patterns.find_iter(text));
        let mut leaks: Vec<Leak> = Vec::new();
        for (label, form) in matches.map(|found| &self.meanings[found.pattern().as_usize()]) {
            let leak = Leak { place: place.to_owned(), label: label.clone(), form };
            if !leaks.contains(&leak) {
                leaks.push(leak);
            }
        }
        leaks
    }

    fn walk(&self, path: &Path, searched: &dyn Fn(&Path) -> bool, leaks: &mut Vec<Leak>) {
        let Ok(kind) = fs::symlink_metadata(path).map(|metadata| metadata.file_type()) else { return };
        if let Some(name) = path.file_name() {
            leaks.extend(self.find(&format!("name of {}", path.display()), name.as_encoded_bytes()));
        }
        if kind.is_dir() {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                self.walk(&entry.path(), searched, leaks);
            }
        } else if kind.is_file() && searched(path) {
            let content = fs::read(path).unwrap_or_default();
            leaks.extend(self.find(&path.display().to_string(), &content));
        }
    }
}

fn ends(value: &[u8]) -> [&[u8]; 2] {
    if value.len() <= LONGEST { [value, value] } else { [&value[..LONGEST], &value[value.len() - LONGEST..]] }
}

fn forms_of(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex = hex::encode(value);
    let mut forms = vec![
        ("raw", value.to_vec()),
        ("hex", hex.to_uppercase().into_bytes()),
        ("hex", hex.into_bytes()),
        ("url", percent_encoded(value).into_bytes()),
        ("debug", value.escape_ascii().to_string().into_bytes()),
    ];
    if let Ok(json) = serde_json::to_string(&String::from_utf8_lossy(value)) {
        forms.push(("json", json.as_bytes()[1..json.len() - 1].to_vec()));
    }
    for alignment in 0..3 {
        for engine in [STANDARD, URL_SAFE] {
            forms.push(("base64", base64_core(&engine, alignment, value)));
        }
    }
    forms
}

/// The characters of `value` in base64 that do not depend on what stands before and after it, when it starts at a byte
/// whose index leaves `alignment` on division by three.
fn base64_core(engine: &impl base64::Engine, alignment: usize, value: &[u8]) -> Vec<u8> {
    let padded = [&[0; 2][..alignment], value].concat();
    let encoded = engine.encode(&padded);
    encoded.as_bytes()[(alignment * 8).div_ceil(6)..padded.len() * 8 / 6].to_vec()
}

fn percent_encoded(value: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    value.iter().map(|byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn every_form_is_found_whatever_surrounds_it() {
        let canaries = Canaries::default();
        canaries.watch("key", b"s3cr3t \"quoted\" value?");
        let value = "s3cr3t \"quoted\" value?";
        for before in ["", "x", "xy", "xyz"] {
            let text = format!("{before}{value}tail");
            for (form, text) in [
                ("raw", text.clone()),
                ("hex", hex::encode(&text)),
                ("hex", hex::encode(&text).to_uppercase()),
                ("base64", STANDARD.encode(&text)),
                ("base64", URL_SAFE.encode(&text)),
                ("url", percent_encoded(text.as_bytes())),
            ] {
                let leaks = canaries.find("here", text.as_bytes());
                assert!(leaks.iter().any(|leak| leak.form == form), "{form} after {before:?}: {leaks:?}");
            }
        }
        let json = serde_json::json!({ "a": value }).to_string();
        assert!(!canaries.find("here", json.as_bytes()).is_empty());
    }

    #[test]
    fn one_line_of_many_is_found() {
        let canaries = Canaries::default();
        canaries.watch("pem", b"-----BEGIN KEY-----\nMIIEvQIBADAN\nend");
        assert_eq!(canaries.find("log", b"INFO MIIEvQIBADAN").len(), 1);
    }

    #[test]
    fn homes_keep_their_contents_but_not_names_or_state() {
        let canaries = Canaries::default();
        let value = canaries.mint("home");
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        fs::create_dir_all(home.join(".local/state/coder-agent")).unwrap();
        fs::write(home.join("token"), &value).unwrap();
        let homes = [home.clone()];
        assert_eq!(canaries.find_in_files(root.path(), &homes), []);
        fs::write(home.join(".local/state/coder-agent/ledger"), &value).unwrap();
        fs::write(home.join(&value), "").unwrap();
        fs::write(root.path().join("log"), &value).unwrap();
        let mut places: Vec<_> =
            canaries.find_in_files(root.path(), &homes).into_iter().map(|leak| leak.place).collect();
        places.sort();
        assert_eq!(places.len(), 3, "{places:?}");
    }

    #[test]
    fn ordinary_text_is_no_leak() {
        let canaries = Canaries::default();
        canaries.mint("a");
        canaries.watch("short", b"abc");
        assert_eq!(canaries.find("log", b"canary- abc abc 00112233"), []);
    }
}
