//! A new credential that comes in a session (SPEC.md, "Renewal").

use super::{Device, DeviceEvent};
use crate::error::Discard;
use crate::identity::{Credential, Role};

impl Device<'_> {
    /// Takes a new credential, if it is the device's own; either way the backend hears which one the device has now.
    //= SPEC.md#renewal
    //# A device MUST NOT take a renewed credential unless an authority that it trusts has signed it for the device's own static key, issuer and subject, and issued it no earlier than the present one.
    #[inline(never)]
    pub(super) fn handle_renewal(&mut self, bytes: &[u8]) {
        let Some(live) = &mut self.live else { return };
        //= SPEC.md#renewal
        //# A device MUST answer a CredentialRenewal frame with the hash of the credential that it has, whether it has taken the new one or not.
        live.renewal_owed = true;
        let own = &mut self.config.identity;
        if bytes == own.credential().as_bytes() {
            return; // the answer was lost
        }
        let verified = self.config.anchors.verify(bytes, &own.public_key(), Role::Device, self.config.time);
        let Some(verified) = verified.ok().filter(|verified| own.credential_mut().renew(bytes, verified))
        else {
            return self.discards.count(Discard::BadCredential);
        };
        // The backend goes by the old one to the end of the session; its tickets are for the old one, too.
        self.scopes = self.scopes & verified.scopes();
        live.renewed = true;
        self.tickets.forget();
        self.config.time.raise_floor(&verified);
        self.events.push(DeviceEvent::CredentialRenewed);
    }

    /// Returns the device's own credential: after [`DeviceEvent::CredentialRenewed`], store it.
    pub const fn credential(&self) -> &Credential {
        self.config.identity.credential()
    }
}
