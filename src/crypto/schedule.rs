//! The key schedule: chain keys, the keys of an epoch, and what they hand on (SPEC.md, "Key schedule").

use super::{AeadKey, Psk, PublicKey, SharedSecret, expand, extract};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Makes a secret that only the schedule can make.
macro_rules! derived {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        // Only this crate's own tests copy secrets: the exploration of the rekey machine forks whole sessions.
        #[cfg_attr(test, derive(Clone))]
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        redacted! { $name }
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
    pub(crate) fn into_keys(self) -> EpochKeys {
        self.keys()
    }

    /// Derives the keys of this epoch. The caller overwrites the chain key when it moves there.
    pub(crate) fn keys(&self) -> EpochKeys {
        EpochKeys {
            device_to_backend: self.device_to_backend(),
            backend_to_device: AeadKey::from_bytes(*expand::<32>(&self.0, "b2d", [&[], &[]])),
            resume: ResumeSecret(*expand::<32>(&self.0, "resume", [&[], &[]])),
            next: NextSecret(*expand::<32>(&self.0, "next", [&[], &[]])),
        }
    }

    /// Derives the device-to-backend key alone: a backend needs the next epoch's before it moves there.
    pub(crate) fn device_to_backend(&self) -> AeadKey {
        AeadKey::from_bytes(*expand::<32>(&self.0, "d2b", [&[], &[]]))
    }

    /// Derives the exporter; epoch 0 only.
    pub(crate) fn exporter(&self) -> ExporterSecret {
        ExporterSecret(*expand::<32>(&self.0, "exporter", [&[], &[]]))
    }
}

impl NextSecret {
    /// The hash ratchet: `c_{e+1} = n_e`. The caller overwrites `n_e` when it moves.
    pub(crate) fn ratchet(&self) -> ChainKey {
        ChainKey(self.0)
    }

    /// The DH ratchet: `c_{e+1} = HKDF-Extract(n_e, dh ‖ label ‖ handshake hash ‖ e+1 ‖ device key ‖ backend key)`.
    ///
    /// The caller overwrites `n_e` with the result.
    pub(crate) fn ratchet_dh(
        &self,
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

impl ResumeSecret {
    /// Derives the psk of the ticket with this id: `Derive(resume_e, "ticket psk", id)`.
    pub fn ticket_psk(&self, id: &[u8; 16]) -> Psk {
        Psk::from_bytes(*expand::<32>(&self.0, "ticket psk", [id, &[]]))
    }
}

impl ExporterSecret {
    /// Derives `N` bytes for another use of the same session, bound to `label` and `context`.
    ///
    /// `HKDF-Expand(exporter, "vitalwire/1 export" ‖ BLAKE2s(label) ‖ context)`.
    pub fn export<const N: usize>(&self, label: &str, context: &[u8]) -> zeroize::Zeroizing<[u8; N]> {
        expand::<N>(&self.0, "export", [&super::hash_parts(&[label.as_bytes()]), context])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{EphemeralSecret, hazmat};

    fn bytes<const N: usize>(value: &serde_json::Value) -> [u8; N] {
        let hex = value.as_str().unwrap();
        assert_eq!(hex.len(), 2 * N);
        core::array::from_fn(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
    }

    fn assert_keys(keys: &EpochKeys, expected: &serde_json::Value) {
        let same = |key: &AeadKey, expected: &serde_json::Value| {
            assert_eq!(key.seal(7, b"aad", &mut [1]), hazmat::seal(&bytes(expected), 7, b"aad", &mut [1]));
        };
        same(&keys.device_to_backend, &expected["device_to_backend"]);
        same(&keys.backend_to_device, &expected["backend_to_device"]);
        assert_eq!(keys.resume.0, bytes::<32>(&expected["resume"]));
        assert_eq!(keys.next.0, bytes::<32>(&expected["next"]));
    }

    #[test]
    fn follows_the_vectors() {
        let text = include_str!("../../tests/vectors/key_schedule.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let hash = bytes(&vectors["handshake_hash"]);
        let secrets = SessionSecrets::new(hash, &bytes(&vectors["split_keys"]));
        assert_eq!(secrets.chain.0, bytes::<32>(&vectors["epochs"][0]["chain"]));
        let exporter = secrets.chain.exporter();
        assert_eq!(exporter.0, bytes::<32>(&vectors["exporter"]));
        let exported = exporter.export::<48>("alarm relay", b"ward 7");
        assert_eq!(*exported, bytes::<48>(&vectors["export"]["bytes"]));
        let keys = secrets.chain.into_keys();
        assert_keys(&keys, &vectors["epochs"][0]);

        let chain = keys.next.ratchet();
        assert_eq!(chain.0, bytes::<32>(&vectors["epochs"][1]["chain"]));
        let keys = chain.into_keys();
        assert_keys(&keys, &vectors["epochs"][1]);

        let ratchet = &vectors["dh_ratchet"];
        let device = EphemeralSecret::from_bytes(bytes(&ratchet["device_secret"]));
        let backend = EphemeralSecret::from_bytes(bytes(&ratchet["backend_secret"]));
        assert_eq!(device.public_key().0, bytes::<32>(&ratchet["device_public"]));
        assert_eq!(backend.public_key().0, bytes::<32>(&ratchet["backend_public"]));
        let shared = device.diffie_hellman(&backend.public_key()).unwrap();
        assert_eq!(*shared.bytes(), bytes::<32>(&ratchet["shared"]));
        let chain = keys.next.ratchet_dh(&shared, &hash, 2, &device.public_key(), &backend.public_key());
        assert_eq!(chain.0, bytes::<32>(&vectors["epochs"][2]["chain"]));
        assert_keys(&chain.keys(), &vectors["epochs"][2]);
    }
}
