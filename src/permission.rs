//! Which scope a record needs: the one place where framing's kinds meet identity's scopes.

use crate::framing::Record;
use crate::identity::Scopes;

/// Tells whether `scopes` permit to publish `record`. Deny by default: what is not named here needs a scope that
/// does not exist.
pub(crate) fn permits(scopes: Scopes, record: &Record<'_>) -> bool {
    match record {
        Record::Measurement(_) | Record::Trend(_) => scopes.contains(Scopes::MEASUREMENTS),
        Record::Waveform(_) => scopes.contains(Scopes::WAVEFORMS),
        Record::Event(_) | Record::Annotation(_) => scopes.contains(Scopes::EVENTS),
        Record::Alarm(_) | Record::AlarmLimits(_) => scopes.contains(Scopes::ALARMS),
        // They carry no clinical value, and the ledger needs them.
        Record::Gap(_) => scopes.intersects(Scopes::PUBLISH),
        // An extension's meaning is unknown, so only a device that may publish everything may send one.
        Record::Extension(_) => scopes.contains(Scopes::PUBLISH),
    }
}
