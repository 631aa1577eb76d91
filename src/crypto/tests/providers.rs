//! The two providers side by side: whatever comes in, the same bytes and the same refusals come out.

use super::edges::edges;
use super::rfc::LOW_ORDER;
use super::{array, wycheproof};
use crate::crypto::{
    DhError, EphemeralSecret, Forged, Provider, PublicKey, SignatureKey, SigningKey, StaticSecret, hazmat,
    take_calls, with_provider,
};
use core::fmt::Debug;
use proptest::prelude::*;
use std::vec::Vec;

/// Does `work` with either provider, and returns what both agree on.
fn both<T: PartialEq + Debug>(mut work: impl FnMut() -> T) -> T {
    take_calls();
    let pure = with_provider(Provider::Pure, &mut work);
    let [calls, none] = take_calls();
    let aws_lc = with_provider(Provider::AwsLc, &mut work);
    assert_eq!((none, take_calls()), (0, [0, calls]), "each was asked, and only it");
    assert_ne!(calls, 0);
    assert_eq!(pure, aws_lc);
    pure
}

fn bytes32() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

/// Lengths around the blocks of the cipher, and around the copies that `aws_lc::aead_open` makes.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let edges = [0usize, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 511, 512, 513, 2047, 2048, 2049, 65_535];
    let len = prop_oneof![3 => prop::sample::select(edges.to_vec()), 5 => 0usize..600];
    (len, any::<u8>(), any::<u8>()).prop_map(|(len, first, step)| {
        (0..len).map(|at| first.wrapping_add(step.wrapping_mul(at as u8))).collect()
    })
}

/// An alteration of a sealed message: which part, and which bit of it.
#[derive(Clone, Copy, Debug)]
enum Altered {
    Tag,
    Body,
    Aad,
    Counter,
    Key,
}

fn altered() -> impl Strategy<Value = Altered> {
    prop::sample::select(std::vec![Altered::Tag, Altered::Body, Altered::Aad, Altered::Counter, Altered::Key])
}

fn flip(bytes: &mut [u8], bit: usize) {
    if !bytes.is_empty() {
        let bit = bit % (8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

proptest! {
    #[test]
    fn the_same_is_sealed_and_opened(
        key in bytes32(),
        counter: u64,
        aad in prop::collection::vec(any::<u8>(), 0..70),
        body in body(),
        altered in altered(),
        bit: usize,
    ) {
        let (ciphertext, tag) = both(|| {
            let mut sealed = body.clone();
            let tag = hazmat::seal(&key, counter, &aad, &mut sealed).unwrap();
            (sealed, tag)
        });
        let opened = both(|| {
            let mut opened = ciphertext.clone();
            (hazmat::open(&key, counter, &aad, &mut opened, &tag), opened)
        });
        prop_assert_eq!(opened, (Ok(()), body));

        let mut hostile = (key, counter.to_le_bytes(), aad, ciphertext, tag);
        let before = hostile.clone();
        match altered {
            Altered::Key => flip(&mut hostile.0, bit),
            Altered::Counter => flip(&mut hostile.1, bit),
            Altered::Aad => flip(&mut hostile.2, bit),
            Altered::Body => flip(&mut hostile.3, bit),
            Altered::Tag => flip(&mut hostile.4, bit),
        }
        let unaltered = hostile == before;
        let (key, counter, aad, ciphertext, tag) = hostile;
        let (result, left) = both(|| {
            let mut opened = ciphertext.clone();
            (hazmat::open(&key, u64::from_le_bytes(counter), &aad, &mut opened, &tag), opened)
        });
        prop_assert_eq!(result, if unaltered { Ok(()) } else { Err(Forged) });
        prop_assert!(unaltered || left == ciphertext, "a message that is refused stays as it was");
    }

    #[test]
    fn the_same_secrets_are_agreed(secret in bytes32(), other in bytes32(), point in bytes32(), small in 0u8..=0x12) {
        // Any 32 bytes are a point; so is the public key of another, and what is not below p.
        let mut above = [0xff; 32];
        above[0] = 0xed + small;
        above[31] = 0x7f | (point[31] & 0x80);
        let public = both(|| EphemeralSecret::from_bytes(other).public_key());
        for point in [point, public.0, above] {
            _ = both(|| exchange(secret, PublicKey(point)));
        }
        prop_assert_eq!(both(|| StaticSecret::from_bytes(other).public_key()), public);
    }

    #[test]
    fn the_same_is_signed_and_verified(
        seed in bytes32(),
        message in prop::collection::vec(any::<u8>(), 0..300),
        junk in bytes32(),
        altered in altered(),
        bit: usize,
    ) {
        let (key, mut signature) = both(|| {
            let key = SigningKey::from_bytes(seed);
            (key.public_key(), key.sign(&message))
        });
        prop_assert_eq!(both(|| key.verify(&message, &signature)), Ok(()));
        let (genuine, mut key, mut message) = (signature, key.0, message);
        match altered {
            Altered::Key => flip(&mut key, bit),
            Altered::Aad => message.push(bit as u8),
            Altered::Body => signature[..32].copy_from_slice(&junk),
            Altered::Counter => signature[32..].copy_from_slice(&junk),
            Altered::Tag => flip(&mut signature, bit),
        }
        prop_assert_eq!(both(|| SignatureKey(key).verify(&message, &signature)), Err(Forged));
        prop_assert_eq!(both(|| SignatureKey(junk).verify(&message, &genuine)), Err(Forged));
    }
}

/// Both kinds of secret, the fixed one twice: at the second time it is prepared.
fn exchange(secret: [u8; 32], public: PublicKey) -> Result<[u8; 32], DhError> {
    let fixed = StaticSecret::from_bytes(secret);
    let first = fixed.diffie_hellman(&public).map(|shared| *shared.bytes());
    let second = fixed.diffie_hellman(&public).map(|shared| *shared.bytes());
    let once = EphemeralSecret::from_bytes(secret).diffie_hellman(&public).map(|shared| *shared.bytes());
    assert_eq!((first, second), (once, once));
    once
}

#[test]
fn low_order_points_of_x25519_are_refused_by_both() {
    // Order 1, 2, 4 and 8, and what is equal to these modulo p; each with the top bit, which does not count.
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        for top in [0, 0x80] {
            let mut point: [u8; 32] = array(point);
            point[31] |= top;
            for secret in [[0; 32], [1; 32], [0xff; 32]] {
                assert_eq!(both(|| exchange(secret, PublicKey(point))), Err(DhError), "{point:02x?}");
            }
        }
    }
}

#[test]
fn edges_of_ed25519_are_the_same_to_both() {
    for edge in edges() {
        let result = both(|| edge.key.verify(&edge.message, &edge.signature));
        assert_eq!(result.is_ok(), edge.accepted);
    }
    for public in LOW_ORDER {
        for point in LOW_ORDER {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&array::<32>(point));
            for message in 0..8u8 {
                let result = both(|| SignatureKey(array(public)).verify(&[message], &signature));
                assert_eq!(result, Err(Forged));
            }
        }
    }
}

/// s + L is the same scalar as s, and no canonical one.
#[test]
fn another_encoding_of_s_is_refused_by_both() {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    for message in 0..16u8 {
        let key = SigningKey::from_bytes([message; 32]);
        let mut signature = key.sign(&[message]);
        let mut carry = 0u16;
        for (to, add) in signature[32..].iter_mut().zip(L) {
            carry += u16::from(*to) + u16::from(add);
            *to = carry as u8;
            carry >>= 8;
        }
        assert_eq!(carry, 0);
        let public = key.public_key();
        assert_eq!(both(|| public.verify(&[message], &signature)), Err(Forged));
    }
}

/// The published sets under the provider that the features did not choose. Under the other they run as they are.
#[test]
fn wycheproof_holds_for_the_pure_provider_too() {
    take_calls();
    with_provider(Provider::Pure, || {
        wycheproof::x25519_agrees_and_refuses_all_zero_results();
        wycheproof::ed25519_verifies_strictly();
        wycheproof::chacha20poly1305_opens_what_our_nonce_can_express();
    });
    let [pure, aws_lc] = take_calls();
    assert!(pure > 1000 && aws_lc == 0);
}
