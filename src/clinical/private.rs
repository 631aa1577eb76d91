//! Codes of this protocol, for what ISO/IEEE 11073-10101 has no code, or none that could be found: SPEC.md, "Codes".
//!
//! They are in partition 1024, which that standard leaves to private use, so a gateway that does not know vitalwire
//! sees that they are nobody else's.

use super::table::{evidence, term_table};

/// The partition of all these codes.
pub const PARTITION: u16 = 1024;

term_table! {
    prefix "VW_";
    STEP_COUNT = (1024, 1), "steps", private, unit::STEP, loinc confirmed ["55423-8"];
    ACCELERATION = (1024, 2), "acceleration", private;
    INFUSION = (1024, 3), "infusion", private;
    PULSE_OXIMETRY = (1024, 4), "oxygen saturation and pulse rate", private;
    LOCATION = (1024, 5), "location", private;
    LOCATION_ACCURACY = (1024, 6), "accuracy of a location", private, unit::X_M;
    LOCATION_ZONE = (1024, 7), "zone", private, unit::DIMLESS;
    DEVICE_STATUS = (1024, 8), "device status", private;
    EVT_CALIBRATION = (1024, 256), "calibrated", private;
    EVT_INHALER_ACTUATION = (1024, 257), "inhaler actuated", private, unit::DIMLESS;
    EVT_ZONE_ENTERED = (1024, 258), "zone entered", private, unit::DIMLESS;
    EVT_ZONE_LEFT = (1024, 259), "zone left", private, unit::DIMLESS;
    EVT_DEVICE_STARTED = (1024, 260), "device started", private;
    EVT_SELF_TEST_PASSED = (1024, 261), "self-test passed", private;
    EVT_SELF_TEST_FAILED = (1024, 262), "self-test failed", private;
    EVT_SENSOR_APPLIED = (1024, 263), "sensor applied", private;
    EVT_SENSOR_REMOVED = (1024, 264), "sensor removed", private;
    EVT_CHARGING_STARTED = (1024, 265), "charging started", private;
    EVT_CHARGING_ENDED = (1024, 266), "charging ended", private;
    EVT_PATIENT_MARK = (1024, 267), "marked by the patient", private;
    EVT_ARTEFACT = (1024, 268), "artefact", private;
}
