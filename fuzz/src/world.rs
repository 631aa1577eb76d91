//! Fixed identities, keys and descriptors: the same in every run.

use std::sync::LazyLock;
use vitalwire::backend::{Backend, BackendConfig, Inbound, OwnedBatch, Received};
use vitalwire::crypto::{Psk, SigningKey, StaticSecret, hazmat};
use vitalwire::device::DeviceConfig;
use vitalwire::framing::*;
use vitalwire::handshake::{Initiator, Limits, Responder};
use vitalwire::identity::*;
use vitalwire::wire::PskId;
use vitalwire::{Entropy, EntropyError, Instant, UnixSeconds};

/// What every clock says.
pub const CLOCK: UnixSeconds = UnixSeconds(1_750_000_000);
pub const PSK: [u8; 32] = [0x5a; 32];
pub const PSK_ID: PskId = PskId([9; 8]);

/// A generator for tests: splitmix64.
pub struct SeedRng(pub u64);

impl Entropy for SeedRng {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(word ^ word >> 31).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

pub struct World {
    pub anchors: TrustAnchors,
    /// Another authority's anchors: trusts nobody here.
    pub strangers: TrustAnchors,
    pub devices: [LocalIdentity; 2],
    pub backend: LocalIdentity,
    pub responder: Responder,
    /// The encoded set of [`channels`].
    pub set: Vec<u8>,
    /// The same with 1 to 5 further numeric channels, from [`FURTHER`] on.
    pub grown: Vec<Vec<u8>>,
}

pub fn time() -> Time {
    Time::known(CLOCK)
}

pub fn psk() -> Psk {
    Psk::from_bytes(PSK)
}

pub fn identity(authority: &Authority, subject: u8, role: Role) -> LocalIdentity {
    let (from, until) = (UnixSeconds(CLOCK.0 - 1000), UnixSeconds(CLOCK.0 + 1000));
    let (name, scopes) = (SubjectId([subject; 16]), Scopes::from_bits(0x3f));
    let request = CredentialRequest::new(subject.into(), name, role, scopes, from, until);
    let secret = StaticSecret::from_bytes([subject; 32]);
    LocalIdentity::issue(authority, secret, &request).expect("the times are in range")
}

/// Hands a packet to a backend; returns the batches that it delivers.
pub fn hand_over(backend: &mut Backend<u64>, now: Instant, path: u64, packet: &[u8]) -> Vec<OwnedBatch> {
    let (mut copy, mut batches) = (packet.to_vec(), Vec::new());
    let mut inbound = [Inbound { path, packet: &mut copy }];
    backend.handle_packets(now, &mut inbound, &mut |received| {
        if let Received::Batch(batch) = received {
            batches.push(batch.to_owned());
        }
    });
    batches
}

/// The first channel that a grown set has more.
pub const FURTHER: u8 = 50;

/// One channel of each kind, and what is special: 0 heart rate at 1 Hz, 1 SpO2 and pulse, 2 temperature without
/// rate, 3 ECG at 360 Hz, 4 event with value, 5 event without, 6 alarm source, 40 a far number.
fn encode_set(further: u8) -> Vec<u8> {
    let one = |metric, unit| [Component::new(metric, unit)];
    let (rate, ecg, dose) = (one(147_842, 264_864), one(131_329, 266_418), one(1, 2));
    let pair = [Component::new(150_456, 262_688), Component::new(149_530, 264_864)];
    let temperature = [Component::scaled(150_364, 268_192, -1)];
    let eight = [Component::new(7, 8); 8];
    let mut channels = vec![
        ChannelDescriptor::new(0, ChannelKind::Numeric, 147_842, (&rate).into()),
        ChannelDescriptor::new(1, ChannelKind::Numeric, 150_456, (&pair).into()),
        ChannelDescriptor::new(2, ChannelKind::Numeric, 150_364, (&temperature).into()),
        ChannelDescriptor::new(3, ChannelKind::Waveform, 131_329, (&ecg).into()),
        ChannelDescriptor::new(4, ChannelKind::Event, 1, (&dose).into()),
        ChannelDescriptor::new(5, ChannelKind::Event, 2, (&[]).into()),
        ChannelDescriptor::new(6, ChannelKind::Alarm, 3, (&[]).into()),
        ChannelDescriptor::new(40, ChannelKind::Numeric, 4, (&eight).into()),
    ];
    channels[0].rate = Some(Rate::per_second(1));
    channels[3].rate = Some(Rate::per_second(360));
    channels[6].extensions = &[1, 2, 0xaa, 0xbb];
    for number in FURTHER..FURTHER + further {
        channels.push(ChannelDescriptor::new(number, ChannelKind::Numeric, 5, (&dose).into()));
    }
    let mut out = vec![0u8; 512];
    let len = encode_descriptors(&channels, &mut out).expect("the channels are consistent");
    out.truncate(len);
    out
}

pub fn world() -> &'static World {
    static WORLD: LazyLock<World> = LazyLock::new(|| {
        let authority = Authority::new(SigningKey::from_bytes([0xa1; 32]));
        let other = Authority::new(SigningKey::from_bytes([0xa2; 32]));
        let anchors = TrustAnchors::new(&[authority.public_key()]).expect("one anchor");
        let strangers = TrustAnchors::new(&[other.public_key()]).expect("one anchor");
        let devices = [identity(&authority, 1, Role::Device), identity(&authority, 2, Role::Device)];
        let backend = identity(&authority, 3, Role::Backend);
        let grown = (1..=5).map(encode_set).collect();
        let responder = Responder::new(backend.clone(), anchors, Limits::BACKEND);
        World { anchors, strangers, devices, backend, responder, set: encode_set(0), grown }
    });
    &WORLD
}

impl World {
    pub fn channels(&self) -> DescriptorSet<'_> {
        DescriptorSet::parse(&self.set).expect("the set was encoded here")
    }

    pub fn device_config(&self, device: usize, outbox_len: usize) -> DeviceConfig {
        DeviceConfig::new(self.devices[device].clone(), self.anchors, time(), 1, outbox_len)
    }

    pub fn backend_config(&self) -> BackendConfig {
        BackendConfig::new(self.backend.clone(), self.anchors, time())
    }

    /// The settings of a device's handshake in the pattern of this number: XX, IK, XXpsk3, IKpsk2.
    pub fn initiator<'a>(
        &'a self,
        device: usize,
        pattern: Shape,
        psk: &'a Psk,
        key: &'a Key,
    ) -> Initiator<'a> {
        Initiator {
            backend_key: pattern.ik().then_some(key),
            psk: pattern.psk().then_some((PSK_ID, psk)),
            ..Initiator::new(&self.devices[device], &self.anchors)
        }
    }
}

pub type Key = vitalwire::crypto::PublicKey;

/// Which pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Xx,
    Ik,
    XxPsk3,
    IkPsk2,
}

impl Shape {
    pub const ALL: [Self; 4] = [Self::Xx, Self::Ik, Self::XxPsk3, Self::IkPsk2];

    pub fn ik(self) -> bool {
        matches!(self, Self::Ik | Self::IkPsk2)
    }

    pub fn psk(self) -> bool {
        matches!(self, Self::XxPsk3 | Self::IkPsk2)
    }
}

/// The MAC of a Hello by SPEC.md's formula, from public parts, for packets that no honest device writes.
pub fn hello_mac(anchor: &[u8; 32], covered: &[u8]) -> [u8; 16] {
    let mut key = [0u8; 32];
    assert!(hazmat::hkdf(&[0; 32], anchor, b"vitalwire/1 hello mac", &mut key));
    *hazmat::hmac_blake2s(&key, covered).first_chunk().expect("32 bytes")
}

/// The anchor of the Hello MAC.
pub fn anchor(shape: Shape) -> [u8; 32] {
    let world = world();
    if shape.ik() {
        return world.backend.public_key().0;
    }
    world.anchors.keys().next().expect("one anchor").0
}
