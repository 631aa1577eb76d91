use vitalwire::CallError;
use vitalwire::framing::EncodeError;
use vitalwire::identity::CredentialError;
use vitalwire::wire::link::LinkError;

/// What a call returns: zero, one for the yes of a question, or an error, which is negative. After an error nothing has
/// changed, unless the call says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum vw_status {
    /// It is done; for a question: no.
    VW_OK = 0,
    /// For a question: yes.
    VW_YES = 1,

    /// A pointer is NULL that must not be.
    VW_ERROR_NULL = -1,
    /// A pointer to a struct is misaligned.
    VW_ERROR_MISALIGNED = -2,
    /// A length that this memory cannot have, or a struct of another size than the library's: header and library are
    /// not of one version.
    VW_ERROR_BAD_LENGTH = -3,
    /// There is nothing in this storage: it was never initialised, or was destroyed.
    VW_ERROR_NOT_INITIALISED = -4,
    /// The object was copied or moved in memory.
    VW_ERROR_MOVED = -5,
    /// The object is in another call: this one comes from a callback, an interrupt or another thread.
    VW_ERROR_BUSY = -6,
    /// A number that names nothing: a lane, a mode, a kind, a state, or text that is no UTF-8.
    VW_ERROR_BAD_VALUE = -7,
    /// Two buffers share memory that must not.
    VW_ERROR_OVERLAP = -8,
    /// A fault of the library. The object can only be destroyed.
    VW_ERROR_INTERNAL = -9,
    /// The heap has too little room: for another device, or for a handshake. A session that there is goes on, and the
    /// handshake is tried again after a second.
    VW_ERROR_OUT_OF_MEMORY = -10,

    /// The buffer is too small; the call tells how much it needs.
    VW_ERROR_BUFFER_TOO_SMALL = -20,
    /// The random source failed or is not ready.
    VW_ERROR_ENTROPY = -21,
    /// A value in the configuration is outside its range.
    VW_ERROR_INVALID_CONFIG = -22,
    /// The lane has no space: serve the storage, or wait for acknowledgements.
    VW_ERROR_LANE_FULL = -23,
    /// The record was left out, as the lane is rather full and thins out its records.
    VW_ERROR_THINNED = -24,
    /// The channel holds its share of the lane already.
    VW_ERROR_QUOTA_EXCEEDED = -25,
    /// The record would never fit into a packet or its lane.
    VW_ERROR_RECORD_TOO_LONG = -26,
    /// The record does not fit a channel of the descriptor set.
    VW_ERROR_BAD_RECORD = -27,
    /// The descriptor set is malformed, or does not extend the present one.
    VW_ERROR_BAD_DESCRIPTORS = -28,
    /// The credentials do not permit it.
    VW_ERROR_OUT_OF_SCOPE = -29,
    /// The handle belongs to something that has ended.
    VW_ERROR_STALE_HANDLE = -30,
    /// The result of the command is too long.
    VW_ERROR_BAD_COMMAND = -31,
    /// Too many commands are under way.
    VW_ERROR_TOO_MANY_COMMANDS = -32,
    /// There is no session for this.
    VW_ERROR_NO_SESSION = -33,
    /// It is not known yet: the storage has not answered, or there is no clock.
    VW_ERROR_NOT_KNOWN = -34,

    /// A credential is malformed.
    VW_ERROR_MALFORMED_CREDENTIAL = -40,
    /// A time in a credential is out of range.
    VW_ERROR_CREDENTIAL_TIME = -41,
    /// Between one and four distinct authorities are needed.
    VW_ERROR_BAD_ANCHORS = -42,

    /// There is no packet without a byte.
    VW_ERROR_EMPTY_PACKET = -50,
    /// The packet is longer than this link can carry.
    VW_ERROR_PACKET_TOO_LONG = -51,
    /// The link carries fewer than 20 bytes.
    VW_ERROR_LINK_TOO_SMALL = -52,

    /// An error of the library that this layer does not know.
    VW_ERROR_OTHER = -99,
}

pub(crate) use vw_status::*;

/// What a call does inside: its answer, or why not.
pub(crate) type Outcome = Result<vw_status, vw_status>;

/// The answer to a question.
pub(crate) const fn yes_if(yes: bool) -> Outcome {
    Ok(if yes { VW_YES } else { VW_OK })
}

impl From<CallError> for vw_status {
    fn from(error: CallError) -> Self {
        match error {
            CallError::BufferTooSmall(_) => VW_ERROR_BUFFER_TOO_SMALL,
            CallError::Entropy(_) => VW_ERROR_ENTROPY,
            CallError::InvalidConfig(_) => VW_ERROR_INVALID_CONFIG,
            CallError::LaneFull => VW_ERROR_LANE_FULL,
            CallError::Thinned => VW_ERROR_THINNED,
            CallError::QuotaExceeded => VW_ERROR_QUOTA_EXCEEDED,
            CallError::RecordTooLong => VW_ERROR_RECORD_TOO_LONG,
            CallError::BadRecord => VW_ERROR_BAD_RECORD,
            CallError::BadDescriptors => VW_ERROR_BAD_DESCRIPTORS,
            CallError::OutOfScope => VW_ERROR_OUT_OF_SCOPE,
            CallError::StaleHandle => VW_ERROR_STALE_HANDLE,
            CallError::BadCommand(_) => VW_ERROR_BAD_COMMAND,
            CallError::TooManyCommands => VW_ERROR_TOO_MANY_COMMANDS,
            CallError::NoSession => VW_ERROR_NO_SESSION,
            CallError::OutOfMemory => VW_ERROR_OUT_OF_MEMORY,
            // A backend's own: no call of a device returns them.
            CallError::BadGrant(_) | CallError::AuditBacklog => VW_ERROR_OTHER,
            _ => VW_ERROR_OTHER,
        }
    }
}

impl From<EncodeError> for vw_status {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::BufferTooSmall(_) => VW_ERROR_BUFFER_TOO_SMALL,
            _ => VW_ERROR_BAD_RECORD,
        }
    }
}

impl From<CredentialError> for vw_status {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Malformed => VW_ERROR_MALFORMED_CREDENTIAL,
            CredentialError::TimeOutOfRange => VW_ERROR_CREDENTIAL_TIME,
            CredentialError::BadAnchors => VW_ERROR_BAD_ANCHORS,
            _ => VW_ERROR_OTHER,
        }
    }
}

impl From<LinkError> for vw_status {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::BufferTooSmall(_) => VW_ERROR_BUFFER_TOO_SMALL,
            LinkError::LinkTooSmall => VW_ERROR_LINK_TOO_SMALL,
            LinkError::EmptyPacket => VW_ERROR_EMPTY_PACKET,
            LinkError::PacketTooLong { .. } => VW_ERROR_PACKET_TOO_LONG,
            _ => VW_ERROR_OTHER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitalwire::EntropyError;
    use vitalwire::codec::BufferTooSmall;

    #[test]
    fn every_library_error_has_a_code_of_its_own() {
        let too_small = BufferTooSmall { needed: 1 };
        let call = [
            CallError::BufferTooSmall(too_small),
            CallError::Entropy(EntropyError),
            CallError::InvalidConfig(""),
            CallError::LaneFull,
            CallError::Thinned,
            CallError::QuotaExceeded,
            CallError::RecordTooLong,
            CallError::BadRecord,
            CallError::BadDescriptors,
            CallError::OutOfScope,
            CallError::StaleHandle,
            CallError::BadCommand(""),
            CallError::TooManyCommands,
            CallError::NoSession,
            CallError::OutOfMemory,
        ];
        let credential =
            [CredentialError::Malformed, CredentialError::TimeOutOfRange, CredentialError::BadAnchors];
        let link = [LinkError::EmptyPacket, LinkError::PacketTooLong { longest: 1 }, LinkError::LinkTooSmall];
        let mut codes: Vec<i32> = call.map(|error| vw_status::from(error) as i32).to_vec();
        codes.extend(credential.map(|error| vw_status::from(error) as i32));
        codes.extend(link.map(|error| vw_status::from(error) as i32));
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(!codes.contains(&(VW_ERROR_OTHER as i32)));
    }
}
