use super::types::{CodeableConcept, Identifier};
use serde::{Deserialize, Serialize};

/// The name of the resource in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Name {
    #[default]
    Device,
}

/// An R4 `Device`: the elements that are written here; others are skipped when one is read.
///
/// [`Context::device_resource`](super::Context::device_resource) makes one, and has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Device {
    pub(super) resource_type: Name,
    /// Its names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifier: Vec<Identifier>,
    /// Whether it is in use: `active`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// The name that users know it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_name: Vec<DeviceName>,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_number: Option<String>,
    /// What it is.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<CodeableConcept>,
    /// What it can measure, and in which units.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub property: Vec<DeviceProperty>,
}

/// A name of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceName {
    /// The name.
    pub name: String,
    /// Who calls it so: `user-friendly-name`, `model-name` and others.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A property of a device: here a quantity that it tells, with its unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceProperty {
    /// The quantity.
    #[serde(rename = "type")]
    pub kind: CodeableConcept,
    /// The unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub value_code: Vec<CodeableConcept>,
}
