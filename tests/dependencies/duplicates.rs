//! Packages that are built in more than one version.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{items, text};

/// What contradicts the list `skipped` of `NAME@VERSION`: a version beside another one that it lacks, and one that it has in vain.
pub(super) fn unnamed(metadata: &Value, skipped: &BTreeSet<String>) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let built = built(metadata);
    for package in items(&metadata["packages"]).filter(|it| built.contains(text(&it["id"]))) {
        versions.entry(text(&package["name"])).or_default().insert(text(&package["version"]));
    }
    let all: BTreeSet<_> =
        versions.iter().flat_map(|(name, them)| them.iter().map(move |it| format!("{name}@{it}"))).collect();
    let gone = skipped.difference(&all).map(|it| format!("{it}: deny.toml names it, and nothing wants it any more"));
    let too_many = versions.iter().filter_map(|(name, them)| {
        let others: Vec<_> = them.iter().filter(|it| !skipped.contains(&format!("{name}@{it}"))).collect();
        (others.len() > 1)
            .then(|| format!("{name}: built as {others:?}; `cargo tree -i {name}@VERSION` says who wants one"))
    });
    too_many.chain(gone).collect()
}

/// The packages that are built for ours and what builds them. Those that only tests inside a package use are left out, as cargo-deny does.
fn built(metadata: &Value) -> BTreeSet<&str> {
    let nodes: BTreeMap<_, _> = items(&metadata["resolve"]["nodes"]).map(|node| (text(&node["id"]), node)).collect();
    let mut open: Vec<_> = items(&metadata["workspace_members"]).map(text).collect();
    let mut built = BTreeSet::new();
    while let Some(id) = open.pop() {
        if built.insert(id) {
            let is_used = |it: &&Value| items(&it["dep_kinds"]).any(|kind| kind["kind"] != "dev");
            open.extend(items(&nodes[id]["deps"]).filter(is_used).map(|it| text(&it["pkg"])));
        }
    }
    built
}
