//! Published vectors and the rules of this module, all through our own wrappers.
//!
//! Where a vector comes from is said in its file and in `tests/vectors`. The vectors run under the provider that the
//! features choose, and `providers` holds the two against each other. `edges` forges signatures, so it names dalek.

mod edges;
mod hygiene;
#[cfg(feature = "aws-lc-rs")]
mod providers;
mod rfc;
mod wycheproof;

#[cfg(feature = "handshake")]
mod failed_reads;
#[cfg(feature = "handshake")]
mod low_order;
#[cfg(feature = "handshake")]
mod noise;
#[cfg(feature = "handshake")]
mod party;

use serde_json::Value;
use std::vec::Vec;

/// Decodes lower-case hex; panics on anything else.
fn unhex(text: &str) -> Vec<u8> {
    assert!(text.is_ascii() && text.len().is_multiple_of(2), "not hex: {text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Decodes hex of exactly `N` bytes.
fn array<const N: usize>(text: &str) -> [u8; N] {
    unhex(text).try_into().unwrap()
}

/// The text in a field of a vector.
fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("no text in field {field}"))
}

/// The list in a field of a vector file.
fn list<'a>(file: &'a Value, field: &str) -> &'a [Value] {
    file[field].as_array().unwrap_or_else(|| panic!("no list in field {field}"))
}
