//! Secrets are not `Clone`: checked from outside, on the library as it is shipped.

use vitalwire::crypto::{
    AeadKey, ChainKey, EphemeralSecret, EpochKeys, ExporterSecret, HedgeKey, NextSecret, Psk, ResumeSecret,
    ServiceKey, SessionSecrets, SharedSecret, SigningKey, StaticSecret, TicketKey,
};
use vitalwire::handshake::TicketKeys;
use vitalwire::session::Session;

/// Fails to compile if a type is `Clone`: the method is then ambiguous.
macro_rules! assert_not_clone {
    ($($type:ty),+ $(,)?) => {$(
        const _: fn() = || {
            trait AmbiguousIfClone<Marker> {
                fn probe() {}
            }
            impl<T: ?Sized> AmbiguousIfClone<()> for T {}
            struct Cloneable;
            impl<T: ?Sized + Clone> AmbiguousIfClone<Cloneable> for T {}
            <$type as AmbiguousIfClone<_>>::probe();
        };
    )+};
}

assert_not_clone! {
    StaticSecret, EphemeralSecret, SharedSecret, Psk, AeadKey, HedgeKey, SigningKey, ChainKey, NextSecret,
    ResumeSecret, ExporterSecret, SessionSecrets, EpochKeys, Session<2>, TicketKey, ServiceKey, TicketKeys,
}

/// Who may bring the bytes of a secret: only keys that are kept, or come from a second device, have such a constructor.
/// What must be new each time is drawn from an `Entropy`.
#[test]
fn no_constructor_takes_a_seed() {
    let keys = include_str!("../src/crypto/keys.rs");
    let from = |visibility: &str| -> Vec<_> {
        let end = format!(" from {visibility} bytes");
        keys.lines().filter_map(|line| line.trim().strip_suffix(&end).map(str::to_owned)).collect()
    };
    let kept = [
        "StaticSecret",
        "SharedSecret",
        "Psk",
        "HedgeKey",
        "StorageKey",
        "TicketKey",
        "ServiceKey",
        "SigningKey",
    ];
    assert_eq!(from("pub"), kept);
    assert_eq!(from("pub(crate)"), ["EphemeralSecret", "AeadKey"]);
    // Nobody keeps a generator, let alone one that can be told where to begin.
    let mut directories = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut seen = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                seen += 1;
                // AWS-LC's name for taking over a signing key: RFC 8032 calls its bytes a seed.
                let text =
                    std::fs::read_to_string(&path).unwrap().replace("KeyPair::from_seed_unchecked", "");
                for word in ["from_seed", "seed_from", "SeedableRng", "StdRng", "rand_core", "rand::"] {
                    assert!(!text.contains(word), "{}: {word}", path.display());
                }
            }
        }
    }
    assert!(seen > 100, "{seen} files");
}

#[test]
fn wiping_reaches_the_bytes() {
    use zeroize::Zeroize;
    let mut key = StaticSecret::from_bytes([0xa5; 32]);
    key.zeroize();
    assert_eq!(*key.expose(), [0; 32]);
}
