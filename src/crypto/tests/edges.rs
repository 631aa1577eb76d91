//! Ed25519 signatures that a key's owner may forge with points of mixed order. RFC 8032 leaves verifiers a choice there:
//! ours is the equation without the cofactor, and no `A` and no `R` of low order (SPEC.md, "Credentials"). So there is
//! one answer, whoever provides the curve.

use crate::crypto::{Forged, SignatureKey};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest, Sha512};
use std::vec::Vec;

/// A signature, and whether it has to be accepted.
pub(super) struct Edge {
    pub(super) key: SignatureKey,
    pub(super) message: [u8; 2],
    pub(super) signature: [u8; 64],
    pub(super) accepted: bool,
}

impl Edge {
    /// Signs for `A = a·B + t_a` with `R = r·B + t_r`: the best that one can do who knows `a` and `r`.
    fn forge(a: u64, t_a: EdwardsPoint, r: u64, t_r: EdwardsPoint, message: [u8; 2]) -> Self {
        let (a, r) = (Scalar::from(a), Scalar::from(r));
        let key = (ED25519_BASEPOINT_POINT * a + t_a).compress().to_bytes();
        let point = (ED25519_BASEPOINT_POINT * r + t_r).compress().to_bytes();
        let hash = Sha512::new().chain_update(point).chain_update(key).chain_update(message).finalize();
        let k = Scalar::from_bytes_mod_order_wide(&hash.into());
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&point);
        signature[32..].copy_from_slice((r + k * a).as_bytes());
        // s·B - R - k·A = - t_r - k·t_a
        let holds = t_r + t_a * k == EIGHT_TORSION[0];
        let accepted = holds && a != Scalar::ZERO && r != Scalar::ZERO;
        Self { key: SignatureKey(key), message, signature, accepted }
    }
}

/// Every pair of torsion components, with and without a part of prime order, over a few messages.
pub(super) fn edges() -> Vec<Edge> {
    let mut edges = Vec::new();
    for (a, r) in [(3, 5), (3, 0), (0, 5), (0, 0)] {
        for t_a in EIGHT_TORSION {
            for t_r in EIGHT_TORSION {
                edges.extend((0..4).map(|n| Edge::forge(a, t_a, r, t_r, [n, a as u8])));
            }
        }
    }
    edges
}

//= SPEC.md#credentials
//= type=test
//# A verifier MUST verify Ed25519 strictly: canonical encodings, no low-order points.
#[test]
fn mixed_order_is_decided_without_the_cofactor() {
    let (mut accepted, mut refused) = (0, 0);
    for Edge { key, message, signature, accepted: expected } in edges() {
        let result = key.verify(&message, &signature);
        assert_eq!(result, if expected { Ok(()) } else { Err(Forged) }, "{key:02x?} {signature:02x?}");
        if expected { accepted += 1 } else { refused += 1 }
    }
    // A cofactored verifier would accept all 256 with parts of prime order.
    assert_eq!(accepted + refused, 1024);
    assert!((16..128).contains(&accepted), "{accepted}");
}
