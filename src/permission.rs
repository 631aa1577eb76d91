//! Which scope a record or a command needs: the one place where framing's kinds meet identity's scopes.

use crate::framing::{CONFIGURATION_KIND, Record};
use crate::identity::Scopes;

/// Tells whether `scopes` permit to publish `record`. Deny by default: what is not named here needs a scope that
/// does not exist.
pub(crate) fn permits(scopes: Scopes, record: &Record<'_>) -> bool {
    match record {
        Record::Measurement(_) | Record::Trend(_) => permits_measurement(scopes),
        Record::Waveform(_) => scopes.contains(Scopes::WAVEFORMS),
        Record::Event(_) | Record::Annotation(_) => scopes.contains(Scopes::EVENTS),
        Record::Alarm(_) | Record::AlarmLimits(_) => scopes.contains(Scopes::ALARMS),
        // They carry no clinical value, and the ledger needs them.
        Record::Gap(_) => scopes.intersects(Scopes::PUBLISH),
        // An extension's meaning is unknown, so only a device that may publish everything may send one.
        Record::Extension(_) => scopes.contains(Scopes::PUBLISH),
    }
}

/// Tells whether `scopes` permit to publish a measurement.
pub(crate) const fn permits_measurement(scopes: Scopes) -> bool {
    scopes.contains(Scopes::MEASUREMENTS)
}

/// Returns the scope that a command of this kind needs, in the backend's credential and in the device's.
pub(crate) const fn command_scope(kind: u16) -> Scopes {
    if kind < CONFIGURATION_KIND { Scopes::COMMANDS } else { Scopes::CONFIGURATION }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{AlarmLimits, Annotation, ExtensionRecord};

    #[test]
    fn remarks_need_the_scope_of_events_and_limits_that_of_alarms() {
        let annotation = Record::from(Annotation::new(9));
        let limits = Record::from(AlarmLimits::new(1));
        let extension = Record::from(ExtensionRecord { kind: 9, bytes: &[] });
        for scopes in
            [Scopes::MEASUREMENTS, Scopes::WAVEFORMS, Scopes::EVENTS, Scopes::ALARMS, Scopes::PUBLISH]
        {
            assert_eq!(permits(scopes, &annotation), scopes.contains(Scopes::EVENTS));
            assert_eq!(permits(scopes, &limits), scopes.contains(Scopes::ALARMS));
            assert_eq!(permits(scopes, &extension), scopes == Scopes::PUBLISH);
        }
    }
}
