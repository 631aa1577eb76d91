use super::systems::DEVICE;
use super::types::Identifier;
use super::{Device, Observation};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// The name of the resource in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Name {
    #[default]
    Bundle,
}

/// What a bundle is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BundleKind {
    /// A set of resources, to be read.
    Collection,
    /// An upload in which all or nothing is stored.
    Transaction,
    /// An upload in which each entry stands alone.
    Batch,
}

/// An R4 `Bundle`: resources that travel together.
///
/// The uploads are idempotent: an Observation is only created if the server has none with its identifier
/// (`ifNoneExist`), and the Device is updated by its identifier. So a bundle whose answer was lost is sent again. An
/// Observation that is given twice, as after a redelivery, is in a bundle once: servers refuse the whole bundle otherwise
/// (bdl-7).
///
/// ```
/// use vitalwire::interop::fhir::{self, Bundle, BundleKind};
/// let bundle = Bundle::collection(None, []);
/// let text = fhir::to_json(&bundle)?;
/// assert_eq!(text, r#"{"resourceType":"Bundle","type":"collection"}"#);
/// assert_eq!(fhir::from_json::<Bundle>(&text)?.kind, BundleKind::Collection);
/// # Ok::<(), fhir::FhirError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Bundle {
    resource_type: Name,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: BundleKind,
    /// The resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entry: Vec<Entry>,
}

/// A resource of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Entry {
    /// What other entries call it: a `urn:uuid:` made of its identifier, always the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_url: Option<String>,
    /// The resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// What the server shall do with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
}

/// What a server shall do with an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Request {
    /// The HTTP verb.
    pub method: String,
    /// Where, relative to the server's address.
    pub url: String,
    /// Create it only if a search with this query finds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_none_exist: Option<String>,
}

/// A resource of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// An Observation.
    Observation(Box<Observation>),
    /// A Device.
    Device(Box<Device>),
    /// The JSON text of a resource of another type.
    Other(String),
}

impl Bundle {
    /// Puts resources together to be read.
    pub fn collection(device: Option<Device>, observations: impl IntoIterator<Item = Observation>) -> Self {
        let device = device.map(|device| Entry::device(device, None));
        let observations = once(observations).map(|observation| Entry::observation(observation, None));
        Self::new(BundleKind::Collection, device.into_iter().chain(observations).collect())
    }

    /// Makes an upload in which all or nothing is stored; the Observations refer to the Device that comes along.
    pub fn transaction(device: Option<Device>, observations: impl IntoIterator<Item = Observation>) -> Self {
        let device = device.map(|device| Entry::device(device, Some(())));
        let address = device.as_ref().and_then(|entry| entry.full_url.clone());
        let observations = once(observations).map(|mut observation| {
            if let (Some(reference), Some(address)) = (&mut observation.device, &address) {
                reference.reference = Some(address.clone());
            }
            Entry::observation(observation, Some(()))
        });
        let entries = device.into_iter().chain(observations).collect();
        Self::new(BundleKind::Transaction, entries)
    }

    /// Makes an upload in which each entry stands alone: one that the server refuses does not hold up the others.
    pub fn batch(device: Option<Device>, observations: impl IntoIterator<Item = Observation>) -> Self {
        let device = device.map(|device| Entry::device(device, Some(())));
        let observations = once(observations).map(|found| Entry::observation(found, Some(())));
        Self::new(BundleKind::Batch, device.into_iter().chain(observations).collect())
    }

    /// Lists the Observations.
    pub fn observations(&self) -> impl Iterator<Item = &Observation> {
        self.entry.iter().filter_map(|entry| match &entry.resource {
            Some(Resource::Observation(observation)) => Some(&**observation),
            _ => None,
        })
    }

    fn new(kind: BundleKind, entry: Vec<Entry>) -> Self {
        Self { resource_type: Name::Bundle, kind, entry }
    }
}

impl Entry {
    fn observation(observation: Observation, upload: Option<()>) -> Self {
        let name = observation.identifier.first();
        let request = upload.map(|()| Request {
            method: "POST".into(),
            url: "Observation".into(),
            if_none_exist: name.map(query),
        });
        let full_url = name.map(full_url);
        Self { full_url, resource: Some(Resource::Observation(Box::new(observation))), request }
    }

    fn device(device: Device, upload: Option<()>) -> Self {
        let named = |name: &&Identifier| name.system.as_deref() == Some(DEVICE);
        let name = device.identifier.iter().find(named).or(device.identifier.first());
        let request = upload.map(|()| Request {
            method: if name.is_some() { "PUT" } else { "POST" }.into(),
            url: name.map_or_else(|| "Device".into(), |name| format!("Device?{}", query(name))),
            if_none_exist: None,
        });
        let full_url = name.map(full_url);
        Self { full_url, resource: Some(Resource::Device(Box::new(device))), request }
    }
}

/// Leaves out Observations whose identifier has been there before.
fn once(observations: impl IntoIterator<Item = Observation>) -> impl Iterator<Item = Observation> {
    let mut seen = BTreeSet::new();
    observations.into_iter().filter(move |found| {
        let name = found.identifier.first();
        name.is_none_or(|name| seen.insert((name.system.clone(), name.value.clone())))
    })
}

/// Returns the search that finds an identifier.
fn query(name: &Identifier) -> String {
    let part = |text: &Option<String>| escaped(text.as_deref().unwrap_or_default());
    format!("identifier={}|{}", part(&name.system), part(&name.value))
}

/// Escapes what has a meaning in a query or a search value (RFC 3986, section 2.1).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Names a resource by a UUID of version 8 (RFC 9562) that follows from its identifier.
///
/// It is the 128-bit FNV-1a hash: it tells the entries of a bundle apart, nothing more.
fn full_url(name: &Identifier) -> String {
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let parts = [name.system.as_deref().unwrap_or_default(), "|", name.value.as_deref().unwrap_or_default()];
    for byte in parts.iter().flat_map(|part| part.bytes()) {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    let hash = hash & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    let part = |shift: u32, bits: u32| (hash >> shift) & (1u128 << bits).wrapping_sub(1);
    format!(
        "urn:uuid:{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(96, 32),
        part(80, 16),
        part(64, 16),
        part(48, 16),
        part(0, 48)
    )
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Observation(observation) => observation.serialize(serializer),
            Self::Device(device) => device.serialize(serializer),
            Self::Other(text) => {
                RawValue::from_string(text.clone()).map_err(ser::Error::custom)?.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            resource_type: String,
        }
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let kind: Kind = serde_json::from_str(raw.get()).map_err(de::Error::custom)?;
        Ok(match kind.resource_type.as_str() {
            "Observation" => Self::Observation(serde_json::from_str(raw.get()).map_err(de::Error::custom)?),
            "Device" => Self::Device(serde_json::from_str(raw.get()).map_err(de::Error::custom)?),
            _ => Self::Other(raw.get().to_owned()),
        })
    }
}
