//! The value of a variable in a definition: a text, or a text with a mark.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

use super::field::MAX_ENV_NAME_BYTES;
use crate::secret::Secret;

/// Longest value of a variable. The kernel refuses `NAME=value` above 128 KiB with its final NUL, so no process could get a longer one.
const MAX_BYTES: usize = 128 * 1024 - MAX_ENV_NAME_BYTES - 2;

/// The value of a template's variable. Some templates put tokens here, so the value is held and stored like a secret.
#[derive(Debug)]
pub struct EnvText(Secret);

impl EnvText {
    /// The text.
    #[must_use]
    pub fn value(&self) -> &Secret {
        &self.0
    }

    fn new(text: String) -> Result<Self, String> {
        let value = Secret::from(text);
        if value.expose().contains(&0) {
            return Err("the value of a variable must not contain null bytes".into());
        }
        if value.len() > MAX_BYTES {
            return Err(format!("the value of a variable must not exceed {MAX_BYTES} bytes"));
        }
        Ok(Self(value))
    }
}

impl<'de> Deserialize<'de> for EnvText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As text, which every YAML scalar is: a port or a flag needs no quotes.
        Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// What `env` of an agent says of a variable: its text, or `{ value: …, sensitive: true }`.
#[derive(Debug)]
pub struct EnvValue {
    text: EnvText,
    sensitive: Option<bool>,
    /// Where the file spells a value that YAML takes for a number or a boolean, until [`EnvValue::spell`] has read it.
    spelling: Option<Location>,
}

impl EnvValue {
    /// The text.
    #[must_use]
    pub fn value(&self) -> &Secret {
        self.text.value()
    }

    /// Whether it is a secret; none where the definition does not say.
    #[must_use]
    pub fn sensitive(&self) -> Option<bool> {
        self.sensitive
    }

    /// Takes a number or a boolean from the file as it is spelled there: `08080` is a text of five characters. Fails with the line.
    pub(super) fn spell(&mut self, file: &str) -> Result<(), (u64, String)> {
        let Some(location) = self.spelling.take() else { return Ok(()) };
        let span = location.span();
        let bytes = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
        let spelled = bytes(span.byte_offset()).zip(bytes(span.byte_len()));
        let text = spelled.and_then(|(at, length)| file.get(at..at.checked_add(length)?)).map(str::trim);
        let text = text.filter(|text| !text.is_empty()).ok_or("put the value into quotes".to_owned());
        self.text = text.and_then(|text| EnvText::new(text.to_owned())).map_err(|detail| (location.line(), detail))?;
        Ok(())
    }
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Spanned::<Written>::deserialize(deserializer)?;
        let (text, sensitive, spelling) = match written.value {
            Written::Text(text) => (text, None, None),
            Written::Typed => (EnvText(Secret::new(Vec::new())), None, Some(written.defined)),
            Written::Marked(text, sensitive) => (text, sensitive, None),
        };
        Ok(Self { text, sensitive, spelling })
    }
}

/// What stands in the place of a value.
enum Written {
    Text(EnvText),
    /// A plain scalar that YAML gives another type. Its spelling is lost to the reader, which must not choose a type before it knows
    /// whether there is a scalar or a mapping.
    Typed,
    Marked(EnvText, Option<bool>),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a mapping of value and sensitive")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Written, E> {
        Ok(Written::Typed)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Written, E> {
        Ok(Written::Typed)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Written, E> {
        Ok(Written::Typed)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Written, E> {
        Ok(Written::Typed)
    }

    fn visit_unit<E: Error>(self) -> Result<Written, E> {
        Err(E::custom("a variable needs a value; write \"\" for an empty one"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Written, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Written, E> {
        EnvText::new(text).map(Written::Text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let (mut value, mut sensitive) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "value" => value = Some(map.next_value()?),
                "sensitive" => sensitive = Some(map.next_value()?),
                // Not quoted: whoever writes {TOKEN} without quotes has a mapping whose key is a token.
                _ => {
                    return Err(A::Error::custom(
                        "a variable has only `value` and `sensitive`; a text with braces needs quotes",
                    ));
                }
            }
        }
        let value = value.ok_or_else(|| A::Error::missing_field("value"))?;
        Ok(Written::Marked(value, sensitive))
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::{Fault, parse};
    use super::*;

    /// Value and mark of the variable `A` of an agent.
    fn read(value: &str) -> Result<(String, Option<bool>), Fault> {
        let text = format!("# ü\r\nowner: alice\nname: dev\nagent:\n  name: main\n  env:\n    A: {value}\n    B: *x\n");
        let text = text.replace("    B: *x\n", if value.contains("&x") { "    B: *x\n" } else { "" });
        let workspace = parse(&text)?.remove(0);
        let env = &workspace.agents()[0].env;
        let found: Vec<_> =
            env.values().map(|it| (it.value().expose_str().unwrap().to_owned(), it.sensitive())).collect();
        assert!(found.iter().all(|it| *it == found[0]), "{found:?}");
        Ok(found[0].clone())
    }

    #[test]
    fn what_yaml_takes_for_a_number_or_a_boolean_keeps_its_spelling() {
        for text in [
            "08080",
            "8080",
            "+1",
            "-0",
            "1_000",
            "0x1F",
            "0o17",
            "1.50",
            "1e3",
            ".5",
            "1e999",
            ".nan",
            "-.inf",
            "true",
            "True",
            "yes",
            "OFF",
            "18446744073709551616",
            "2026-01-01",
            "text",
        ] {
            assert_eq!(read(text).unwrap(), (text.to_owned(), None));
            assert_eq!(read(&format!("{text}   # a comment")).unwrap().0, text);
            assert_eq!(read(&format!("&x {text}")).unwrap().0, text);
            assert_eq!(read(&format!("{{ value: {text}, sensitive: true }}")).unwrap(), (text.to_owned(), Some(true)));
        }
        assert_eq!(read("\"08080\"").unwrap().0, "08080");
        assert_eq!(read("!!str 08080").unwrap().0, "08080");
        assert_eq!(read("\"\"").unwrap().0, "");
    }

    #[test]
    fn a_spelling_is_found_in_every_place() {
        let flow = "owner: alice\nname: dev\nagent: { name: main, env: { A: 08, C: 010 } }\n";
        let first = "\u{feff}# ä\nowner: bob\nname: dev\nagent: { name: main }\n";
        let workspaces = parse(&format!("{first}---\n{flow}---\n{flow}")).unwrap();
        for workspace in &workspaces[1..] {
            let env = &workspace.agents()[0].env;
            let values: Vec<_> = env.values().map(|it| it.value().expose_str().unwrap()).collect();
            assert_eq!(values, ["08", "010"]);
        }
    }

    #[test]
    fn marks() {
        assert_eq!(read("{ value: a }").unwrap(), ("a".into(), None));
        assert_eq!(read("{ sensitive: false, value: a }").unwrap(), ("a".into(), Some(false)));
        for (wrong, word) in [
            ("{ sensitive: true }", "value"),
            ("{ value: canary, sensitive: canary }", "bool"),
            ("{ value: canary, secret: true }", "only `value` and `sensitive`"),
            ("{canary}", "needs quotes"),
            ("{{canary}}", ""),
            ("[canary]", "a text, or a mapping"),
            ("", "write \"\""),
            ("~", "write \"\""),
        ] {
            let fault = read(wrong).unwrap_err();
            assert_eq!(fault.line, Some(7), "{wrong}: {fault}");
            assert!(fault.detail.contains(word) && !fault.detail.contains("canary"), "{wrong}: {fault}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_without_being_shown() {
        let long = serde_json::to_string(&format!("canary{}", "x".repeat(MAX_BYTES))).unwrap();
        let error = serde_json::from_str::<EnvText>(&long).unwrap_err().to_string();
        assert!(error.contains("must not exceed") && !error.contains("canary"), "{error}");
        let error = serde_json::from_str::<EnvText>("\"canary\\u0000\"").unwrap_err().to_string();
        assert!(error.contains("null bytes") && !error.contains("canary"), "{error}");
    }
}
