//! Path cookies: who answers a Retry can receive where it says it is.

use crate::crypto::{mac_parts, verify_mac};
use crate::wire::Cookie;

/// Checks a path cookie, with a key that its holder rotates (SPEC.md, "Retry").
pub(crate) fn verify_cookie(key: &[u8; 32], path: &[u8], cookie: Cookie) -> bool {
    verify_mac(key, &[path], &cookie.0)
}

/// Makes a path cookie; see [`verify_cookie`].
pub(crate) fn path_cookie(key: &[u8; 32], path: &[u8]) -> Cookie {
    Cookie(mac_parts(key, &[path]))
}
