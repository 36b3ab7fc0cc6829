//! Whether a manifest is what was delivered already, without keeping its values a second time.

use std::borrow::Cow;
use std::io;

use crate::ledger::{Fingerprint, Key};
use crate::manifest::{Manifest, Metadata, Script, SecretSet, Sensitivity};

/// Makes [`Digest`]s that can be compared for as long as this process lives.
pub(super) struct Digester(Key);

/// What a manifest was, without its values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Digest {
    all: Fingerprint,
    /// Of what becomes variables.
    pub(super) variables: Fingerprint,
}

type Part<'m> = Cow<'m, [u8]>;

impl Digester {
    pub(super) fn new() -> io::Result<Self> {
        Key::random().map(Self)
    }

    pub(super) fn digest(&self, manifest: &Manifest, secrets: &SecretSet) -> Digest {
        let (variables, mut all) = (variables(secrets), printable(manifest));
        all.extend(variables.iter().map(|part| Cow::Borrowed(&**part)));
        all.extend(secrets.secrets.iter().map(|secret| text(secret.file_path.as_deref().unwrap_or_default())));
        all.extend(secrets.secrets.iter().map(|secret| Cow::Borrowed(secret.value.expose())));
        let of = |parts: &[Part<'_>]| self.0.fingerprint_of(parts.iter().map(|part| &**part));
        Digest { all: of(&all), variables: of(&variables) }
    }
}

/// With the names of the workspace, which are variables as well.
fn variables(secrets: &SecretSet) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for variable in &secrets.template {
        let mark: &[u8] = match variable.sensitivity {
            Sensitivity::Unmarked => b"u",
            Sensitivity::Sensitive => b"s",
            Sensitivity::Plain => b"p",
        };
        parts.extend([text(&variable.name), Cow::Borrowed(variable.value.expose()), Cow::Borrowed(mark)]);
    }
    // A count, so that no variable of the template is taken for one of a secret.
    parts.push(number(secrets.template.len() as u64));
    for secret in &secrets.secrets {
        let value: &[u8] = if secret.env_name.is_some() { secret.value.expose() } else { b"" };
        parts.extend([text(secret.env_name.as_deref().unwrap_or_default()), Cow::Borrowed(value)]);
    }
    parts.push(number(secrets.secrets.len() as u64));
    parts.extend(secrets.refused.iter().flat_map(|refused| [text(&refused.name), text(&refused.reason)]));
    parts.push(number(secrets.refused.len() as u64));
    parts
}

/// All but what the server counts.
fn printable(manifest: &Manifest) -> Vec<Part<'_>> {
    let mut parts = vec![
        Cow::Borrowed(manifest.agent_id.as_bytes().as_slice()),
        Cow::Borrowed(manifest.workspace_id.as_bytes().as_slice()),
        text(&manifest.agent_name),
        text(&manifest.owner_username),
        text(&manifest.workspace_name),
        text(&manifest.directory),
        text(&manifest.motd_path),
        text(&manifest.vs_code_port_proxy_uri),
        flags([manifest.revoked, false, false]),
    ];
    parts.extend(manifest.scripts.iter().flat_map(script));
    parts.push(number(manifest.scripts.len() as u64));
    parts.extend(manifest.metadata.iter().flat_map(metadata));
    parts.push(number(manifest.metadata.len() as u64));
    parts
}

fn script(script: &Script) -> [Part<'_>; 8] {
    [
        Cow::Borrowed(script.id.as_bytes().as_slice()),
        Cow::Borrowed(script.log_source_id.as_bytes().as_slice()),
        text(&script.display_name),
        text(&script.log_path),
        text(&script.script),
        text(&script.cron),
        flags([script.run_on_start, script.run_on_stop, script.start_blocks_login]),
        number(script.timeout.unwrap_or_default().as_secs()),
    ]
}

fn metadata(item: &Metadata) -> [Part<'_>; 5] {
    [
        text(&item.key),
        text(&item.display_name),
        text(&item.script),
        number(item.interval.unwrap_or_default().as_secs()),
        number(item.timeout.unwrap_or_default().as_secs()),
    ]
}

fn text(text: &str) -> Part<'_> {
    Cow::Borrowed(text.as_bytes())
}

fn number(number: u64) -> Part<'static> {
    Cow::Owned(number.to_be_bytes().to_vec())
}

fn flags(flags: [bool; 3]) -> Part<'static> {
    Cow::Owned(flags.map(u8::from).to_vec())
}

#[cfg(test)]
mod tests {
    use protocol::agent_api as wire;

    use super::*;
    use crate::manifest;

    fn message() -> wire::Manifest {
        let script = wire::WorkspaceAgentScript {
            id: vec![1; 16],
            log_source_id: vec![2; 16],
            script: "make".into(),
            ..wire::WorkspaceAgentScript::default()
        };
        wire::Manifest {
            agent_id: vec![1; 16],
            workspace_id: vec![2; 16],
            environment_variables: [("A", "1"), ("B", "2"), ("C", "3")].map(|(n, v)| (n.into(), v.into())).into(),
            scripts: vec![script],
            secrets: vec![secret("TOKEN", "~/token", "v"), secret("", "~/file", "w")],
            ..wire::Manifest::default()
        }
    }

    fn secret(env_name: &str, file_path: &str, value: &str) -> wire::WorkspaceSecret {
        wire::WorkspaceSecret { env_name: env_name.into(), file_path: file_path.into(), value: value.into() }
    }

    #[test]
    fn what_is_delivered_counts_and_nothing_else() {
        let digester = Digester::new().unwrap();
        let digest = |change: &dyn Fn(&mut wire::Manifest)| {
            let mut message = message();
            change(&mut message);
            let (manifest, secrets) = manifest::split(message).unwrap();
            digester.digest(&manifest, &secrets)
        };
        let before = digest(&|_| {});
        assert_eq!(before, digest(&|it| it.generation = Some(protocol::live::Generation { epoch: 1, number: 2 })));
        assert_eq!(before, digest(&|it| it.derp_map = Some(wire::DerpMap::default())));
        let for_files: [&dyn Fn(&mut wire::Manifest); 5] = [
            &|it| it.secrets[1].value = b"x".to_vec(),
            &|it| it.secrets[1].file_path = "~/other".into(),
            &|it| it.scripts[0].script = "true".into(),
            &|it| it.directory = "~/other".into(),
            &|it| it.revoked = true,
        ];
        for change in for_files {
            let after = digest(change);
            assert!(after != before && after.variables == before.variables);
        }
        let for_variables: [&dyn Fn(&mut wire::Manifest); 5] = [
            &|it| it.secrets[0].value = b"x".to_vec(),
            &|it| it.secrets[1].env_name = "FILE".into(),
            &|it| drop(it.secrets.remove(0)),
            &|it| drop(it.environment_variables.remove("B")),
            &|it| drop(it.environment_variables.insert("B".into(), "3".into())),
        ];
        for change in for_variables {
            let after = digest(change);
            assert!(after != before && after.variables != before.variables);
        }
    }
}
