//! The bare ciphers: ChaCha20-Poly1305 of ring and of AWS-LC with the key kept expanded, and of vitalwire's provider.

use crate::measure::Contender;
use std::hint::black_box;
use vitalwire::crypto::{PROVIDER, hazmat};

pub(crate) const RING: &str = "ring, AEAD alone";
/// The header of a packet of vitalwire.
pub(crate) const AAD: [u8; 7] = [0x88, 1, 2, 3, 4, 5, 9];
pub(crate) const TAG: usize = 16;

/// The name of the row of this build's provider.
pub(crate) fn provider() -> String {
    format!("{PROVIDER}, AEAD alone (our provider)")
}

/// A key of each library, as their own users keep it.
macro_rules! kept {
    ($library:ident) => {
        pub(crate) mod $library {
            use super::{AAD, TAG};
            use $library::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

            pub(crate) struct Key(LessSafeKey);

            fn nonce(counter: u64) -> Nonce {
                let mut nonce = [0u8; 12];
                nonce[4..].copy_from_slice(&counter.to_le_bytes());
                Nonce::assume_unique_for_key(nonce)
            }

            impl Key {
                pub(crate) fn new(key: &[u8; 32]) -> Self {
                    Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes")))
                }

                /// Seals all but the last 16 bytes, which become the tag.
                pub(crate) fn seal(&self, counter: u64, packet: &mut [u8]) {
                    let (body, tag) = packet.split_last_chunk_mut::<TAG>().expect("room for a tag");
                    let sealed = self.0.seal_in_place_separate_tag(nonce(counter), Aad::from(&AAD), body);
                    tag.copy_from_slice(sealed.expect("short enough").as_ref());
                }

                pub(crate) fn open(&self, counter: u64, packet: &mut [u8]) {
                    self.0.open_in_place(nonce(counter), Aad::from(&AAD), packet).expect("genuine");
                }
            }
        }
    };
}

kept!(ring);
kept!(aws_lc_rs);

/// The same of our provider, whose callers keep 32 bytes.
pub(crate) fn seal(key: &[u8; 32], counter: u64, packet: &mut [u8]) {
    let (body, tag) = packet.split_last_chunk_mut::<TAG>().expect("room for a tag");
    *tag = hazmat::seal(key, counter, &AAD, body).expect("short enough");
}

pub(crate) fn open(key: &[u8; 32], counter: u64, packet: &mut [u8]) {
    let (body, tag) = packet.split_last_chunk_mut::<TAG>().expect("it has a tag");
    hazmat::open(key, counter, &AAD, body, tag).expect("genuine");
}

/// Seal and open of so many bytes.
pub(crate) fn passes(len: usize) -> [Contender<'static>; 3] {
    const KEY: [u8; 32] = [7; 32];
    let (first, second) = (ring::Key::new(&KEY), aws_lc_rs::Key::new(&KEY));
    let [mut one, mut two, mut three] = std::array::from_fn(|_| vec![0x55u8; len + TAG]);
    let (mut at, mut also, mut last) = (0, 0, 0);
    [
        Contender::each(RING, move || {
            at += 1;
            first.seal(at, &mut one);
            first.open(at, black_box(&mut one));
        }),
        Contender::each("AWS-LC, AEAD alone", move || {
            also += 1;
            second.seal(also, &mut two);
            second.open(also, black_box(&mut two));
        }),
        Contender::each(provider(), move || {
            last += 1;
            seal(black_box(&KEY), last, &mut three);
            open(black_box(&KEY), last, black_box(&mut three));
        }),
    ]
}
