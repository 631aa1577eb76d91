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

#[test]
fn wiping_reaches_the_bytes() {
    use zeroize::Zeroize;
    let mut key = StaticSecret::from_bytes([0xa5; 32]);
    key.zeroize();
    assert_eq!(*key.expose(), [0; 32]);
}
