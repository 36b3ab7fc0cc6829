//! Instances of a state file, version 4: one list of resources, whose addresses have to be put together.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::super::Error;
use super::super::marks::Marks;
use super::{Index, Instance, Mode, index, list, mode, object, word, words};

/// `resources` of a state file.
pub(super) fn instances(resources: Option<Value>) -> Result<Vec<Instance>, Error> {
    let mut instances = Vec::new();
    for resource in list(resources, "the state", "resources")? {
        let mut resource = object(resource, "a resource of the state")?;
        let shape = |attribute: &str, problem| Error::Attribute {
            address: "a resource of the state".to_owned(),
            attribute: attribute.to_owned(),
            problem,
        };
        let (kind, name) = (word(&resource, "type", &shape)?, word(&resource, "name", &shape)?);
        let mode = mode(&resource, &shape)?;
        let module = match resource.get("module") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(module)) => module.clone(),
            Some(_) => return Err(shape("module", "must be text")),
        };
        let head = Head { module, mode, kind, name };
        for found in list(resource.remove("instances"), &head.address(None), "instances")? {
            let found = object(found, &format!("an instance of {}", head.address(None)))?;
            instances.extend(instance(&head, found)?);
        }
    }
    Ok(instances)
}

/// What all instances of a stored resource have in common.
struct Head {
    module: String,
    mode: Mode,
    kind: String,
    name: String,
}

impl Head {
    fn address(&self, index: Option<&Index>) -> String {
        let mut address = self.module.clone();
        if !address.is_empty() {
            address.push('.');
        }
        if self.mode == Mode::Data {
            address.push_str("data.");
        }
        // Of a `String` none of these can fail.
        let _ = write!(address, "{}.{}", self.kind, self.name);
        let _ = match index {
            None => Ok(()),
            Some(Index::Number(number)) => write!(address, "[{number}]"),
            Some(Index::Key(key)) => write!(address, "[\"{}\"]", escaped(key)),
        };
        address
    }
}

/// As Terraform writes a key into an address.
fn escaped(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    let mut rest = key.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '$' | '%' if rest.peek() == Some(&'{') => text.extend([c, c]),
            _ => text.push(c),
        }
    }
    text
}

fn instance(head: &Head, mut instance: Map<String, Value>) -> Result<Option<Instance>, Error> {
    if instance.get("deposed").is_some_and(|key| !key.is_null()) {
        return Ok(None);
    }
    let unplaced =
        |problem| Error::Attribute { address: head.address(None), attribute: "index_key".to_owned(), problem };
    let index = index(instance.get("index_key")).map_err(unplaced)?;
    let address = head.address(index.as_ref());
    let fault = |attribute: &str, problem| Error::Attribute {
        address: address.clone(),
        attribute: attribute.to_owned(),
        problem,
    };
    if instance.contains_key("attributes_flat") {
        return Err(fault(
            "attributes_flat",
            "is of a Terraform before 0.12: run `terraform refresh` with a newer one",
        ));
    }
    let values = match instance.remove("attributes") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(values)) => values,
        Some(_) => return Err(fault("attributes", "must be an object")),
    };
    let marks = Marks::paths(instance.remove("sensitive_attributes"))
        .map_err(|problem| fault("sensitive_attributes", problem))?;
    let depends_on = words(instance.remove("dependencies")).map_err(|problem| fault("dependencies", problem))?;
    let Head { module, mode, kind, name } = head;
    Ok(Some(Instance {
        module: module.clone(),
        mode: *mode,
        kind: kind.clone(),
        name: name.clone(),
        index,
        values,
        marks,
        depends_on,
        address,
    }))
}
