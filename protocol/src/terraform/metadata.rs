//! The resources of a workspace, and the `coder_metadata` that describes them.

use std::collections::HashMap;

use super::attributes::Attributes;
use super::input::{Instance, Mode};
use super::{Error, Item, Resource};

/// All managed resources of other providers, each with its metadata.
pub(super) fn resources(instances: &[Instance], notes: &mut Vec<String>) -> Result<Vec<Resource>, Error> {
    let shown: Vec<_> = instances.iter().filter(|it| it.is_shown()).collect();
    let mut by_id: HashMap<&str, Vec<usize>> = HashMap::new();
    for (n, instance) in shown.iter().enumerate() {
        if let Some(id) = instance.values.get("id").and_then(|id| id.as_str()) {
            by_id.entry(id).or_default().push(n);
        }
    }
    let mut resources: Vec<_> = shown.iter().map(|instance| bare(instance)).collect();
    let mut described: HashMap<usize, &str> = HashMap::new();
    for metadata in instances.iter().filter(|it| it.is(Mode::Managed, "coder_metadata")) {
        let attributes = metadata.attributes();
        let same_id = by_id.get(attributes.text("resource_id")?).map_or(&[][..], Vec::as_slice);
        let Some(n) = place(metadata, same_id, &shown) else {
            notes.push(format!(
                "{} is left out: no resource of this state is the one that it describes",
                metadata.address
            ));
            continue;
        };
        if let Some(first) = described.insert(n, &metadata.address) {
            let (second, resource) = (metadata.address.clone(), shown[n].address.clone());
            return Err(Error::DuplicateMetadata { first: first.to_owned(), second, resource });
        }
        describe(&mut resources[n], &attributes)?;
    }
    Ok(resources)
}

fn bare(instance: &Instance) -> Resource {
    Resource {
        address: instance.address.clone(),
        kind: instance.kind.clone(),
        name: instance.name.clone(),
        module_path: instance.module.clone(),
        hide: false,
        icon: String::new(),
        daily_cost: 0,
        items: Vec::new(),
    }
}

fn describe(resource: &mut Resource, attributes: &Attributes<'_>) -> Result<(), Error> {
    resource.hide = attributes.flag("hide")?;
    attributes.text("icon")?.clone_into(&mut resource.icon);
    resource.daily_cost = attributes.integer("daily_cost")?.unwrap_or_default();
    for item in attributes.blocks("item")? {
        let value = if item.flag("is_null")? { None } else { Some(item.secret("value")?) };
        resource.items.push(Item {
            key: item.text("key")?.to_owned(),
            value,
            // Terraform's own mark counts as well: what it hides nobody should see by an oversight.
            sensitive: item.flag("sensitive")? || item.is_sensitive("value"),
        });
    }
    Ok(())
}

/// Which resource a `coder_metadata` describes: `same_id` are those whose id is its `resource_id`.
///
/// Ids are not unique (every `random_password` has the id `none`), and some providers' resources are named by something else than their id.
fn place(metadata: &Instance, same_id: &[usize], shown: &[&Instance]) -> Option<usize> {
    if same_id.is_empty() {
        return nearest(metadata, shown);
    }
    let mut candidates = same_id.to_vec();
    narrow(&mut candidates, |n| metadata.depends_on.contains(&shown[n].configuration()));
    narrow(&mut candidates, |n| shown[n].module == metadata.module);
    narrow(&mut candidates, |n| shown[n].index == metadata.index);
    match candidates[..] {
        [only] => Some(only),
        _ => None,
    }
}

/// Of the resources that `metadata` depends on, one on which no other of them depends.
fn nearest(metadata: &Instance, shown: &[&Instance]) -> Option<usize> {
    let on = |n: &usize| metadata.depends_on.contains(&shown[*n].configuration());
    let all: Vec<usize> = (0..shown.len()).filter(on).collect();
    let mut candidates = all.clone();
    narrow(&mut candidates, |n| {
        let configuration = shown[n].configuration();
        !all.iter().any(|&other| {
            shown[other].depends_on.contains(&configuration) && shown[other].configuration() != configuration
        })
    });
    narrow(&mut candidates, |n| shown[n].module == metadata.module);
    narrow(&mut candidates, |n| shown[n].index == metadata.index);
    candidates.first().copied()
}

/// Keeps those that fit, unless none does.
fn narrow(candidates: &mut Vec<usize>, fits: impl Fn(usize) -> bool) {
    let fitting: Vec<_> = candidates.iter().copied().filter(|n| fits(*n)).collect();
    if !fitting.is_empty() {
        *candidates = fitting;
    }
}
