//! Guides: what to know beside the items themselves. Documentation only.
//!
//! - [`firmware`]: a device from provisioning to production.
//! - [`answers`]: what firmware does on each error, event and discard; complete, a test holds it so.

pub mod answers;
pub mod firmware;
