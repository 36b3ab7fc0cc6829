//! The variables of one agent: every `coder_env` in the order of addresses, then `coder_agent.env` over all of them.

use std::collections::BTreeMap;

use super::Error;
use super::attributes::Attributes;
use super::input::Instance;
use crate::secret::Secret;

/// The value of a variable, from one definition or several that were joined.
#[derive(Debug)]
pub struct Variable {
    parts: Vec<Secret>,
    inherited: Option<usize>,
    sensitive: bool,
}

impl Variable {
    fn new(value: Secret, sensitive: bool) -> Self {
        Self { parts: vec![value], inherited: None, sensitive }
    }

    /// The value that Terraform wrote; its parts joined by colons.
    #[must_use]
    pub fn value(&self) -> Secret {
        joined(self.parts.iter().map(Secret::expose))
    }

    /// The value for the agent. `append` and `prepend` with nothing to join to join to the variable that the workspace inherits: a bare
    /// value would destroy `PATH`. A sensitive value is delivered byte for byte, so nothing in it can be expanded, and it stays bare.
    #[must_use]
    pub fn delivered(&self, name: &str) -> Secret {
        let inherited = format!("${{{name}}}");
        match self.inherited.filter(|_| !self.sensitive) {
            None => self.value(),
            Some(at) => {
                let (before, after) = self.parts.split_at(at);
                let parts = before.iter().map(Secret::expose);
                joined(parts.chain([inherited.as_bytes()]).chain(after.iter().map(Secret::expose)))
            }
        }
    }

    /// Whether Terraform marks the value, or a part of it, as sensitive.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.sensitive
    }
}

fn joined<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Secret {
    Secret::new(parts.collect::<Vec<_>>().join(&b':'))
}

/// Merges as Coder does; `envs` are in the order of their addresses.
pub(super) fn merged<'a>(
    envs: impl Iterator<Item = &'a Instance>,
    agent: &Attributes<'_>,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, Variable>, Error> {
    let mut merged: BTreeMap<String, (Variable, &str)> = BTreeMap::new();
    for instance in envs {
        let attributes = instance.attributes();
        let name = name(&attributes, attributes.required("name")?)?;
        let (value, sensitive) = (attributes.secret("value")?, attributes.is_sensitive("value"));
        let address = instance.address.as_str();
        let existing = merged.remove(name);
        let variable = match (attributes.text("merge_strategy")?, existing) {
            ("error", Some((_, earlier))) => {
                let (address, variable) = (address.to_owned(), name.to_owned());
                return Err(Error::Merge { address, variable, earlier: earlier.to_owned() });
            }
            ("" | "replace", _) | ("error", None) => Variable::new(value, sensitive),
            ("append", None) => Variable { inherited: Some(0), ..Variable::new(value, sensitive) },
            ("prepend", None) => Variable { inherited: Some(1), ..Variable::new(value, sensitive) },
            ("append", Some((mut variable, _))) => {
                variable.parts.push(value);
                variable.sensitive |= sensitive;
                variable
            }
            ("prepend", Some((mut variable, _))) => {
                variable.parts.insert(0, value);
                variable.inherited = variable.inherited.map(|at| at + 1);
                variable.sensitive |= sensitive;
                variable
            }
            _ => return Err(attributes.wrong("merge_strategy", "must be replace, append, prepend or error")),
        };
        merged.insert(name.to_owned(), (variable, address));
    }
    for (name, (variable, address)) in &merged {
        if variable.inherited.is_some() && variable.sensitive {
            notes.push(format!(
                "{address}: variable {name} is sensitive and joins to nothing; it replaces the variable that the workspace inherits"
            ));
        }
    }
    let mut merged: BTreeMap<_, _> = merged.into_iter().map(|(name, (variable, _))| (name, variable)).collect();
    for (key, value, sensitive) in agent.map("env")? {
        merged.insert(name(agent, key)?.to_owned(), Variable::new(value, sensitive));
    }
    Ok(merged)
}

/// Any name that a process can have: POSIX forbids `=` and NUL, and nothing else.
fn name<'a>(attributes: &Attributes<'_>, name: &'a str) -> Result<&'a str, Error> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(attributes.wrong("name", "must be the name of a variable: not empty, without = and null bytes"));
    }
    Ok(name)
}
