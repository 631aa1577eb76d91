//! The key schedule: chain keys, the keys of an epoch, and what they hand on (SPEC.md, "Key schedule").

use super::{AeadKey, PublicKey, SharedSecret, expand, extract};
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Makes a secret that only the schedule can make.
macro_rules! derived {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

derived! {
    /// `c_e`: from it the keys of epoch e follow; it is erased as soon as they have.
    ChainKey
}
derived! {
    /// `n_e`: from it the chain key of epoch e + 1 follows.
    NextSecret
}
derived! {
    /// `resume_e`: the seed of tickets given out in epoch e. Lives as long as that epoch's receive key.
    ResumeSecret
}
derived! {
    /// The exporter secret of a session, from epoch 0 only (after the manner of RFC 8446, section 7.5).
    ExporterSecret
}

/// What one handshake establishes: the seed of a session.
#[derive(Debug)]
pub struct SessionSecrets {
    pub(crate) chain: ChainKey,
    pub(crate) handshake_hash: [u8; 32],
}

/// The keys of one epoch.
#[derive(Debug)]
pub struct EpochKeys {
    pub(crate) device_to_backend: AeadKey,
    pub(crate) backend_to_device: AeadKey,
    pub(crate) resume: ResumeSecret,
    pub(crate) next: NextSecret,
}

impl SessionSecrets {
    /// Derives `c_0 = HKDF-Extract(handshake hash, k1 ‖ k2)` from a finished Noise handshake.
    ///
    /// `split_keys` are the two keys of Noise's `Split()`, in its order (Noise specification, section 5.2).
    /// Those who bring another handshake give 64 bytes that only the two ends know, and a transcript hash.
    pub fn new(handshake_hash: [u8; 32], split_keys: &[u8; 64]) -> Self {
        Self { chain: ChainKey(*extract(&handshake_hash, &[split_keys])), handshake_hash }
    }
}

impl ChainKey {
    /// Derives the keys of this epoch and erases the chain key.
    //= SPEC.md#key-schedule
    //# An end MUST erase c_e as soon as the epoch's keys are derived, and n_e as soon as c_(e+1) is.
    pub(crate) fn into_keys(self) -> EpochKeys {
        EpochKeys {
            device_to_backend: AeadKey::from_bytes(*expand::<32>(&self.0, "d2b", &[])),
            backend_to_device: AeadKey::from_bytes(*expand::<32>(&self.0, "b2d", &[])),
            resume: ResumeSecret(*expand::<32>(&self.0, "resume", &[])),
            next: NextSecret(*expand::<32>(&self.0, "next", &[])),
        }
    }

    /// Derives the exporter; epoch 0 only.
    pub(crate) fn exporter(&self) -> ExporterSecret {
        ExporterSecret(*expand::<32>(&self.0, "exporter", &[]))
    }
}

impl NextSecret {
    /// The hash ratchet: `c_{e+1} = n_e`.
    pub(crate) fn ratchet(self) -> ChainKey {
        ChainKey(self.0)
    }

    /// The DH ratchet: `c_{e+1} = HKDF-Extract(n_e, dh ‖ label ‖ handshake hash ‖ e+1 ‖ device key ‖ backend key)`.
    pub(crate) fn ratchet_dh(
        self,
        shared: &SharedSecret,
        handshake_hash: &[u8; 32],
        next_epoch: u64,
        device: &PublicKey,
        backend: &PublicKey,
    ) -> ChainKey {
        let epoch = next_epoch.to_le_bytes();
        let ikm: [&[u8]; 6] =
            [shared.bytes(), b"vitalwire/1 dh ratchet", handshake_hash, &epoch, &device.0, &backend.0];
        ChainKey(*extract(&self.0, &ikm))
    }
}

impl ExporterSecret {
    /// Derives `N` bytes for another use of the same session, bound to `label` and `context`.
    ///
    /// `HKDF-Expand(exporter, "vitalwire/1 export" ‖ BLAKE2s(label) ‖ context)`.
    pub fn export<const N: usize>(&self, label: &str, context: &[u8]) -> zeroize::Zeroizing<[u8; N]> {
        expand::<N>(&self.0, "export", &[&super::hash_parts(&[label.as_bytes()]), context])
    }
}
