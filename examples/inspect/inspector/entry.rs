//! What stands in a capture.

use super::keys::Keys;
use serde_json::{Map, Value as Json};
use vitalwire::framing::{BootTag, Lane, SetHash};
use vitalwire::identity::{Identity, IssuerId, SubjectId};
use vitalwire::wire::Side;

/// One line of a capture.
pub enum Entry {
    Set(Vec<u8>),
    Batch { body: Vec<u8>, hash: Option<SetHash>, labels: Labels },
    Record(Vec<u8>),
    Packet(Packet),
    Keys(Keys, Option<Identity>),
}

/// What is known of records besides their bytes.
#[derive(Clone, Default)]
pub struct Labels {
    /// What people call the device.
    pub device: Option<String>,
    pub identity: Option<Identity>,
    pub boot: Option<u32>,
    pub tag: Option<BootTag>,
    pub lane: Option<Lane>,
}

/// A packet, and what is known of it from outside.
pub struct Packet {
    pub bytes: Vec<u8>,
    pub from: Option<Side>,
    pub id_len: Option<usize>,
    pub counter: Option<u64>,
}

/// Reads a line; `Ok(None)` if it is empty or a comment.
pub fn parse_line(line: &str) -> Result<Option<Entry>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.starts_with('{') {
        let json: Json = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
        return parse_object(json.as_object().ok_or("not a JSON object")?).map(Some);
    }
    let body = unhex(line).map_err(|error| format!("neither JSON nor hex: {error}"))?;
    Ok(Some(Entry::Batch { body, hash: None, labels: Labels::default() }))
}

fn parse_object(object: &Map<String, Json>) -> Result<Entry, String> {
    const KINDS: [&str; 4] = ["batch", "record", "packet", "keys"];
    let mut kinds = KINDS.iter().filter(|kind| object.contains_key(**kind));
    let entry = match (kinds.next(), kinds.next()) {
        (Some(a), Some(b)) => return Err(format!("both a `{a}` and a `{b}`")),
        (Some(&"batch"), _) => Entry::Batch {
            body: bytes(object, "batch")?,
            hash: optional(object, "hash", array)?.map(SetHash),
            labels: Labels {
                device: optional(object, "device", text)?,
                identity: optional(object, "identity", |json| identity(&text(json)?))?,
                boot: optional(object, "boot", |json| {
                    number(json)?.try_into().map_err(|_| "too great".into())
                })?,
                tag: optional(object, "tag", array)?.map(BootTag),
                lane: optional(object, "lane", lane)?,
            },
        },
        (Some(&"record"), _) => Entry::Record(bytes(object, "record")?),
        (Some(&"packet"), _) => Entry::Packet(packet(object)?),
        (Some(_), _) => {
            let keys = keys(object["keys"].as_object().ok_or("`keys` is not an object")?)?;
            Entry::Keys(keys, optional(object, "identity", |json| identity(&text(json)?))?)
        }
        (None, _) if object.contains_key("set") => Entry::Set(bytes(object, "set")?),
        (None, _) => return Err("neither a set, a batch, a record, a packet nor keys".into()),
    };
    Ok(entry)
}

/// Reads a whole document of the form of `tests/vectors/packets.json` or `records.json`.
pub fn parse_document(text: &str) -> Result<Vec<Entry>, String> {
    let json: Json = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let object = json.as_object().ok_or("not a JSON object")?;
    let mut entries = Vec::new();
    if let Some(set) = object.get("set").and_then(Json::as_object) {
        entries.push(Entry::Set(bytes(set, "bytes")?));
    }
    let each = |name: &str| object.get(name).and_then(Json::as_array).into_iter().flatten();
    for record in each("records") {
        entries.push(Entry::Record(bytes(record.as_object().ok_or("a record is not an object")?, "bytes")?));
    }
    if object.contains_key("handshake_hash") {
        entries.push(Entry::Keys(keys(object)?, None));
    }
    let single = ["retry", "reset"].into_iter().filter_map(|name| object.get(name));
    for json in each("data").chain(single) {
        entries.push(Entry::Packet(packet(json.as_object().ok_or("a packet is not an object")?)?));
    }
    if entries.is_empty() {
        return Err("a JSON document without records and packets".into());
    }
    Ok(entries)
}

fn packet(object: &Map<String, Json>) -> Result<Packet, String> {
    let from = optional(object, "from", |json| match json.as_str() {
        Some("device") => Ok(Side::Device),
        Some("backend") => Ok(Side::Backend),
        _ => Err("neither \"device\" nor \"backend\"".into()),
    })?;
    let id = optional(object, "connection_id", |json| unhex(&text(json)?))?;
    if id.as_ref().is_some_and(|id| id.len() > 8) {
        return Err("`connection_id`: longer than 8 bytes".into());
    }
    Ok(Packet {
        bytes: bytes(object, "packet")?,
        from,
        id_len: id.map(|id| id.len()),
        counter: optional(object, "counter", number)?,
    })
}

/// Reads session keys.
pub fn keys(object: &Map<String, Json>) -> Result<Keys, String> {
    let ephemeral = optional(object, "ephemeral", |json| {
        json.as_array().ok_or("not a list")?.iter().map(array::<32>).collect::<Result<Vec<_>, String>>()
    })?;
    Ok(Keys {
        handshake_hash: required(object, "handshake_hash", array)?,
        split_keys: required(object, "split_keys", array)?,
        ephemeral: ephemeral.unwrap_or_default(),
    })
}

fn optional<T>(
    object: &Map<String, Json>,
    name: &str,
    read: impl FnOnce(&Json) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let value = object.get(name).filter(|json| !json.is_null());
    value.map(|json| read(json).map_err(|error| format!("`{name}`: {error}"))).transpose()
}

fn required<T>(
    object: &Map<String, Json>,
    name: &str,
    read: impl FnOnce(&Json) -> Result<T, String>,
) -> Result<T, String> {
    optional(object, name, read)?.ok_or_else(|| format!("`{name}` is missing"))
}

fn bytes(object: &Map<String, Json>, name: &str) -> Result<Vec<u8>, String> {
    required(object, name, |json| unhex(&text(json)?))
}

fn array<const N: usize>(json: &Json) -> Result<[u8; N], String> {
    let bytes = unhex(&text(json)?)?;
    let len = bytes.len();
    bytes.try_into().map_err(|_| format!("{len} bytes instead of {N}"))
}

/// Reads a device's identity as the library writes it: `issuer/subject`, in hex.
pub fn identity(text: &str) -> Result<Identity, String> {
    let part = |text: &str| unhex(text).ok();
    let parts = text.split_once('/').and_then(|(issuer, subject)| {
        Some((part(issuer)?.try_into().ok()?, part(subject)?.try_into().ok()?))
    });
    let (issuer, subject) = parts.ok_or("not of the form ISSUER/SUBJECT, 8 and 16 bytes in hex")?;
    Ok(Identity { issuer: IssuerId(issuer), subject: SubjectId(subject) })
}

fn lane(json: &Json) -> Result<Lane, String> {
    let named = Lane::ALL.into_iter().find(|lane| json.as_str() == Some(super::names::lane(*lane)));
    named.ok_or_else(|| "not a lane: alarm, event, trend or waveform".into())
}

fn text(json: &Json) -> Result<String, String> {
    json.as_str().map(str::to_owned).ok_or_else(|| "not a text".into())
}

fn number(json: &Json) -> Result<u64, String> {
    json.as_u64().ok_or_else(|| "not a number".into())
}

/// Reads hex; an error says where.
fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digit = |(at, byte): (usize, u8)| {
        let digit = char::from(byte).to_digit(16).ok_or_else(|| format!("no hex digit at {}", at + 1))?;
        Ok(digit as u8)
    };
    let digits: Vec<u8> = text.bytes().enumerate().map(digit).collect::<Result<_, String>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err(format!("an odd number of hex digits, {}", digits.len()));
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
