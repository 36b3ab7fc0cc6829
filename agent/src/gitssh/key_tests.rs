use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey};

use super::*;

/// Made by `ssh-keygen` for these tests: `-t ed25519`, `-t ecdsa -m PEM`, `-t rsa -b 2048 -m PEM`.
const ED25519_KEY: [&str; 2] = [include_str!("testdata/ed25519"), include_str!("testdata/ed25519.pub")];
const ECDSA_KEY: [&str; 2] = [include_str!("testdata/ecdsa"), include_str!("testdata/ecdsa.pub")];
const RSA_KEY: [&str; 2] = [include_str!("testdata/rsa"), include_str!("testdata/rsa.pub")];

fn wire([private, public]: [&str; 2]) -> AgentGitSshKey {
    AgentGitSshKey { public_key: public.to_owned(), private_key: Secret::from(private.to_owned()) }
}

fn fields(mut blob: &[u8]) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| Vec::decode(&mut blob).ok()).collect()
}

#[test]
fn an_ed25519_key_of_openssh_signs() {
    let key = GitKey::new(wire(ED25519_KEY)).unwrap();
    let public = fields(key.public().blob()).remove(1);
    let signature = fields(&key.sign(b"data", 0).unwrap());
    assert_eq!(signature[0], b"ssh-ed25519");
    UnparsedPublicKey::new(&ED25519, public).verify(b"data", &signature[1]).unwrap();
}

#[test]
fn an_ecdsa_key_signs_with_two_numbers_that_are_never_negative() {
    let key = GitKey::new(wire(ECDSA_KEY)).unwrap();
    let point = fields(key.public().blob()).remove(2);
    // Half of all numbers start with a set bit, so this many try both forms.
    for _ in 0..16 {
        let signature = fields(&key.sign(b"data", 0).unwrap());
        assert_eq!(signature[0], b"ecdsa-sha2-nistp256");
        let numbers = fields(&signature[1]);
        let fixed: Vec<u8> = numbers
            .iter()
            .flat_map(|number| {
                assert!(number[0] < 0x80);
                let digits = number.strip_prefix(&[0]).unwrap_or(number);
                [&vec![0; 32 - digits.len()], digits].concat()
            })
            .collect();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).verify(b"data", &fixed).unwrap();
    }
}

#[test]
fn an_rsa_key_signs_with_sha2_and_never_with_sha1() {
    let key = GitKey::new(wire(RSA_KEY)).unwrap();
    let signature = fields(&key.sign(b"data", RSA_SHA2_512).unwrap());
    assert_eq!(signature[0], b"rsa-sha2-512");
    let numbers = fields(key.public().blob());
    let modulus = numbers[2].strip_prefix(&[0]).unwrap();
    let public = ring::signature::RsaPublicKeyComponents { n: modulus, e: &numbers[1] };
    public.verify(&RSA_PKCS1_2048_8192_SHA512, b"data", &signature[1]).unwrap();
    assert_eq!(fields(&key.sign(b"data", RSA_SHA2_256).unwrap())[0], b"rsa-sha2-256");
    assert!(matches!(key.sign(b"data", 0), Err(KeyError::Sign)));
}

#[test]
fn what_is_no_pair_is_refused_without_being_shown() {
    let secret = "AAAAhunter2";
    for (private, public) in [
        ("", ED25519_KEY[1]),
        (secret, ED25519_KEY[1]),
        (ED25519_KEY[0], ""),
        (ED25519_KEY[0], "ssh-ed25519 !"),
        (ED25519_KEY[0], "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA"),
        (ED25519_KEY[0], ECDSA_KEY[1]),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", ED25519_KEY[1]),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n",
            ED25519_KEY[1],
        ),
        ("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", ECDSA_KEY[1]),
    ] {
        let error = GitKey::new(wire([private, public])).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[test]
fn debug_shows_no_private_key() {
    let shown = format!("{:?}", GitKey::new(wire(ED25519_KEY)).unwrap());
    assert!(shown.contains("Guarded(***)"), "{shown}");
}
