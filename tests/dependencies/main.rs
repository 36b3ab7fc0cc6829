//! What the packages depend on: licenses and sources by the rules of `deny.toml`, and nothing that nobody uses. cargo-deny
//! says more (`make deny`), but takes minutes to build.

mod duplicates;
mod license;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Used by code that is in no file of the package: what is generated from the messages, and derives.
const USED_ELSEWHERE: [&str; 2] = ["protocol: prost-types", "agent: prost"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn rules() -> Value {
    toml::from_str(&fs::read_to_string(repository().join("deny.toml")).unwrap()).unwrap()
}

/// `cargo metadata`, for this platform: others have packages that nobody here has downloaded.
fn metadata() -> Value {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &platform])
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: is Cargo.lock up to date?");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Packages of others that are built here.
fn of_others(metadata: &Value) -> impl Iterator<Item = &Value> {
    let built: BTreeSet<_> = items(&metadata["resolve"]["nodes"]).map(|node| text(&node["id"])).collect();
    items(&metadata["packages"]).filter(move |it| !it["source"].is_null() && built.contains(text(&it["id"])))
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_license_is_one_that_we_may_ship() {
    let (rules, metadata) = (rules(), metadata());
    let allowed = texts(&rules["licenses"]["allow"]);
    let is_excepted = |name: &str, license: &str| {
        let mut exceptions = items(&rules["licenses"]["exceptions"]);
        exceptions.any(|it| it["crate"] == name && texts(&it["allow"]).contains(license))
    };
    let fault = |package: &Value| {
        let (name, license) = (text(&package["name"]), text(&package["license"]));
        let is_allowed = license::allows(license, |one| allowed.contains(one) || is_excepted(name, one));
        (!is_allowed).then(|| format!("{name}: license {license:?} is not among those of deny.toml"))
    };
    none(&of_others(&metadata).filter_map(fault).collect::<Vec<_>>());
    assert!(of_others(&metadata).count() > 100, "cargo metadata lists too little");
}

#[test]
fn everything_comes_from_crates_io_and_nothing_is_banned() {
    let (rules, metadata) = (rules(), metadata());
    let banned: BTreeSet<_> = items(&rules["bans"]["deny"]).map(|it| text(&it["crate"])).collect();
    let fault = |package: &Value| {
        let (name, source) = (text(&package["name"]), text(&package["source"]));
        if banned.contains(name) {
            return Some(format!("{name}: deny.toml bans it; `cargo tree -i {name} --workspace` says who wants it"));
        }
        (!source.contains("github.com/rust-lang/crates.io-index")).then(|| format!("{name}: comes from {source}"))
    };
    none(&of_others(&metadata).filter_map(fault).collect::<Vec<_>>());
}

#[test]
fn a_second_version_of_a_package_is_one_that_deny_toml_names() {
    let (rules, metadata) = (rules(), metadata());
    let skipped: BTreeSet<_> = items(&rules["bans"]["skip"]).map(|it| text(&it["crate"]).to_owned()).collect();
    none(&duplicates::unnamed(&metadata, &skipped));
}

#[test]
fn no_package_depends_on_what_it_does_not_use() {
    let metadata = metadata();
    let members = texts(&metadata["workspace_members"]);
    let mut unused = Vec::new();
    for package in items(&metadata["packages"]).filter(|it| members.contains(text(&it["id"]))) {
        let directory = Path::new(text(&package["manifest_path"])).parent().unwrap();
        let words = words_below(directory);
        for dependency in items(&package["dependencies"]) {
            let line = format!("{}: {}", text(&package["name"]), text(&dependency["name"]));
            let word = dependency["rename"].as_str().unwrap_or(text(&dependency["name"])).replace('-', "_");
            if !words.contains(&word) && !USED_ELSEWHERE.contains(&line.as_str()) {
                unused.push(format!("{line} is in its Cargo.toml, and nothing uses it"));
            }
        }
    }
    none(&unused);
}

#[test]
fn the_workspace_lists_no_version_that_no_package_wants() {
    let root: Value = toml::from_str(&fs::read_to_string(repository().join("Cargo.toml")).unwrap()).unwrap();
    let manifests = items(&root["workspace"]["members"])
        .map(|member| fs::read_to_string(repository().join(text(member)).join("Cargo.toml")).unwrap());
    let manifests: Vec<String> = manifests.collect();
    let is_wanted = |name: &str| {
        let starts = [format!("{name}.workspace"), format!("{name} = {{ workspace")];
        let mut lines = manifests.iter().flat_map(|manifest| manifest.lines());
        lines.any(|line| starts.iter().any(|start| line.starts_with(start)))
    };
    let listed = root["workspace"]["dependencies"].as_object().unwrap().keys();
    none(&listed.filter(|name| !is_wanted(name)).map(|name| format!("Cargo.toml: {name}")).collect::<Vec<_>>());
}

/// Every word in the Rust files of a package.
fn words_below(directory: &Path) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        // Packages within a package have their own list.
        let is_other = path != directory && path.join("Cargo.toml").exists();
        if path.is_dir() && !is_other && !path.ends_with("target") {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            let split = |line: &str| {
                let words = line.split(|each: char| !each.is_alphanumeric() && each != '_');
                words.filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
            };
            words.extend(code.flat_map(split));
        }
    }
    words
}
