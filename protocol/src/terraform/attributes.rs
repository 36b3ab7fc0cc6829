//! Typed access to the attributes of an instance. Every error names the address and the attribute, and no error has a value.

use serde_json::{Map, Value};

use super::Error;
use super::marks::Marks;
use crate::secret::Secret;

/// Attributes, or those of a block within.
#[derive(Clone)]
pub(super) struct Attributes<'a> {
    address: &'a str,
    values: &'a Map<String, Value>,
    marks: &'a Marks,
    /// Where a block is, such as `["item", "0"]`.
    path: Vec<String>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(address: &'a str, values: &'a Map<String, Value>, marks: &'a Marks) -> Self {
        Self { address, values, marks, path: Vec::new() }
    }

    fn fault(&self, name: &str, problem: &'static str) -> Error {
        let attribute = self.path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".");
        Error::Attribute { address: self.address.to_owned(), attribute, problem }
    }

    /// Whether the attribute, or a part of it, is sensitive.
    pub(super) fn is_sensitive(&self, name: &str) -> bool {
        let path: Vec<_> = self.path.iter().map(String::as_str).chain([name]).collect();
        self.marks.covers(&path)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// A text; `None` for null and for what is not there.
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        match self.get(name) {
            None => Ok(None),
            // A variable or an argument ends at a NUL byte, whatever follows.
            Some(Value::String(text)) if text.contains('\0') => Err(self.fault(name, "must not contain null bytes")),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.fault(name, "must be text")),
        }
    }

    /// A text; empty for null.
    pub(super) fn text(&self, name: &str) -> Result<&'a str, Error> {
        Ok(self.optional_text(name)?.unwrap_or_default())
    }

    /// A text that has to be there.
    pub(super) fn required(&self, name: &str) -> Result<&'a str, Error> {
        self.optional_text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| self.fault(name, "is missing"))
    }

    /// A text that nobody may see; empty for null.
    pub(super) fn secret(&self, name: &str) -> Result<Secret, Error> {
        Ok(Secret::from(self.text(name)?.to_owned()))
    }

    /// False for null.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.fault(name, "must be true or false")),
        }
    }

    /// A whole number that is not negative.
    pub(super) fn number(&self, name: &str, default: u64) -> Result<u64, Error> {
        let number = self.integer(name)?;
        number.map_or(Ok(default), |number| u64::try_from(number).map_err(|_| self.fault(name, "must not be negative")))
    }

    /// A whole number; `None` for null.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.fault(name, "must be a whole number")),
        }
    }

    /// A map of texts, as `(name, value, sensitive)`.
    pub(super) fn map(&self, name: &str) -> Result<Vec<(&'a str, Secret, bool)>, Error> {
        let values = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Object(values)) => values,
            Some(_) => return Err(self.fault(name, "must be a map")),
        };
        let mut path = self.path.clone();
        path.push(name.to_owned());
        let below = Attributes { address: self.address, values, marks: self.marks, path };
        values.keys().map(|key| Ok((key.as_str(), below.secret(key)?, below.is_sensitive(key)))).collect()
    }

    /// Blocks of one type, in the order in which they were written.
    pub(super) fn blocks(&self, name: &str) -> Result<Vec<Attributes<'a>>, Error> {
        let blocks = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(blocks)) => blocks,
            Some(_) => return Err(self.fault(name, "must be a list of blocks")),
        };
        let block = |(n, block): (usize, &'a Value)| match block {
            Value::Object(values) => {
                let mut path = self.path.clone();
                path.extend([name.to_owned(), n.to_string()]);
                Ok(Attributes { address: self.address, values, marks: self.marks, path })
            }
            _ => Err(self.fault(name, "must be a list of blocks")),
        };
        blocks.iter().enumerate().map(block).collect()
    }

    /// A fault of an attribute that is of the right type and still wrong.
    pub(super) fn wrong(&self, name: &str, problem: &'static str) -> Error {
        self.fault(name, problem)
    }
}
