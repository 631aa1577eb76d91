//! What both ends of the EDHOC session are made of: the keys of RFC 9529, section 3 (lakers' own test vectors), and
//! random numbers that are none, so that every run is the same. Never do this in a device.

use crate::fixed::Fixed;
use lakers::{BytesCcmIvLen, BytesCcmKeyLen, BytesP256ElemLen, Credential, CryptoTrait, EDHOCError};
use lakers::{EdhocMessageBuffer, MAX_BUFFER_LEN};
use lakers_crypto_rustcrypto::Crypto;

/// The lengths of the records that are measured, in bytes: what fits lakers' buffers.
pub const RECORDS: [usize; 3] = [16, 48, 64];

/// The primitives of one end.
pub const fn crypto(end: u64) -> Crypto<Fixed> {
    Crypto::new(Fixed(end))
}

pub const fn device_key() -> BytesP256ElemLen {
    *b"\xfb\x13\xad\xeb\x65\x18\xce\xe5\xf8\x84\x17\x66\x08\x41\x14\x2e\
       \x83\x0a\x81\xfe\x33\x43\x80\xa9\x53\x40\x6a\x13\x05\xe8\x70\x6b"
}

pub fn device_credential() -> Result<Credential, EDHOCError> {
    Credential::parse_ccs(
        b"\xa2\x02\x77\x34\x32\x2d\x35\x30\x2d\x33\x31\x2d\x46\x46\x2d\x45\
          \x46\x2d\x33\x37\x2d\x33\x32\x2d\x33\x39\x08\xa1\x01\xa5\x01\x02\
          \x02\x41\x2b\x20\x01\x21\x58\x20\xac\x75\xe9\xec\xe3\xe5\x0b\xfc\
          \x8e\xd6\x03\x99\x88\x95\x22\x40\x5c\x47\xbf\x16\xdf\x96\x66\x0a\
          \x41\x29\x8c\xb4\x30\x7f\x7e\xb6\x22\x58\x20\x6e\x5d\xe6\x11\x38\
          \x8a\x4b\x8a\x82\x11\x33\x4a\xc7\xd3\x7e\xcb\x52\xa3\x87\xd2\x57\
          \xe6\xdb\x3c\x2a\x93\xdf\x21\xff\x3a\xff\xc8",
    )
}

pub fn far_credential() -> Result<Credential, EDHOCError> {
    Credential::parse_ccs(
        b"\xa2\x02\x60\x08\xa1\x01\xa5\x01\x02\x02\x41\x0a\x20\x01\x21\x58\
          \x20\xbb\xc3\x49\x60\x52\x6e\xa4\xd3\x2e\x94\x0c\xad\x2a\x23\x41\
          \x48\xdd\xc2\x17\x91\xa1\x2a\xfb\xcb\xac\x93\x62\x20\x46\xdd\x44\
          \xf0\x22\x58\x20\x45\x19\xe2\x57\x23\x6b\x2a\x0c\xe2\x02\x3f\x09\
          \x31\xf1\xf3\x86\xca\x7a\xfd\xa6\x4f\xcd\xe0\x10\x8c\x22\x4c\x51\
          \xea\xbf\x60\x72",
    )
}

/// The keys of a session. lakers ends with their export and leaves records to OSCORE, which it does not have: this
/// seals with OSCORE's algorithm (AES-CCM-16-64-128) and adds no header of its own.
pub struct Keys {
    crypto: Crypto<Fixed>,
    secret: BytesCcmKeyLen,
    salt: [u8; 8],
}

impl Keys {
    /// Exports the master secret (label 0) and the salt (label 1): RFC 9528, appendix A.1.
    pub fn new(mut export: impl FnMut(u8, usize) -> [u8; MAX_BUFFER_LEN]) -> Self {
        let mut keys = Self { crypto: crypto(0), secret: [0; 16], salt: [0; 8] };
        let (secret, salt) = (export(0, 16), export(1, 8));
        for (to, from) in keys.secret.iter_mut().zip(secret) {
            *to = from;
        }
        for (to, from) in keys.salt.iter_mut().zip(salt) {
            *to = from;
        }
        keys
    }

    pub fn seal(&mut self, end: u8, number: u8, record: &[u8]) -> Result<EdhocMessageBuffer, EDHOCError> {
        let record = EdhocMessageBuffer::new_from_slice(record).map_err(|_| EDHOCError::ParsingError)?;
        let nonce = self.nonce(end, number);
        Ok(self.crypto.aes_ccm_encrypt_tag_8(&self.secret, &nonce, &[], &record))
    }

    pub fn open(&mut self, end: u8, number: u8, sealed: &[u8]) -> Result<EdhocMessageBuffer, EDHOCError> {
        let sealed = EdhocMessageBuffer::new_from_slice(sealed).map_err(|_| EDHOCError::ParsingError)?;
        let nonce = self.nonce(end, number);
        self.crypto.aes_ccm_decrypt_tag_8(&self.secret, &nonce, &[], &sealed)
    }

    fn nonce(&self, end: u8, number: u8) -> BytesCcmIvLen {
        let [a, b, c, d, e, f, g, h] = self.salt;
        [a, b, c, d, e, f, g, h, 0, 0, 0, end, number]
    }
}
