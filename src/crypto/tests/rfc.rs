//! RFC 7748, RFC 8032, RFC 8439, RFC 7693, and HMAC and HKDF over BLAKE2s.

use super::{array, list, text, unhex};
use crate::crypto::{EphemeralSecret, Forged, PublicKey, SignatureKey, SigningKey, StaticSecret, hazmat};
use serde_json::Value;
use std::vec;

fn x25519(scalar: [u8; 32], u: [u8; 32]) -> [u8; 32] {
    let fixed = *StaticSecret::from_bytes(scalar).diffie_hellman(&PublicKey(u)).unwrap().bytes();
    let ephemeral = *EphemeralSecret::from_bytes(scalar).diffie_hellman(&PublicKey(u)).unwrap().bytes();
    assert_eq!(fixed, ephemeral);
    fixed
}

#[test]
fn x25519_matches_rfc_7748_section_5_2() {
    for [scalar, u, out] in [
        [
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ],
        [
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ],
    ] {
        assert_eq!(x25519(array(scalar), array(u)), array(out));
    }
}

#[test]
fn x25519_iterated_matches_rfc_7748_section_5_2() {
    let [mut k, mut u] = [[0; 32]; 2];
    k[0] = 9;
    u[0] = 9;
    for round in 1..=1000 {
        (k, u) = (x25519(k, u), k);
        if round == 1 {
            assert_eq!(k, array("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"));
        }
    }
    assert_eq!(k, array("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
}

#[test]
fn diffie_hellman_matches_rfc_7748_section_6_1() {
    let alice = array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let bob = array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let alice_public = PublicKey(array("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
    let bob_public = PublicKey(array("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
    let shared = array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");

    assert_eq!(StaticSecret::from_bytes(alice).public_key(), alice_public);
    assert_eq!(EphemeralSecret::from_bytes(bob).public_key(), bob_public);
    assert_eq!(x25519(alice, bob_public.0), shared);
    assert_eq!(x25519(bob, alice_public.0), shared);
}

/// TEST 1, 2, 3, 1024 and SHA(abc).
#[test]
fn ed25519_matches_rfc_8032_section_7_1() {
    let file: Value = serde_json::from_str(include_str!("../../../tests/vectors/rfc8032.json")).unwrap();
    let cases = list(&file, "cases");
    assert_eq!(cases.len(), 5);
    for case in cases {
        let key = SigningKey::from_bytes(array(text(case, "seed")));
        let public = SignatureKey(array(text(case, "public")));
        let message = unhex(text(case, "message"));
        let signature = array(text(case, "signature"));
        assert_eq!(key.public_key(), public);
        assert_eq!(key.sign(&message), signature);
        assert_eq!(public.verify(&message, &signature), Ok(()));

        let mut longer = message.clone();
        longer.push(0);
        assert_eq!(public.verify(&longer, &signature), Err(Forged));
        for at in 0..64 {
            let mut forged = signature;
            forged[at] ^= 1 << (at % 8);
            assert_eq!(public.verify(&message, &forged), Err(Forged), "{} byte {at}", text(case, "name"));
        }
    }
}

/// The eight points of low order of Ed25519, and their six other encodings.
pub(super) const LOW_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

//= SPEC.md#credentials
//= type=test
//# A verifier MUST verify Ed25519 strictly: canonical encodings, no low-order points.
#[test]
fn refuses_low_order_keys_and_signature_points() {
    // With s = 0 and A and R of low order, the equation s·B = R + k·A, which is all that a lax verifier checks, holds for
    // at least every eighth message.
    for public in LOW_ORDER {
        for point in LOW_ORDER {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&array::<32>(point));
            for message in 0..16u8 {
                let result = SignatureKey(array(public)).verify(&[message], &signature);
                assert_eq!(result, Err(Forged), "A {public} R {point} message {message}");
            }
        }
    }
}

#[test]
fn blake2s_matches_rfc_7693_appendix_b() {
    let expected = array("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
    assert_eq!(hazmat::blake2s(b"abc"), expected);
}

/// No RFC has vectors for these: `tests/vectors/generate_hkdf.py` makes them with Python's `hashlib` and `hmac`.
#[test]
fn blake2s_hmac_and_hkdf_match_an_independent_implementation() {
    let file: Value = serde_json::from_str(include_str!("../../../tests/vectors/hkdf_blake2s.json")).unwrap();
    let [hashes, macs, derived] = ["hash", "hmac", "hkdf"].map(|field| list(&file, field));
    assert_eq!([hashes.len(), macs.len(), derived.len()], [14, 42, 48]);
    for case in hashes {
        assert_eq!(hazmat::blake2s(&unhex(text(case, "message"))), array(text(case, "hash")));
    }
    for case in macs {
        let mac = hazmat::hmac_blake2s(&array(text(case, "key")), &unhex(text(case, "message")));
        assert_eq!(mac, array(text(case, "mac")));
    }
    for case in derived {
        let length = usize::try_from(case["length"].as_u64().unwrap()).unwrap();
        let [ikm, info] = ["ikm", "info"].map(|field| unhex(text(case, field)));
        let mut okm = vec![0; length];
        assert!(hazmat::hkdf(&array(text(case, "salt")), &ikm, &info, &mut okm));
        match case.get("okm_blake2s") {
            Some(hash) => assert_eq!(hazmat::blake2s(&okm), array(hash.as_str().unwrap())),
            None => assert_eq!(okm, unhex(text(case, "okm"))),
        }
    }
}

#[test]
fn hkdf_gives_at_most_255_blocks() {
    assert!(hazmat::hkdf(&[0; 32], b"", b"", &mut [0; 8159]));
    assert!(hazmat::hkdf(&[0; 32], b"", b"", &mut [0; 8160]));
    assert!(!hazmat::hkdf(&[0; 32], b"", b"", &mut [0; 8161]));
}

/// RFC 8439, appendix A.5, whose nonce begins with four zero bytes.
///
/// The nonce of section 2.8.2 (07000000 ‖ 4041424344454647) does not, and our nonce form cannot express it:
/// `tests/vectors/generate_aead.py` is held to that vector and makes the others that stand in this file.
#[test]
fn chacha20poly1305_matches_rfc_8439() {
    let file: Value =
        serde_json::from_str(include_str!("../../../tests/vectors/chacha20poly1305.json")).unwrap();
    let cases = list(&file, "cases");
    assert_eq!(cases.len(), 100);
    assert_eq!(text(&cases[0], "name"), "RFC 8439, appendix A.5");
    assert_eq!(text(&cases[0], "tag"), "eead9d67890cbb22392336fea1851f38");
    for case in cases {
        let [aad, plaintext, ciphertext] =
            ["aad", "plaintext", "ciphertext"].map(|field| unhex(text(case, field)));
        let counter = text(case, "counter").parse().unwrap();
        seals_and_opens(
            &array(text(case, "key")),
            counter,
            &aad,
            &plaintext,
            &ciphertext,
            &array(text(case, "tag")),
        );
    }
}

/// Holds one AEAD vector in both directions, and that no altered form of it opens or changes the body.
pub(super) fn seals_and_opens(
    key: &[u8; 32],
    counter: u64,
    aad: &[u8],
    plaintext: &[u8],
    ciphertext: &[u8],
    tag: &[u8; 16],
) {
    let mut body = plaintext.to_vec();
    assert_eq!(hazmat::seal(key, counter, aad, &mut body).as_ref(), Some(tag));
    assert_eq!(body, ciphertext);
    assert_eq!(hazmat::open(key, counter, aad, &mut body, tag), Ok(()));
    assert_eq!(body, plaintext);

    let refuses = |counter, aad: &[u8], body: &[u8], tag: &[u8; 16]| {
        let mut left = body.to_vec();
        assert_eq!(hazmat::open(key, counter, aad, &mut left, tag), Err(Forged));
        assert_eq!(left, body, "a failed open changed the body");
    };
    for bit in 0..128 {
        let mut altered = *tag;
        altered[bit / 8] ^= 1 << (bit % 8);
        refuses(counter, aad, ciphertext, &altered);
    }
    for at in 0..ciphertext.len() {
        let mut altered = ciphertext.to_vec();
        altered[at] ^= 1 << (at % 8);
        refuses(counter, aad, &altered, tag);
    }
    for at in 0..aad.len() {
        let mut altered = aad.to_vec();
        altered[at] ^= 1 << (at % 8);
        refuses(counter, &altered, ciphertext, tag);
    }
    for bit in 0..64 {
        refuses(counter ^ (1 << bit), aad, ciphertext, tag);
    }
    if let Some((_, shorter)) = ciphertext.split_last() {
        refuses(counter, aad, shorter, tag);
    }
}
