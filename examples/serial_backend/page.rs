//! The page that a device gets when it is made: its keys, its credential, and whom it trusts. Firmware and backend
//! share this file.
//!
//! It is read-only for the device. A product keeps the secrets in a secure element or in protected flash, and checks
//! there that nobody has changed the authority's key.

/// Identifies a page, and its version.
const MAGIC: [u8; 8] = *b"vwpage\0\x02";
const FIXED: usize = 8 + 5 * 32 + 8 + 2 + 2;
/// Bytes that always hold a page.
pub const PAGE_LEN: usize = 512;

/// What a page says.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    /// The device's static key, and its public half.
    pub secret: [u8; 32],
    pub public: [u8; 32],
    /// The authority's public key.
    pub authority: [u8; 32],
    /// Seals what the device stores.
    pub storage_key: [u8; 32],
    /// When it was made, in Unix seconds: the time floor of a device without a clock.
    pub made: u64,
    pub credential: &'a [u8],
    /// The backend's static public key and its credential, for a device that knows its backend and no authority.
    pub backend: [u8; 32],
    pub backend_credential: &'a [u8],
}

impl<'a> Page<'a> {
    /// Reads a page; `None` if there is none, as in a device that was never provisioned.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (secret, rest) = rest.split_first_chunk()?;
        let (public, rest) = rest.split_first_chunk()?;
        let (authority, rest) = rest.split_first_chunk()?;
        let (storage_key, rest) = rest.split_first_chunk()?;
        let (made, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (credential, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        let (backend, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let backend_credential = rest.get(..u16::from_le_bytes(*len).into())?;
        (*magic == MAGIC).then_some(Self {
            secret: *secret,
            public: *public,
            authority: *authority,
            storage_key: *storage_key,
            made: u64::from_le_bytes(*made),
            credential,
            backend: *backend,
            backend_credential,
        })
    }

    /// Writes a page to the front of `out`; `None` if it is too small.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let len = |bytes: &[u8]| Some(u16::try_from(bytes.len()).ok()?.to_le_bytes());
        let parts: [&[u8]; 11] = [
            &MAGIC,
            &self.secret,
            &self.public,
            &self.authority,
            &self.storage_key,
            &self.made.to_le_bytes(),
            &len(self.credential)?,
            self.credential,
            &self.backend,
            &len(self.backend_credential)?,
            self.backend_credential,
        ];
        let out = out.get_mut(..FIXED + self.credential.len() + self.backend_credential.len())?;
        let mut rest = &mut *out;
        for part in parts {
            let (to, behind) = rest.split_at_mut(part.len());
            to.copy_from_slice(part);
            rest = behind;
        }
        Some(out.len())
    }
}
