//! Who takes part: the authority, the service, the devices of the ward, and those that must not get far.

use crate::{Error, device};
use std::sync::Arc;
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::device::{BackendPin, DeviceConfig};
use vitalwire::identity::{
    Authority, CredentialRequest, Identity, LocalIdentity, RevocationRequest, Role, Scopes, SubjectId, Time,
    TrustAnchors,
};
use vitalwire::session::RekeyPolicy;
use vitalwire::{CallError, OsEntropy, UnixSeconds};

/// The wall clock of credentials: fixed, so that nothing here expires.
pub const TODAY: UnixSeconds = UnixSeconds(1_750_000_000);

/// What the credential of the out-of-scope device permits in the end: all but waveforms, and no commands.
pub const NARROW: Scopes =
    Scopes::from_bits(Scopes::MEASUREMENTS.bits() | Scopes::EVENTS.bits() | Scopes::ALARMS.bits());

/// Serial numbers of credentials; those of the ward's devices begin at `WARD`.
mod serial {
    pub const SERVICE: u32 = 1;
    pub const REVOKED: u32 = 2;
    pub const WIDE: u32 = 3;
    pub const NARROW: u32 = 4;
    pub const STRANGER: u32 = 5;
    pub const WARD: u32 = 100;
}

pub fn device_name(device: usize) -> String {
    format!("ward-device-{device:04}")
}

fn subject(name: &str) -> SubjectId {
    let mut subject = [b' '; 16];
    for (to, from) in subject.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    SubjectId(subject)
}

/// The authority's word for a key: what it may do, for a year.
fn request(serial: u32, name: &str, role: Role, scopes: Scopes) -> CredentialRequest {
    let not_after = UnixSeconds(TODAY.0 + 365 * 86_400);
    CredentialRequest::new(serial, subject(name), role, scopes, TODAY, not_after)
}

fn issue(authority: &Authority, request: &CredentialRequest) -> Result<LocalIdentity, Error> {
    Ok(LocalIdentity::issue(authority, StaticSecret::generate(&mut OsEntropy)?, request)?)
}

/// What a device has in its read-only memory.
#[derive(Clone)]
pub struct Provisioned {
    identity: LocalIdentity,
    /// Its identity from the second boot on, if that is another one.
    later: Option<LocalIdentity>,
    anchors: TrustAnchors,
    pin: Option<BackendPin>,
}

impl Provisioned {
    /// The configuration of a boot, the first one being 0; no clock.
    pub fn configure(&self, boot: usize) -> Result<DeviceConfig, CallError> {
        let identity = self.later.as_ref().filter(|_| boot > 0).unwrap_or(&self.identity);
        let floor = Time::floor_only(TODAY);
        let mut config = DeviceConfig::new(identity.clone(), self.anchors, floor, 1, device::OUTBOX);
        config.rekey = rekey_policy()?;
        config.pin = self.pin;
        Ok(config)
    }

    pub fn identity(&self) -> Result<Identity, Error> {
        Ok(self.identity.identity().ok_or("a credential is malformed")?)
    }
}

/// Low enough that a few minutes see several rekeys of both kinds. What else holds a rekey back holds here too: a
/// device moves on only when the previous epoch's packets are out of both ends' windows, after 128 packets or more each
/// way. So the DH ratchet is given more than one such epoch, and the hash ratchet gets its turn.
pub fn rekey_policy() -> Result<RekeyPolicy, CallError> {
    let often = RekeyPolicy::default().hash_after_packets(40)?.dh_after_packets(180)?;
    often.dh_interval(vitalwire::Duration::from_secs(10))
}

/// Everybody.
pub struct Cast {
    pub anchors: TrustAnchors,
    pub service: LocalIdentity,
    /// Every third one has been here before: it knows the backend.
    pub ward: Vec<Provisioned>,
    /// Two that do not belong here: one made itself an authority, the other has copied a credential, but not the key.
    pub impostors: [Provisioned; 2],
    /// One that belongs here until it is revoked.
    pub revoked: Provisioned,
    /// The list that revokes it, and an older one that does not.
    pub lists: [Vec<u8>; 2],
    /// One whose credential is exchanged for a narrower one while it is off line.
    pub narrowed: Provisioned,
    /// What the strangers of the flood show: the credential of an authority of their own, with a ward device's name.
    pub stranger: LocalIdentity,
}

impl Cast {
    pub fn new(devices: usize) -> Result<Self, Error> {
        let authority = Authority::new(SigningKey::generate(&mut OsEntropy)?);
        let anchors = TrustAnchors::new(&[authority.public_key()])?;
        // The service may command, so that it is the device's credential that says no.
        let may = Scopes::PUBLISH | Scopes::COMMANDS;
        let service = issue(&authority, &request(serial::SERVICE, "ward-backend", Role::Backend, may))?;
        let identity = service.identity().ok_or("the backend's credential is malformed")?;
        let pin = BackendPin { key: service.public_key(), identity, credential: None };

        let device = |serial, name: &str, pin| {
            let identity = issue(&authority, &request(serial, name, Role::Device, Scopes::PUBLISH))?;
            Ok::<_, Error>(Provisioned { identity, later: None, anchors, pin })
        };
        let ward = (0..devices)
            .map(|n| device(serial::WARD + n as u32, &device_name(n), (n % 3 == 2).then_some(pin)))
            .collect::<Result<Vec<_>, _>>()?;

        let own = Authority::new(SigningKey::generate(&mut OsEntropy)?);
        let claims = request(serial::STRANGER, &device_name(0), Role::Device, Scopes::PUBLISH);
        let upstart = issue(&own, &claims)?;
        let secret = StaticSecret::generate(&mut OsEntropy)?;
        let public = secret.public_key();
        let thief = LocalIdentity::new(Arc::new(secret), public, *ward[0].identity.credential());
        let impostors =
            [upstart, thief].map(|identity| Provisioned { identity, later: None, anchors, pin: None });

        let revoked = device(serial::REVOKED, "ward-revoked", Some(pin))?;
        let list = |number, devices: &[_]| {
            authority.revoke(&RevocationRequest {
                number,
                issued: TODAY,
                issuers: &[],
                backends: &[],
                devices,
            })
        };
        let lists = [list(2, &[serial::REVOKED..=serial::REVOKED])?, list(1, &[])?];

        let secret = Arc::new(StaticSecret::generate(&mut OsEntropy)?);
        let public = secret.public_key();
        let named = |serial, scopes| {
            let request = request(serial, "ward-narrowed", Role::Device, scopes);
            let credential = authority.issue(&public, &request)?;
            Ok::<_, Error>(LocalIdentity::new(secret.clone(), public, credential))
        };
        let narrowed = Provisioned {
            identity: named(serial::WIDE, Scopes::PUBLISH)?,
            later: Some(named(serial::NARROW, NARROW)?),
            anchors,
            pin: Some(pin),
        };
        let stranger = issue(&own, &claims)?;
        Ok(Self { anchors, service, ward, impostors, revoked, lists, narrowed, stranger })
    }
}
