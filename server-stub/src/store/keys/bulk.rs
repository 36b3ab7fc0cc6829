//! Sealing without a store.

use uuid::Uuid;

use super::ring::Keyring;
use super::sealed::SECRET_VALUE;
use super::{Claim, KeyError, KeyId, KeySource};

/// Seals values of user secrets for a program that fills a database in bulk, such as the benchmark. No server may run meanwhile.
#[derive(Debug)]
pub struct BulkSealer {
    keyring: Keyring,
    key: KeyId,
}

impl BulkSealer {
    /// Takes the first key of the source. Fails if there is none.
    pub fn load(source: KeySource) -> Result<Self, KeyError> {
        let keyring = Keyring::load(source)?;
        let key =
            keyring.ids().into_iter().next().ok_or_else(|| KeyError::Empty { place: keyring.source().to_string() })?;
        Ok(Self { keyring, key })
    }

    /// The key's id and the sealed value, for the row `id` of `user`.
    pub fn seal_secret(&self, user: Uuid, id: Uuid, value: &[u8]) -> Result<(KeyId, Vec<u8>), KeyError> {
        let sealed = self.keyring.seal(&self.key, &SECRET_VALUE.of(user, id), value)?;
        Ok((sealed.key, sealed.data))
    }

    /// The key's id and the MAC of an agent's row.
    pub fn agent_mac(
        &self,
        agent: Uuid,
        workspace: Uuid,
        owner: Uuid,
        hash: &[u8],
    ) -> Result<(KeyId, Vec<u8>), KeyError> {
        let mac = self.keyring.mac(&self.key, &Claim::agent_token(agent, workspace, owner, hash))?;
        Ok((mac.key, mac.data))
    }
}
