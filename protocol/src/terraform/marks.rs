//! Which attributes of a resource are sensitive, from either input.

use std::collections::BTreeMap;

use serde_json::Value;

/// A tree beside the attributes. A key is a name, a key of a map, or an index of a list in decimal.
#[derive(Debug, Default)]
pub(super) enum Marks {
    #[default]
    None,
    Below(BTreeMap<String, Marks>),
    All,
}

impl Marks {
    /// `sensitive_values` of `show -json`: the shape of the attributes, with `true` where something is sensitive. Whatever else stands there
    /// is no mark.
    pub(super) fn mirrored(value: Value) -> Self {
        let below = |pairs: BTreeMap<String, Self>| if pairs.is_empty() { Self::None } else { Self::Below(pairs) };
        let kept = |pair: &(String, Self)| !matches!(pair.1, Self::None);
        match value {
            Value::Bool(true) => Self::All,
            Value::Object(map) => {
                below(map.into_iter().map(|(key, value)| (key, Self::mirrored(value))).filter(kept).collect())
            }
            Value::Array(items) => {
                let numbered = items.into_iter().enumerate().map(|(n, value)| (n.to_string(), Self::mirrored(value)));
                below(numbered.filter(kept).collect())
            }
            _ => Self::None,
        }
    }

    /// `sensitive_attributes` of a state file: a list of paths. A path that cannot be read is an error: to pass over it would show what
    /// it protects.
    pub(super) fn paths(value: Option<Value>) -> Result<Self, &'static str> {
        let mut marks = Self::None;
        let paths = match value {
            None | Some(Value::Null) => return Ok(marks),
            Some(Value::Array(paths)) => paths,
            Some(_) => return Err("must be a list of paths"),
        };
        for path in paths {
            let Value::Array(steps) = path else { return Err("must be a list of paths") };
            marks.mark(&steps.iter().map(step).collect::<Option<Vec<_>>>().ok_or("has a step that is not known")?);
        }
        Ok(marks)
    }

    fn mark(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else {
            *self = Self::All;
            return;
        };
        if let Self::None = self {
            *self = Self::Below(BTreeMap::new());
        }
        if let Self::Below(below) = self {
            below.entry(first.clone()).or_default().mark(rest);
        }
    }

    /// Whether the attribute at `path`, anything around it or anything in it is sensitive.
    pub(super) fn covers(&self, path: &[&str]) -> bool {
        match (self, path.split_first()) {
            (Self::None, _) => false,
            (Self::All, _) | (Self::Below(_), None) => true,
            (Self::Below(below), Some((first, rest))) => below.get(*first).is_some_and(|marks| marks.covers(rest)),
        }
    }
}

/// A step of a path: `{"type": "get_attr", "value": "env"}` or `{"type": "index", "value": {"value": 0, "type": "number"}}`.
fn step(step: &Value) -> Option<String> {
    let value = step.get("value")?;
    match step.get("type")?.as_str()? {
        "get_attr" => value.as_str().map(str::to_owned),
        "index" => match value.get("value")? {
            Value::String(key) => Some(key.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        },
        _ => None,
    }
}
