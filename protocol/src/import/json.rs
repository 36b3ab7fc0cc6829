//! One flat object whose values are strings.

use std::fmt;

use serde::de::{self, Deserializer as _, MapAccess, Visitor};
use serde_json::error::Category;

use super::{Entries, ParseError};
use crate::secret::Secret;

const NOT_AN_OBJECT: &str = "secrets file must be one JSON object whose values are strings";

pub(super) fn parse(content: &str, entries: &mut Entries) -> Result<(), ParseError> {
    if content.trim().is_empty() {
        return Err(ParseError::Empty);
    }
    let mut fault = None;
    let mut source = serde_json::Deserializer::from_str(content);
    let parsed = source.deserialize_map(Object { entries, fault: &mut fault }).and_then(|()| source.end());
    parsed.map_err(|error| match error.classify() {
        Category::Syntax | Category::Eof => syntax(&error),
        // serde's own texts for wrong types are not ours to show: most repeat the value.
        Category::Data | Category::Io => fault.unwrap_or(ParseError::Shape(NOT_AN_OBJECT)),
    })
}

fn syntax(error: &serde_json::Error) -> ParseError {
    let text = error.to_string();
    let fault = text.rsplit_once(" at line ").map_or(text.as_str(), |(fault, _)| fault);
    ParseError::line(error.line(), format!("{fault} at column {}", error.column()))
}

/// Collects the pairs in the order of the text. `fault` says in our words why it stopped.
struct Object<'a> {
    entries: &'a mut Entries,
    fault: &'a mut Option<ParseError>,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<(), A::Error> {
        while let Some(key) = pairs.next_key::<String>()? {
            if let Err(refused) = self.entries.check_key(&key, None) {
                *self.fault = Some(refused);
                return Err(de::Error::custom("refused"));
            }
            *self.fault = Some(ParseError::Value { key: key.clone(), line: None, fault: "must be a string" });
            let value = pairs.next_value::<Secret>()?;
            *self.fault = None;
            self.entries.push(key, value, None);
        }
        Ok(())
    }
}
