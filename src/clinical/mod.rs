//! What the numbers mean to a hospital: codes, units and typed channels.
//!
//! [`framing`](crate::framing) carries integers; this module knows what they are. Knows nothing of packets and
//! sessions, and nothing about patients: whose values they are is not on the wire.

pub mod mdc;
mod nomenclature;
pub mod private;
mod table;

pub use nomenclature::{Evidence, Term, Unit, code, term, terms, unit, units};
