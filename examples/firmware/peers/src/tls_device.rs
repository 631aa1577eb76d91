//! How the device's end of the TLS session is made: a key that both ends were given, so that neither needs
//! certificates, and random numbers that are none, so that every run is the same.

use crate::fixed::Fixed;
use embedded_tls::{Aes128GcmSha256, TlsConfig, TlsContext, UnsecureProvider};

/// The lengths of the records that are measured, in bytes.
pub const RECORDS: [usize; 4] = [16, 48, 64, 256];

/// Room for one record of the link in each direction: 512 bytes, and TLS's overhead. A server that sends more at once,
/// as most do with certificates, needs up to 16 640.
pub const BUFFER: usize = 640;

pub const SECRET: &[u8] = &[7; 32];
pub const IDENTITY: &[u8] = b"patch-0001";

pub fn config() -> TlsConfig<'static> {
    TlsConfig::new().with_psk(SECRET, &[IDENTITY])
}

/// The provider's name means that it verifies no certificate; with a pre-shared key there is none.
pub fn context<'c>(
    config: &'c TlsConfig<'c>,
) -> TlsContext<'c, UnsecureProvider<'static, Aes128GcmSha256, Fixed>> {
    TlsContext::new(config, UnsecureProvider::new(Fixed(1)))
}
