//! Records in the formats of others.
//!
//! What a record means is decided by [`framing`](crate::framing) and its descriptors; here it is only told in
//! another language. Knows nothing of sessions and packets, and sends nothing anywhere.

pub mod fhir;
