//! Proof that a row which lets somebody in was written with a key.
//!
//! A hash of a token says nothing about who put it there. Whoever can write the database but has no key could put the hash of a token of
//! their own into somebody else's row. So the fields of such a row that decide who is let in have a MAC, under a key that is derived from the
//! encryption key and used for nothing else.

use protocol::rest::Scope;
use protocol::secret::Secret;
use ring::hmac;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::key::{KeyBytes, KeyId};

/// Keeps the derived key apart from the encryption key, and from keys derived for other ends.
const LABEL: &[u8] = b"coder-server row mac 1";

/// The key of MACs that belongs to an encryption key.
pub(super) fn derive(key: &KeyBytes) -> hmac::Key {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()), LABEL);
    hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
}

/// Fields with their lengths: otherwise "ab"+"c" and "a"+"bc" would be the same.
pub(super) fn framed(fields: &[&[u8]]) -> Vec<u8> {
    let mut data = Vec::with_capacity(256);
    for field in fields {
        data.extend_from_slice(&(field.len() as u64).to_be_bytes());
        data.extend_from_slice(field);
    }
    data
}

/// A MAC as the database keeps it.
#[derive(Debug)]
pub(in crate::store) struct Mac {
    /// The key that it is of.
    pub(in crate::store) key: KeyId,
    /// The MAC.
    pub(in crate::store) data: Vec<u8>,
}

/// What a row says about who is let in: its kind, and the fields that decide.
pub(in crate::store) struct Claim(Zeroizing<Vec<u8>>);

impl Claim {
    /// The token of this id and hash is one of this user, and may do this much.
    pub(in crate::store) fn session_token(id: &str, user: Uuid, hash: &[u8], scope: &str) -> Self {
        let fields: [&[u8]; 5] = [b"session_tokens", id.as_bytes(), user.as_bytes(), hash, scope.as_bytes()];
        // The usual scope is not among the fields: tokens that were made before there were scopes have that one.
        Self::of(if scope == Scope::default().as_str() { &fields[..4] } else { &fields })
    }

    /// The token of this hash is the one of this agent, which gets the secrets of this owner.
    pub(in crate::store) fn agent_token(agent: Uuid, workspace: Uuid, owner: Uuid, hash: &[u8]) -> Self {
        Self::of(&[b"agents", agent.as_bytes(), workspace.as_bytes(), owner.as_bytes(), hash])
    }

    /// This public key is the one that this user gives to git hosts, and it belongs to this private key.
    pub(in crate::store) fn git_key(user: Uuid, public: &str, private: &Secret) -> Self {
        Self::of(&[b"git_ssh_keys", user.as_bytes(), public.as_bytes(), private.expose()])
    }

    fn of(fields: &[&[u8]]) -> Self {
        Self(Zeroizing::new(framed(fields)))
    }

    pub(super) fn sign(&self, key: &hmac::Key) -> Vec<u8> {
        hmac::sign(key, &self.0).as_ref().to_vec()
    }

    /// In constant time.
    pub(super) fn is_signed(&self, key: &hmac::Key, mac: &[u8]) -> bool {
        hmac::verify(key, &self.0, mac).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::generate;
    use super::*;

    #[test]
    fn a_mac_holds_for_its_own_claim_and_key_only() {
        let (one, two) = (derive(&generate().unwrap()), derive(&generate().unwrap()));
        let [a, b, c, d] = [1, 2, 3, 4].map(Uuid::from_u128);
        let mac = Claim::agent_token(a, b, c, &[7; 32]).sign(&one);
        let holds = |claim: Claim, key: &hmac::Key| claim.is_signed(key, &mac);
        assert!(holds(Claim::agent_token(a, b, c, &[7; 32]), &one));
        assert!(!holds(Claim::agent_token(a, b, c, &[7; 32]), &two));
        for other in [
            Claim::agent_token(d, b, c, &[7; 32]),
            Claim::agent_token(a, d, c, &[7; 32]),
            Claim::agent_token(a, b, d, &[7; 32]),
            Claim::agent_token(a, b, c, &[8; 32]),
            Claim::session_token("x", a, &[7; 32], "secrets"),
        ] {
            assert!(!holds(other, &one));
        }
        assert!(!Claim::agent_token(a, b, c, &[7; 32]).is_signed(&one, &mac[..31]));
        assert!(!Claim::agent_token(a, b, c, &[7; 32]).is_signed(&one, &[]));
    }

    #[test]
    fn a_token_is_bound_to_its_scope() {
        let key = derive(&generate().unwrap());
        let claim = |scope: &str| Claim::session_token("x", Uuid::nil(), &[7; 32], scope);
        for (scope, other) in [("secrets", "workspaces"), ("workspaces", "secrets")] {
            let mac = claim(scope).sign(&key);
            assert!(claim(scope).is_signed(&key, &mac) && !claim(other).is_signed(&key, &mac));
        }
    }

    #[test]
    fn a_public_key_is_bound_to_its_private_one_and_to_its_user() {
        let key = derive(&generate().unwrap());
        let [a, b] = [1, 2].map(Uuid::from_u128);
        let claim = |user, public: &str, private: &str| Claim::git_key(user, public, &Secret::from(private.to_owned()));
        let mac = claim(a, "public", "private").sign(&key);
        assert!(claim(a, "public", "private").is_signed(&key, &mac));
        for other in [claim(b, "public", "private"), claim(a, "other", "private"), claim(a, "public", "other")] {
            assert!(!other.is_signed(&key, &mac));
        }
    }
}
