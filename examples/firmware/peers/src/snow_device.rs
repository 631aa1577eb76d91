//! How both ends of the Noise session are made: with snow's own primitives, and random numbers that are none, so that
//! every run is the same. Never do this in a device.

extern crate alloc;

use alloc::boxed::Box;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, Error};

/// The lengths of the records that are measured, in bytes.
pub const RECORDS: [usize; 4] = [16, 48, 64, 256];

/// The same primitives as the device of `vitalwire` has.
const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";

struct Fixed(u64);

impl Random for Fixed {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
        Ok(())
    }
}

/// snow's default resolver, which without an operating system has no random numbers.
struct Resolver(u8);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Fixed(self.0.into())))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// Prepares one end. `end` sets it apart: its static key and its random numbers come from it.
pub fn builder(end: u8) -> Result<Builder<'static>, Error> {
    const KEYS: [[u8; 32]; 3] = [[0; 32], [1; 32], [2; 32]];
    let key = KEYS.get(usize::from(end)).ok_or(Error::Input)?;
    Builder::with_resolver(PATTERN.parse()?, Box::new(Resolver(end))).local_private_key(key)
}
