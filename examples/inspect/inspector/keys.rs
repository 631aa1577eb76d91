//! Opens packets with the keys of a session, by SPEC.md, "Key schedule".
//!
//! An observer, not an end: it seals nothing, erases nothing, follows both directions, and opens what comes twice.

use std::collections::{BTreeMap, BTreeSet};
use vitalwire::crypto::hazmat;
use vitalwire::wire::{DataHeader, EpochBits, Side, TAG_LEN, reconstruct};

/// What a handshake ended with, and the secrets of later DH ratchets.
pub struct Keys {
    pub handshake_hash: [u8; 32],
    pub split_keys: [u8; 64],
    /// Secret X25519 keys of either end.
    pub ephemeral: Vec<[u8; 32]>,
}

/// A packet that was opened.
pub struct Opened {
    pub from: Side,
    pub epoch: u64,
    pub counter: u64,
    pub payload: Vec<u8>,
    /// Whether a packet with this counter was opened before.
    pub repeated: bool,
}

/// The keys of an epoch.
struct Epoch {
    device_to_backend: [u8; 32],
    backend_to_device: [u8; 32],
    next: [u8; 32],
    /// What the RekeyRequest and the RekeyAccept of this epoch say.
    request: Option<[u8; 32]>,
    accept: Option<[u8; 32]>,
}

/// What is known of one direction.
#[derive(Default)]
struct Direction {
    highest: Option<u64>,
    seen: BTreeSet<u64>,
    id_len: Option<usize>,
}

/// Follows one session.
pub struct Opener {
    keys: Keys,
    epochs: BTreeMap<u64, Epoch>,
    current: u64,
    device: Direction,
    backend: Direction,
}

/// `Derive` of SPEC.md: one block of HKDF-Expand is enough for 32 bytes.
fn derive(secret: &[u8; 32], label: &str) -> [u8; 32] {
    hazmat::hmac_blake2s(secret, format!("vitalwire/1 {label}\x01").as_bytes())
}

/// `Extract` of SPEC.md.
fn extract(salt: &[u8; 32], ikm: &[&[u8]]) -> [u8; 32] {
    hazmat::hmac_blake2s(salt, &ikm.concat())
}

impl Epoch {
    fn new(chain: &[u8; 32]) -> Self {
        Self {
            device_to_backend: derive(chain, "d2b"),
            backend_to_device: derive(chain, "b2d"),
            next: derive(chain, "next"),
            request: None,
            accept: None,
        }
    }

    const fn key(&self, from: Side) -> &[u8; 32] {
        match from {
            Side::Device => &self.device_to_backend,
            Side::Backend => &self.backend_to_device,
        }
    }
}

impl Opener {
    pub fn new(keys: Keys) -> Self {
        let first = Epoch::new(&extract(&keys.handshake_hash, &[&keys.split_keys]));
        Self {
            keys,
            epochs: BTreeMap::from([(0, first)]),
            current: 0,
            device: Direction::default(),
            backend: Direction::default(),
        }
    }

    /// Opens a packet; what is not known of it is tried.
    pub fn open(&mut self, packet: &super::entry::Packet) -> Result<Opened, String> {
        let sides = packet.from.map_or(vec![Side::Device, Side::Backend], |side| vec![side]);
        let mut header_error = None;
        for from in sides {
            let lengths: Vec<usize> = match packet.id_len {
                Some(len) => vec![len],
                // what opened last time is likely to open again
                None => self.direction(from).id_len.into_iter().chain(0..=8).collect(),
            };
            for id_len in lengths {
                match DataHeader::parse(&packet.bytes, id_len) {
                    Ok(header) => {
                        if let Some(opened) = self.try_open(&packet.bytes, &header, from, packet.counter) {
                            self.direction_mut(from).id_len = Some(id_len);
                            return Ok(opened);
                        }
                    }
                    Err(error) => header_error = Some(error),
                }
            }
        }
        Err(match (header_error, self.missing_ratchet()) {
            (Some(error), _) if DataHeader::parse(&packet.bytes, 0).is_err() => error.to_string(),
            (_, Some(epoch)) => format!(
                "it does not open; epoch {epoch} may follow from a DH ratchet whose secret is not among the keys"
            ),
            _ => "it does not open with these keys".into(),
        })
    }

    /// Tries the epochs with these low bits.
    fn try_open(
        &mut self,
        packet: &[u8],
        header: &DataHeader,
        from: Side,
        counter: Option<u64>,
    ) -> Option<Opened> {
        let direction = self.direction(from);
        let expected = direction.highest.map_or(0, |highest| highest + 1);
        let counter =
            counter.unwrap_or_else(|| reconstruct(expected, header.truncated(), header.counter_len()));
        // the current one, which is the latest that is known, then the next two, then the older ones
        let newer = self.current..self.current.saturating_add(3);
        let older = self.epochs.keys().rev().copied().filter(|epoch| *epoch < self.current);
        let epochs = newer.chain(older).filter(|epoch| EpochBits::of(*epoch) == header.epoch());
        let (epoch, payload, steps) = epochs.into_iter().find_map(|epoch| {
            self.chain_to(epoch).into_iter().find_map(|steps| {
                let keys = steps.last().or(self.epochs.get(&epoch))?;
                let payload = open_with(keys.key(from), packet, header, counter)?;
                Some((epoch, payload, steps))
            })
        })?;
        for (epoch, keys) in (self.current + 1..).zip(steps) {
            self.epochs.insert(epoch, keys);
        }
        self.current = self.current.max(epoch);
        let direction = self.direction_mut(from);
        direction.highest = direction.highest.max(Some(counter));
        let repeated = !direction.seen.insert(counter);
        Some(Opened { from, epoch, counter, payload, repeated })
    }

    /// Lists the ways from the current epoch to this one: none to go, or the new epochs after each kind of ratchet.
    fn chain_to(&self, epoch: u64) -> Vec<Vec<Epoch>> {
        let Some(from) = self.epochs.get(&self.current).filter(|_| epoch > self.current) else {
            return vec![Vec::new()];
        };
        let mut ways = Vec::new();
        for chain in [self.dh_chain(from), Some(from.next)].into_iter().flatten() {
            let mut way = vec![Epoch::new(&chain)];
            while way.len() < (epoch - self.current) as usize {
                let next = way.last().map(|last| Epoch::new(&last.next));
                way.extend(next);
            }
            ways.push(way);
        }
        ways
    }

    /// The chain key after a DH ratchet in the current epoch, if both public keys and one secret are known.
    fn dh_chain(&self, epoch: &Epoch) -> Option<[u8; 32]> {
        let (device, backend) = (epoch.request?, epoch.accept?);
        let public = |secret: &[u8; 32]| x25519_dalek::x25519(*secret, x25519_dalek::X25519_BASEPOINT_BYTES);
        let shared = self.keys.ephemeral.iter().find_map(|secret| match public(secret) {
            own if own == device => Some(x25519_dalek::x25519(*secret, backend)),
            own if own == backend => Some(x25519_dalek::x25519(*secret, device)),
            _ => None,
        })?;
        let number = (self.current + 1).to_le_bytes();
        let hash = &self.keys.handshake_hash;
        Some(extract(&epoch.next, &[&shared, b"vitalwire/1 dh ratchet", hash, &number, &device, &backend]))
    }

    /// Returns the epoch that a DH ratchet leads to, if its secret is not known.
    fn missing_ratchet(&self) -> Option<u64> {
        let epoch = self.epochs.get(&self.current)?;
        (epoch.accept.is_some() && self.dh_chain(epoch).is_none()).then_some(self.current + 1)
    }

    /// Takes the public key of a RekeyRequest or RekeyAccept, by who sent it.
    pub fn rekey(&mut self, from: Side, epoch: u64, public: [u8; 32]) {
        if let Some(epoch) = self.epochs.get_mut(&epoch) {
            match from {
                // the first request of an epoch is the one that is answered
                Side::Device => epoch.request = epoch.request.or(Some(public)),
                Side::Backend => epoch.accept = Some(public),
            }
        }
    }

    const fn direction(&self, from: Side) -> &Direction {
        match from {
            Side::Device => &self.device,
            Side::Backend => &self.backend,
        }
    }

    const fn direction_mut(&mut self, from: Side) -> &mut Direction {
        match from {
            Side::Device => &mut self.device,
            Side::Backend => &mut self.backend,
        }
    }
}

fn open_with(key: &[u8; 32], packet: &[u8], header: &DataHeader, counter: u64) -> Option<Vec<u8>> {
    let (head, rest) = packet.split_at_checked(header.header_len())?;
    let (body, tag) = rest.split_last_chunk::<TAG_LEN>()?;
    let mut body = body.to_vec();
    hazmat::open(key, counter, head, &mut body, tag).ok()?;
    Some(body)
}
