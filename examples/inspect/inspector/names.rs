//! Codes, enumerations and bytes in words.

use std::fmt::Debug;
use vitalwire::clinical;
use vitalwire::framing::Lane;

/// Names the code of a quantity, an event or a place; one that nobody has named here as `partition:term`.
pub fn term(code: u32) -> String {
    clinical::term(code).map_or_else(|| numbers("code", code), |term| term.name.into())
}

/// Names a unit as UCUM does; nothing for what is counted.
pub fn unit(code: u32) -> String {
    match clinical::unit(code) {
        Some(unit) if unit.ucum == "1" => String::new(),
        Some(unit) => unit.ucum.into(),
        None if code == 0 => String::new(),
        None => numbers("unit", code),
    }
}

fn numbers(what: &str, code: u32) -> String {
    format!("{what} {}:{}", code >> 16, code & 0xffff)
}

/// A number and its unit.
pub fn with_unit(number: &str, code: u32) -> String {
    format!("{number} {}", unit(code)).trim_end().to_owned()
}

/// The name of a variant as people write it: `SensorOff` is `sensor off`.
pub fn words(variant: &impl Debug) -> String {
    let mut words = String::new();
    for letter in format!("{variant:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names a lane.
pub const fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Alarm => "alarm",
        Lane::Event => "event",
        Lane::Trend => "trend",
        Lane::Waveform => "waveform",
    }
}
