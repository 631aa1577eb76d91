use crate::config::VW_CREDENTIAL_MAX;
use crate::memory::{self, Plain};
use crate::slot;
use crate::status::*;
use core::ffi::c_void;
use vitalwire::crypto::PublicKey;
use vitalwire::device::{BackendPin, DeviceEvent, DeviceReceived, StorageTrouble};
use vitalwire::identity::{Credential, Identity, IssuerId, SubjectId};

/// Whom a credential names.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct vw_identity {
    /// The authority: the first 8 bytes of BLAKE2s-256 of its key.
    pub issuer: [u8; 8],
    /// The name that it gave.
    pub subject: [u8; 16],
}

/// A backend that the device knows: store it as it is, it holds no secret.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_pin {
    /// Its static key.
    pub key: [u8; 32],
    /// Whom its credential names.
    pub identity: vw_identity,
    /// How long its credential is; 0: not stored.
    pub credential_len: u8,
    /// Its credential.
    pub credential: [u8; VW_CREDENTIAL_MAX],
}

// SAFETY: integers.
unsafe impl Plain for vw_identity {}
// SAFETY: integers.
unsafe impl Plain for vw_pin {}

impl vw_identity {
    pub(crate) fn identity(self) -> Identity {
        Identity { issuer: IssuerId(self.issuer), subject: SubjectId(self.subject) }
    }
}

impl From<Identity> for vw_identity {
    fn from(identity: Identity) -> Self {
        Self { issuer: identity.issuer.0, subject: identity.subject.0 }
    }
}

impl vw_pin {
    const NONE: Self = Self {
        key: [0; 32],
        identity: vw_identity { issuer: [0; 8], subject: [0; 16] },
        credential_len: 0,
        credential: [0; VW_CREDENTIAL_MAX],
    };
}

impl From<&BackendPin> for vw_pin {
    fn from(pin: &BackendPin) -> Self {
        let mut out = Self { key: pin.key.0, identity: pin.identity.into(), ..Self::NONE };
        let bytes = pin.credential.as_ref().map_or(&[][..], Credential::as_bytes);
        for (to, from) in out.credential.iter_mut().zip(bytes) {
            *to = *from;
        }
        out.credential_len = u8::try_from(bytes.len()).unwrap_or(0);
        out
    }
}

impl TryFrom<&vw_pin> for BackendPin {
    type Error = vw_status;

    fn try_from(pin: &vw_pin) -> Result<Self, vw_status> {
        let bytes = pin.credential.get(..pin.credential_len.into()).ok_or(VW_ERROR_BAD_LENGTH)?;
        let credential = if bytes.is_empty() { None } else { Some(Credential::from_bytes(bytes)?) };
        Ok(Self { key: PublicKey(pin.key), identity: pin.identity.identity(), credential })
    }
}

/// Makes the pin of a backend for `vw_config.pin`, from its static key (32 bytes) and its credential, as whoever provisions
/// the device has verified them: neither is verified here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_pin_init(
    pin: *mut vw_pin,
    key: *const u8,
    credential: *const u8,
    credential_len: usize,
) -> vw_status {
    slot::caught(|| {
        // SAFETY: the caller's key and credential, by contract.
        let (key, credential) =
            unsafe { (memory::read(key.cast::<[u8; 32]>())?, memory::list(credential, credential_len)?) };
        let credential = Credential::from_bytes(credential)?;
        let identity = credential.claimed_identity().ok_or(VW_ERROR_MALFORMED_CREDENTIAL)?;
        let made = BackendPin { key: PublicKey(key), identity, credential: Some(credential) };
        // SAFETY: the caller has room for one, by contract.
        unsafe { memory::write(pin, (&made).into()) }?;
        Ok(VW_OK)
    })
}

/// There is no event.
pub const VW_EVENT_NONE: u8 = 0;
/// A session is confirmed: `backend`, `pattern`, `time_floor`. Store backend and floor; with storage the device does.
pub const VW_EVENT_CONNECTED: u8 = 1;
/// The session has ended: `reason` is a `VW_CLOSE_…`. What was in flight is sent again in the next one.
pub const VW_EVENT_DISCONNECTED: u8 = 2;
/// An attempt to connect has failed: `reason` is a discard (`vw_discard_name`), or `VW_NO_ANSWER`.
pub const VW_EVENT_CONNECT_FAILED: u8 = 3;
/// The backend refused records for good: `boot`, `lane`, `sequence` of the first, `count`; `reason` 1 for out of scope, 2
/// for undecodable.
pub const VW_EVENT_RECORDS_REFUSED: u8 = 4;
/// Three quarters of `lane` are in use.
pub const VW_EVENT_LANE_NEARLY_FULL: u8 = 5;
/// No more than half of `lane` is in use again.
pub const VW_EVENT_LANE_EASED: u8 = 6;
/// `lane` has given up `count` records, as its policy says: the lowest is `sequence`.
pub const VW_EVENT_RECORDS_DROPPED: u8 = 7;
/// All records of `lane` up to `sequence`, of this boot, survive a power cut, or are settled.
pub const VW_EVENT_STORED: u8 = 8;
/// Something is wrong with the storage: `reason` is a `VW_TROUBLE_…`, and `lane` the lane of `VW_TROUBLE_FULL`.
pub const VW_EVENT_STORAGE_TROUBLE: u8 = 9;
/// A command was refused, and not handed out: `command`; `reason` 1 out of scope, 2 for another boot, 3 too late, 4
/// superseded.
pub const VW_EVENT_COMMAND_REFUSED: u8 = 10;
/// A ticket of this device was used by two: somebody has read or copied its memory.
pub const VW_EVENT_TICKET_MISUSED: u8 = 11;
/// `count` events came that had no room.
pub const VW_EVENT_EVENTS_LOST: u8 = 12;
/// The device has another credential, by which it connects from now on: store `vw_credential` in the place of the one
/// before.
pub const VW_EVENT_CREDENTIAL_RENEWED: u8 = 13;
/// An event that this header does not know.
pub const VW_EVENT_OTHER: u8 = 255;

/// For `VW_EVENT_CONNECT_FAILED`: nothing answered.
pub const VW_NO_ANSWER: u16 = 0xffff;

/// The application ended the session.
pub const VW_CLOSE_APPLICATION: u16 = 1;
/// The other end sent frames that this version does not understand.
pub const VW_CLOSE_PROTOCOL_VIOLATION: u16 = 2;
/// The application refused the device.
pub const VW_CLOSE_REFUSED: u16 = 3;
/// A newer session of the device was proved.
pub const VW_CLOSE_REPLACED: u16 = 4;
/// Nothing came for too long.
pub const VW_CLOSE_IDLE: u16 = 5;
/// The session reached its greatest age.
pub const VW_CLOSE_SESSION_AGE: u16 = 6;
/// A packet limit was reached and no rekey came in time.
pub const VW_CLOSE_PACKET_LIMIT: u16 = 7;
/// Too many packets failed to authenticate.
pub const VW_CLOSE_FORGERY_LIMIT: u16 = 8;
/// The backend sends its devices to another node.
pub const VW_CLOSE_DRAINING: u16 = 9;
/// The device was revoked.
pub const VW_CLOSE_REVOKED: u16 = 10;
/// A ticket was used twice.
pub const VW_CLOSE_TICKET_CONFLICT: u16 = 11;

/// The storage failed as the boot was noted: this boot keeps its records in RAM only.
pub const VW_TROUBLE_UNAVAILABLE: u16 = 1;
/// The table of boots could not be opened: what earlier boots stored is lost.
pub const VW_TROUBLE_UNREADABLE: u16 = 2;
/// Too many boots have entries: this one stores nothing before one of them is drained.
pub const VW_TROUBLE_TOO_MANY_BOOTS: u16 = 3;
/// A lane's region is full: its records stay in RAM until something is trimmed.
pub const VW_TROUBLE_FULL: u16 = 4;
/// A request failed, and is asked again later.
pub const VW_TROUBLE_FAILED: u16 = 5;
/// Something stored is damaged and was skipped.
pub const VW_TROUBLE_CORRUPT: u16 = 6;
/// The stored pin could not be read: this boot goes on with what its configuration demands.
pub const VW_TROUBLE_PIN_UNREADABLE: u16 = 7;
/// The random source failed: what needs a fresh salt is not stored before it works again.
pub const VW_TROUBLE_NO_ENTROPY: u16 = 8;

/// Something that the firmware should know. Fields that its kind does not name are zero.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_event {
    /// `VW_EVENT_…`.
    pub kind: u8,
    /// `VW_LANE_…`.
    pub lane: u8,
    /// The handshake's pattern: 1 XX, 2 IK, 3 XXpsk3, 4 IKpsk2, 5 resumption.
    pub pattern: u8,
    /// Why; what it means depends on the kind.
    pub reason: u16,
    /// The kind of a command: the application's own code.
    pub command: u16,
    /// A boot's number.
    pub boot: u32,
    /// How many.
    pub count: u32,
    /// A record's sequence.
    pub sequence: u64,
    /// The time floor, in seconds since 1970: never go below it.
    pub time_floor: u64,
    /// The backend, verified.
    pub backend: vw_pin,
}

impl vw_event {
    pub(crate) const NONE: Self = Self {
        kind: VW_EVENT_NONE,
        lane: 0,
        pattern: 0,
        reason: 0,
        command: 0,
        boot: 0,
        count: 0,
        sequence: 0,
        time_floor: 0,
        backend: vw_pin::NONE,
    };
}

const fn trouble(trouble: StorageTrouble) -> (u16, u8) {
    match trouble {
        StorageTrouble::Unavailable => (VW_TROUBLE_UNAVAILABLE, 0),
        StorageTrouble::Unreadable => (VW_TROUBLE_UNREADABLE, 0),
        StorageTrouble::TooManyBoots => (VW_TROUBLE_TOO_MANY_BOOTS, 0),
        StorageTrouble::Full(lane) => (VW_TROUBLE_FULL, lane.code()),
        StorageTrouble::Failed => (VW_TROUBLE_FAILED, 0),
        StorageTrouble::Corrupt => (VW_TROUBLE_CORRUPT, 0),
        StorageTrouble::PinUnreadable => (VW_TROUBLE_PIN_UNREADABLE, 0),
        StorageTrouble::NoEntropy => (VW_TROUBLE_NO_ENTROPY, 0),
        _ => (0, 0),
    }
}

impl From<DeviceEvent> for vw_event {
    fn from(event: DeviceEvent) -> Self {
        let none = Self::NONE;
        match event {
            DeviceEvent::Connected { backend, pattern, time_floor } => Self {
                kind: VW_EVENT_CONNECTED,
                backend: (&backend).into(),
                pattern: pattern.byte(),
                time_floor: time_floor.0,
                ..none
            },
            DeviceEvent::Disconnected(reason) => {
                Self { kind: VW_EVENT_DISCONNECTED, reason: reason.code().into(), ..none }
            }
            DeviceEvent::ConnectFailed(discard) => {
                let reason = discard.map_or(VW_NO_ANSWER, |discard| discard as u16);
                Self { kind: VW_EVENT_CONNECT_FAILED, reason, ..none }
            }
            DeviceEvent::RecordsRefused { boot, lane, first, count, reason } => Self {
                kind: VW_EVENT_RECORDS_REFUSED,
                boot,
                lane: lane.code(),
                sequence: first,
                count,
                reason: reason as u16,
                ..none
            },
            DeviceEvent::LaneNearlyFull(lane) => {
                Self { kind: VW_EVENT_LANE_NEARLY_FULL, lane: lane.code(), ..none }
            }
            DeviceEvent::LaneEased(lane) => Self { kind: VW_EVENT_LANE_EASED, lane: lane.code(), ..none },
            DeviceEvent::RecordsDropped { lane, first, count } => {
                Self { kind: VW_EVENT_RECORDS_DROPPED, lane: lane.code(), sequence: first, count, ..none }
            }
            DeviceEvent::Stored { lane, through } => {
                Self { kind: VW_EVENT_STORED, lane: lane.code(), sequence: through, ..none }
            }
            DeviceEvent::StorageTrouble(what) => {
                let (reason, lane) = trouble(what);
                Self { kind: VW_EVENT_STORAGE_TROUBLE, reason, lane, ..none }
            }
            DeviceEvent::CommandRefused { kind, reason } => {
                Self { kind: VW_EVENT_COMMAND_REFUSED, command: kind, reason: reason as u16, ..none }
            }
            DeviceEvent::TicketMisused => Self { kind: VW_EVENT_TICKET_MISUSED, ..none },
            DeviceEvent::CredentialRenewed => Self { kind: VW_EVENT_CREDENTIAL_RENEWED, ..none },
            DeviceEvent::EventsLost(count) => Self { kind: VW_EVENT_EVENTS_LOST, count, ..none },
            _ => Self { kind: VW_EVENT_OTHER, ..none },
        }
    }
}

/// Something to do: `id`, `code`, `body`, `deadline`. Answer it with `vw_command_done` or `vw_command_failed`.
pub const VW_RECEIVED_COMMAND: u8 = 1;
/// A frame of a type that the library does not know: `code`, `body`.
pub const VW_RECEIVED_EXTENSION: u8 = 2;

/// What came in a packet for the application. It is gone when the callback returns: copy what you need.
#[repr(C)]
pub struct vw_received {
    /// `VW_RECEIVED_…`.
    pub kind: u8,
    /// What to do: the application's own code.
    pub code: u16,
    /// What to answer.
    pub id: u32,
    /// From when on a command must not be begun any more, in milliseconds of the device's clock. Who does not act at once
    /// looks again.
    pub deadline: u64,
    /// How to do it.
    pub body: *const u8,
    /// Its length, at most 256 bytes.
    pub body_len: usize,
}

/// Takes what came. It is called inside `vw_handle_packet` and must not call back into the device: keep what it says,
/// and act after the call.
pub type vw_received_fn = Option<unsafe extern "C" fn(context: *mut c_void, received: *const vw_received)>;

impl vw_received {
    pub(crate) fn new(received: &DeviceReceived<'_>) -> Option<Self> {
        match received {
            DeviceReceived::Command { id, kind, body, deadline } => Some(Self {
                kind: VW_RECEIVED_COMMAND,
                code: *kind,
                id: id.code(),
                deadline: deadline.as_millis(),
                body: body.as_ptr(),
                body_len: body.len(),
            }),
            DeviceReceived::Extension { kind, body } => Some(Self {
                kind: VW_RECEIVED_EXTENSION,
                code: (*kind).into(),
                id: 0,
                deadline: 0,
                body: body.as_ptr(),
                body_len: body.len(),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VW_LANE_TREND;
    use vitalwire::framing::Lane;

    #[test]
    fn every_trouble_has_a_code_of_its_own() {
        let troubles = [
            StorageTrouble::Unavailable,
            StorageTrouble::Unreadable,
            StorageTrouble::TooManyBoots,
            StorageTrouble::Full(Lane::Trend),
            StorageTrouble::Failed,
            StorageTrouble::PinUnreadable,
            StorageTrouble::NoEntropy,
            StorageTrouble::Corrupt,
        ];
        let mut codes = troubles.map(|what| trouble(what).0);
        codes.sort_unstable();
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(trouble(StorageTrouble::Full(Lane::Trend)), (VW_TROUBLE_FULL, VW_LANE_TREND));
    }
}
