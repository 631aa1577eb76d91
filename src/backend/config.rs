use super::AdmissionLimits;
use crate::crypto::Psk;
use crate::delivery::Ledger;
use crate::error::CallError;
use crate::handshake::Limits;
use crate::identity::{LocalIdentity, Scopes, Time, TrustAnchors};
use crate::session::RekeyPolicy;
use crate::time::Duration;

/// Where a packet came from and where answers go: an address, or `()` on a link with one device.
pub trait Path: Clone + PartialEq {
    /// Hands the bytes that stand for this path to `with`: a cookie is bound to them.
    fn with_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R;

    /// Hands the bytes that this path has in common with all others of one host or network to `with`, or returns `None`
    /// if nothing is known of that: they share a rate of full
    /// handshakes ([`AdmissionLimits::per_prefix`](super::AdmissionLimits::per_prefix)), not of resumptions: whose paths are
    /// not proved, and a hospital behind one address comes back with them after an outage.
    ///
    /// Of a [`SocketAddr`](core::net::SocketAddr) it is the address of IPv4, and the first 56 bits of one of IPv6, which is
    /// the least that a provider should give to a site (RIPE-690).
    fn with_prefix_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let _ = with;
        None
    }
}

impl Path for () {
    fn with_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
        with(&[])
    }
}

impl Path for u64 {
    fn with_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
        with(&self.to_le_bytes())
    }
}

impl Path for core::net::SocketAddr {
    fn with_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
        let mut bytes = [0u8; 18];
        let ip = match self.ip() {
            core::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            core::net::IpAddr::V6(ip) => ip,
        };
        for (to, from) in bytes.iter_mut().zip(ip.octets().into_iter().chain(self.port().to_le_bytes())) {
            *to = from;
        }
        with(&bytes)
    }

    fn with_prefix_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Option<R> {
        Some(match self.ip().to_canonical() {
            core::net::IpAddr::V4(ip) => with(&ip.octets()),
            core::net::IpAddr::V6(ip) => with(ip.octets().first_chunk::<7>().unwrap_or(&[0; 7])),
        })
    }
}

/// A packet that came in.
#[derive(Debug)]
pub struct Inbound<'b, P> {
    /// Where from.
    pub path: P,
    /// The packet; it is decrypted in place, and taken by the call that handles it.
    pub packet: &'b mut [u8],
}

/// A packet to send.
#[derive(Debug, PartialEq, Eq)]
pub struct Transmit<'o, P> {
    /// Where to.
    pub path: P,
    /// The packet, in the caller's buffer.
    pub packet: &'o [u8],
}

/// What a backend needs to know.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// The service's own identity; its nodes share one static key.
    pub identity: LocalIdentity,
    /// Which authorities' devices may come.
    pub anchors: TrustAnchors,
    /// The wall clock, for credentials; keep it right with [`Backend::set_wall_clock`](super::Backend::set_wall_clock).
    pub time: Time,
    /// What the backend accepts.
    pub limits: Limits,
    /// When sessions must rekey or end; the device drives.
    pub rekey: RekeyPolicy,
    /// The number of this shard, 0 to 15: it is part of every connection id.
    pub shard: u8,
    /// Sessions and handshakes at once, at the most: up to 2^20.
    pub max_sessions: u32,
    /// Descriptor sets that are remembered for all devices, at the most. Devices of a model share one.
    pub max_sets: usize,
    /// Bytes of all these sets together, at the most.
    pub max_set_bytes: usize,
    /// Handshakes under way at once, at the most: those that wait for the application, too. Above a quarter of it, a Hello
    /// needs a cookie.
    pub max_half_open: u32,
    /// Credentials of which it is remembered that their signature has verified, at the most: 32 bytes each, up to 2^20. A
    /// device whose credential is among them saves the backend an Ed25519 operation in each full handshake. All else is
    /// checked each time. 0: none. Without the feature `std` none, whatever this says.
    ///
    /// A third more than the devices that come with full handshakes keeps nearly all of them. Those with tickets need none.
    pub remembered_credentials: u32,
    /// How many handshakes strangers may ask for.
    pub admission: AdmissionLimits,
    /// After how long to compare clocks with a device again, when it is heard anyway; `None`: only when asked to. An
    /// hour keeps the error of a bad clock below 2 s.
    pub time_sync: Option<Duration>,
}

impl BackendConfig {
    /// The usual settings of a node: 131 072 sessions, 1 024 handshakes at once, 1 024 descriptor sets of 1 MiB.
    pub fn new(identity: LocalIdentity, anchors: TrustAnchors, time: Time) -> Self {
        Self {
            identity,
            anchors,
            time,
            limits: Limits::BACKEND,
            rekey: RekeyPolicy::default(),
            shard: 0,
            max_sessions: 131_072,
            max_sets: 1024,
            max_set_bytes: 1 << 20,
            max_half_open: 1024,
            remembered_credentials: 0,
            admission: AdmissionLimits::NODE,
            time_sync: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), CallError> {
        if self.shard > 15 {
            return Err(CallError::InvalidConfig("shard is above 15"));
        }
        if self.max_sessions == 0 || self.max_sessions > 1 << 20 {
            return Err(CallError::InvalidConfig("max_sessions is not within 1 and 2^20"));
        }
        if self.max_sets == 0 || self.max_set_bytes < crate::limits::MAX_DESCRIPTOR_SET {
            return Err(CallError::InvalidConfig(
                "the descriptor sets' bounds are below one set of 2048 bytes",
            ));
        }
        if self.max_half_open == 0 {
            return Err(CallError::InvalidConfig("max_half_open is 0"));
        }
        if self.remembered_credentials > crate::limits::MAX_REMEMBERED_CREDENTIALS {
            return Err(CallError::InvalidConfig("remembered_credentials is above 2^20"));
        }
        self.admission.check()?;
        if self.limits.window() != crate::limits::BACKEND_WINDOW {
            return Err(CallError::InvalidConfig("the limits' window is not the backend's 1024"));
        }
        Ok(())
    }
}

/// What the application grants to a device when it accepts it.
#[derive(Debug, Default)]
pub struct Grant {
    /// What the device may do; never more than its credential says. Nothing is permitted that is not in both.
    pub scopes: Scopes,
    /// What the application has stored of this device: empty for a new one.
    pub ledger: Ledger,
    /// The pre-shared key that the application registered for this device: it is then required.
    pub psk: Option<Psk>,
    /// A number of the application's own, which comes back with each batch of the session as
    /// [`Batch::fence`](super::Batch::fence): where several nodes serve one device, their store tells by it which
    /// session a batch came in, and refuses one whose session has lost the device to another node. 0 if not needed.
    pub fence: u64,
    /// A ticket of this device was used by two: it is told with its next ticket.
    pub ticket_misused: bool,
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::super::Backend;
    use super::*;
    use crate::crypto::{SigningKey, StaticSecret};
    use crate::identity::{Authority, CredentialRequest, Role, SubjectId};
    use crate::limits::MAX_REMEMBERED_CREDENTIALS;
    use crate::time::UnixSeconds;

    #[test]
    fn so_many_credentials_are_remembered_as_asked_for() {
        let authority = Authority::new(SigningKey::from_bytes([1; 32]));
        let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
        let now = UnixSeconds(1_750_000_000);
        let request = CredentialRequest::new(1, SubjectId([9; 16]), Role::Backend, Scopes::PUBLISH, now, now);
        let identity = LocalIdentity::issue(&authority, StaticSecret::from_bytes([2; 32]), &request).unwrap();
        let room = |credentials: u32| {
            let mut config = BackendConfig::new(identity.clone(), anchors, Time::known(now));
            assert_eq!(config.remembered_credentials, 0, "nothing unless asked for");
            config.remembered_credentials = credentials;
            let mut backend = Backend::<u64>::new(config)?;
            let (_, room) = backend.responder.remembered();
            backend.set_anchors(anchors);
            assert_eq!(backend.responder.remembered().1, room, "other anchors change nothing of it");
            Ok(room)
        };
        assert_eq!([0, 1, 8, 9, 1000].map(room), [Ok(0), Ok(8), Ok(8), Ok(16), Ok(1000)]);
        assert!(matches!(room(MAX_REMEMBERED_CREDENTIALS + 1), Err(CallError::InvalidConfig(_))));
    }
}
