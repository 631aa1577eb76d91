use super::{BufferTooSmall, DecodeError};
use serde::{Deserialize, Serialize};

/// Decodes one postcard value strictly: all of `bytes`, and only if it is the canonical encoding.
///
/// postcard itself accepts trailing bytes and varints that are longer than needed; so the value is encoded
/// again into `scratch` and compared.
///
/// # Errors
/// [`DecodeError`]: truncated, out of range, trailing bytes or not canonical; also [`DecodeError::OutOfRange`]
/// if `bytes` is longer than `scratch`.
pub fn decode_strict<'a, T: Deserialize<'a> + Serialize>(
    bytes: &'a [u8],
    scratch: &mut [u8],
) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).map_err(|error| match error {
        postcard::Error::DeserializeUnexpectedEnd => DecodeError::Truncated,
        _ => DecodeError::OutOfRange,
    })?;
    if !rest.is_empty() {
        return Err(DecodeError::TrailingBytes);
    }
    let scratch = scratch.get_mut(..bytes.len()).ok_or(DecodeError::OutOfRange)?;
    match postcard::to_slice(&value, scratch) {
        Ok(encoded) if *encoded == *bytes => Ok(value),
        _ => Err(DecodeError::NonCanonical),
    }
}

/// Encodes a value with postcard to the front of `out` and returns the bytes.
///
/// # Errors
/// [`BufferTooSmall`]; `needed` is then a lower bound, `out.len() + 1`.
pub fn encode_into<'o, T: Serialize>(value: &T, out: &'o mut [u8]) -> Result<&'o mut [u8], BufferTooSmall> {
    let needed = out.len().saturating_add(1);
    postcard::to_slice(value, out).map_err(|_| BufferTooSmall { needed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_trailing_bytes_and_long_varints() {
        let mut scratch = [0u8; 8];
        assert_eq!(decode_strict::<u32>(&[0x05], &mut scratch), Ok(5));
        assert_eq!(decode_strict::<u32>(&[0x05, 0], &mut scratch), Err(DecodeError::TrailingBytes));
        assert_eq!(decode_strict::<u32>(&[0x85, 0x00], &mut scratch), Err(DecodeError::NonCanonical));
        assert_eq!(decode_strict::<u32>(&[0x85], &mut scratch), Err(DecodeError::Truncated));
    }
}
