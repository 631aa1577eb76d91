//! What secrets must not do: show themselves, be copied, be compared byte by byte, be serialised, outlive their use.

use crate::crypto::{
    AeadKey, ChainKey, EphemeralSecret, EpochKeys, ExporterSecret, HedgeKey, NextSecret, Psk, PublicKey,
    ResumeSecret, SessionSecrets, SharedSecret, SignatureKey, SigningKey, StaticSecret,
};
use core::mem::needs_drop;
use std::format;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Fails to compile if the type has the trait: the method is then ambiguous.
macro_rules! assert_lacks {
    ($type:ty: $($lacked:path),+) => {$(
        const _: fn() = || {
            trait AmbiguousIfPresent<Marker> {
                fn probe() {}
            }
            impl<T: ?Sized> AmbiguousIfPresent<()> for T {}
            struct Present;
            impl<T: ?Sized + $lacked> AmbiguousIfPresent<Present> for T {}
            <$type as AmbiguousIfPresent<_>>::probe();
        };
    )+};
}

/// Holds for every secret type what can be held without its bytes. (That they are not `Clone`: `tests/secrets.rs`, as
/// the exploration of the rekey state machine clones them within this crate's own tests.)
macro_rules! secrets {
    ($($type:ty),+ $(,)?) => {
        $(assert_lacks! {
            $type: PartialEq, PartialOrd, core::hash::Hash, core::fmt::Display, core::fmt::LowerHex,
            Default, AsRef<[u8]>, serde::Serialize
        })+

        #[test]
        fn secrets_have_something_to_do_on_drop() {
            $(assert!(needs_drop::<$type>(), stringify!($type));)+
        }
    };
}

secrets! {
    StaticSecret, EphemeralSecret, SharedSecret, Psk, AeadKey, HedgeKey, SigningKey,
    ChainKey, NextSecret, ResumeSecret, ExporterSecret, SessionSecrets, EpochKeys,
}

#[cfg(feature = "handshake")]
assert_lacks!(crate::crypto::resolver::LocalKeys: Clone, core::fmt::Debug);

#[test]
fn secrets_are_wiped_on_drop() {
    fn wiped<T: ZeroizeOnDrop + Zeroize>() {}
    wiped::<StaticSecret>();
    wiped::<EphemeralSecret>();
    wiped::<SharedSecret>();
    wiped::<Psk>();
    wiped::<AeadKey>();
    wiped::<HedgeKey>();
    wiped::<SigningKey>();
    wiped::<ChainKey>();
    wiped::<NextSecret>();
    wiped::<ResumeSecret>();
    wiped::<ExporterSecret>();
}

/// `ZeroizeOnDrop` runs `zeroize`, which must reach the bytes.
#[test]
fn zeroize_reaches_the_bytes() {
    let mut key = StaticSecret::from_bytes([0xA5; 32]);
    key.zeroize();
    assert_eq!(*key.expose(), [0; 32]);

    let mut key = SigningKey::from_bytes([0xA5; 32]);
    key.zeroize();
    assert_eq!(*key.expose(), [0; 32]);

    let mut key = SharedSecret::from_bytes([0xA5; 32]);
    key.zeroize();
    assert_eq!(*key.bytes(), [0; 32]);

    let mut key = AeadKey::from_bytes([0xA5; 32]);
    key.zeroize();
    assert_eq!(key.seal(0, b"", &mut []), AeadKey::from_bytes([0; 32]).seal(0, b"", &mut []));
}

#[test]
fn debug_shows_the_type_and_nothing_of_the_key() {
    let bytes = [0xA5; 32];
    assert_eq!(format!("{:?}", StaticSecret::from_bytes(bytes)), "StaticSecret(…)");
    assert_eq!(format!("{:?}", EphemeralSecret::from_bytes(bytes)), "EphemeralSecret(…)");
    assert_eq!(format!("{:?}", SharedSecret::from_bytes(bytes)), "SharedSecret(…)");
    assert_eq!(format!("{:?}", Psk::from_bytes(bytes)), "Psk(…)");
    assert_eq!(format!("{:?}", AeadKey::from_bytes(bytes)), "AeadKey(…)");
    assert_eq!(format!("{:?}", HedgeKey::from_bytes(bytes)), "HedgeKey(…)");
    assert_eq!(format!("{:#?}", SigningKey::from_bytes(bytes)), "SigningKey(…)");
    assert_eq!(format!("{:?}", StaticSecret::from_bytes(bytes).hedge_key()), "HedgeKey(…)");
}

#[test]
fn debug_of_the_schedule_shows_no_key() {
    let secrets = || SessionSecrets::new([0x11; 32], &[0xA5; 64]);
    let hash = [0x11; 32];
    assert_eq!(
        format!("{:?}", secrets()),
        format!("SessionSecrets {{ chain: ChainKey(…), handshake_hash: {hash:?} }}")
    );
    assert_eq!(format!("{:?}", secrets().chain), "ChainKey(…)");
    assert_eq!(format!("{:?}", secrets().chain.exporter()), "ExporterSecret(…)");
    assert_eq!(
        format!("{:?}", secrets().chain.into_keys()),
        "EpochKeys { device_to_backend: AeadKey(…), backend_to_device: AeadKey(…), \
         resume: ResumeSecret(…), next: NextSecret(…) }"
    );
    assert_eq!(format!("{:?}", secrets().chain.into_keys().next.ratchet()), "ChainKey(…)");
}

#[test]
fn debug_of_a_public_key_is_short() {
    assert_eq!(format!("{:?}", PublicKey([0xA5; 32])), "PublicKey(a5a5a5a5…)");
    assert_eq!(format!("{:?}", SignatureKey([0xA5; 32])), "SignatureKey(a5a5a5a5…)");
}
