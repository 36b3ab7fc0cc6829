//! Both inputs, as one list of resource instances.

mod stored;

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::attributes::Attributes;
use super::marks::Marks;
use super::{Error, MAX_BYTES};

/// Deepest nesting of modules. Terraform has no limit; a workspace has three or four.
const MAX_MODULES: usize = 64;
/// Of a version that is quoted in a message.
const MAX_QUOTED: usize = 20;

/// What Terraform does with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It makes it.
    Managed,
    /// It only reads it.
    Data,
}

/// `count.index` or `each.key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Index {
    Number(u64),
    Key(String),
}

/// One instance of a resource.
pub(super) struct Instance {
    /// In Terraform's words, instance keys included.
    pub(super) address: String,
    /// The address of the module instance; empty for the root module.
    pub(super) module: String,
    pub(super) mode: Mode,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) index: Option<Index>,
    pub(super) values: Map<String, Value>,
    pub(super) marks: Marks,
    /// Addresses without instance keys, of everything that it depends on, directly or not.
    pub(super) depends_on: Vec<String>,
}

impl Instance {
    pub(super) fn is(&self, mode: Mode, kind: &str) -> bool {
        self.mode == mode && self.kind == kind
    }

    /// Whether it is of the coder provider.
    pub(super) fn of_coder(&self) -> bool {
        self.kind.starts_with("coder_")
    }

    /// Whether it is a resource that a workspace shows.
    pub(super) fn is_shown(&self) -> bool {
        self.mode == Mode::Managed && !self.of_coder()
    }

    pub(super) fn attributes(&self) -> Attributes<'_> {
        Attributes::new(&self.address, &self.values, &self.marks)
    }

    /// Its address as `depends_on` has it: without any instance key.
    pub(super) fn configuration(&self) -> String {
        let mut address = without_keys(&self.module);
        if !address.is_empty() {
            address.push('.');
        }
        if self.mode == Mode::Data {
            address.push_str("data.");
        }
        // Of a `String` this cannot fail.
        let _ = write!(address, "{}.{}", self.kind, self.name);
        address
    }
}

/// `module.more["x"].module.y[0]` without what is in brackets. A key may hold brackets, in quotes.
fn without_keys(address: &str) -> String {
    let (mut text, mut depth, mut quoted, mut escaped) = (String::with_capacity(address.len()), 0_u32, false, false);
    for c in address.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if depth > 0 => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth = depth.saturating_sub(1),
            _ if depth == 0 => text.push(c),
            _ => {}
        }
    }
    text
}

/// All resource instances of a state, in either form.
pub(super) fn instances(bytes: &[u8]) -> Result<Vec<Instance>, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooLarge);
    }
    // Not into types: an error of theirs would quote the document, which is full of secrets.
    let document: Value =
        serde_json::from_slice(bytes).map_err(|error| Error::NotJson { line: error.line(), column: error.column() })?;
    let Value::Object(mut document) = document else { return Err(Error::NotAState) };
    if document.contains_key("planned_values") || document.contains_key("resource_changes") {
        return Err(Error::Plan);
    }
    if document.contains_key("encrypted_data") {
        return Err(Error::Encrypted);
    }
    if let Some(version) = document.get("format_version") {
        supported("the format version", version, "1.x", |text| text.split('.').next() == Some("1"))?;
        shown(document.remove("values"))
    } else if let Some(version) = document.get("version") {
        supported("the state version", version, "4", |text| text == "4")?;
        stored::instances(document.remove("resources"))
    } else {
        Err(Error::NotAState)
    }
}

fn supported(what: &'static str, found: &Value, known: &'static str, is: fn(&str) -> bool) -> Result<(), Error> {
    let text = match found {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(Error::NotAState),
    };
    if is(&text) { Ok(()) } else { Err(Error::Version { what, found: text.chars().take(MAX_QUOTED).collect(), known }) }
}

/// `values` of `show -json`.
fn shown(values: Option<Value>) -> Result<Vec<Instance>, Error> {
    let mut instances = Vec::new();
    let Some(values) = values.filter(|values| !values.is_null()) else { return Ok(instances) };
    let mut values = object(values, "values")?;
    if let Some(module) = values.remove("root_module").filter(|module| !module.is_null()) {
        shown_module(object(module, "values.root_module")?, "", 0, &mut instances)?;
    }
    Ok(instances)
}

fn shown_module(
    mut module: Map<String, Value>,
    address: &str,
    depth: usize,
    instances: &mut Vec<Instance>,
) -> Result<(), Error> {
    let place = || if address.is_empty() { "the root module".to_owned() } else { address.to_owned() };
    if depth > MAX_MODULES {
        return Err(Error::Shape { place: place(), problem: "is nested too deep" });
    }
    for resource in list(module.remove("resources"), &place(), "resources")? {
        let resource = object(resource, &format!("a resource of {}", place()))?;
        instances.extend(shown_resource(resource, address)?);
    }
    for child in list(module.remove("child_modules"), &place(), "child_modules")? {
        let child = object(child, &format!("a child module of {}", place()))?;
        let Some(Value::String(address)) = child.get("address") else {
            return Err(Error::Shape { place: format!("a child module of {}", place()), problem: "has no `address`" });
        };
        let address = address.clone();
        shown_module(child, &address, depth + 1, instances)?;
    }
    Ok(())
}

/// `None` for what is on its way out: a deposed instance.
fn shown_resource(mut resource: Map<String, Value>, module: &str) -> Result<Option<Instance>, Error> {
    let Some(Value::String(address)) = resource.remove("address") else {
        let place = if module.is_empty() {
            "a resource of the root module".to_owned()
        } else {
            format!("a resource of {module}")
        };
        return Err(Error::Shape { place, problem: "has no `address`" });
    };
    let fault = |attribute: &str, problem| Error::Attribute {
        address: address.clone(),
        attribute: attribute.to_owned(),
        problem,
    };
    if resource.get("deposed_key").is_some_and(|key| !key.is_null()) {
        return Ok(None);
    }
    let (kind, name) = (word(&resource, "type", &fault)?, word(&resource, "name", &fault)?);
    let mode = mode(&resource, &fault)?;
    let values = match resource.remove("values") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(values)) => values,
        Some(_) => return Err(fault("values", "must be an object")),
    };
    let marks = resource.remove("sensitive_values").map(Marks::mirrored).unwrap_or_default();
    let index = index(resource.get("index")).map_err(|problem| fault("index", problem))?;
    let depends_on = words(resource.remove("depends_on")).map_err(|problem| fault("depends_on", problem))?;
    Ok(Some(Instance { module: module.to_owned(), mode, kind, name, index, values, marks, depends_on, address }))
}

type Fault<'a> = &'a dyn Fn(&str, &'static str) -> Error;

fn mode(resource: &Map<String, Value>, fault: Fault<'_>) -> Result<Mode, Error> {
    match resource.get("mode").and_then(Value::as_str) {
        Some("managed") => Ok(Mode::Managed),
        Some("data") => Ok(Mode::Data),
        _ => Err(fault("mode", "must be `managed` or `data`")),
    }
}

fn word(resource: &Map<String, Value>, key: &str, fault: Fault<'_>) -> Result<String, Error> {
    match resource.get(key) {
        Some(Value::String(word)) if !word.is_empty() => Ok(word.clone()),
        _ => Err(fault(key, "must be text that is not empty")),
    }
}

fn index(value: Option<&Value>) -> Result<Option<Index>, &'static str> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) => Ok(Some(Index::Key(key.clone()))),
        Some(Value::Number(number)) => {
            number.as_u64().map(|number| Some(Index::Number(number))).ok_or("must be a whole number or text")
        }
        Some(_) => Err("must be a whole number or text"),
    }
}

fn words(value: Option<Value>) -> Result<Vec<String>, &'static str> {
    let wrong = "must be a list of addresses";
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            items.into_iter().map(|item| if let Value::String(word) = item { Ok(word) } else { Err(wrong) }).collect()
        }
        Some(_) => Err(wrong),
    }
}

fn object(value: Value, place: &str) -> Result<Map<String, Value>, Error> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Error::Shape { place: place.to_owned(), problem: "must be an object" }),
    }
}

fn list(value: Option<Value>, place: &str, key: &str) -> Result<Vec<Value>, Error> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(Error::Shape { place: format!("`{key}` of {place}"), problem: "must be a list" }),
    }
}
