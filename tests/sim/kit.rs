//! Identities, keys, descriptor sets and deterministic randomness for tests.

use vitalwire::crypto::{Psk, ServiceKey, SigningKey, StaticSecret, TicketKey};
use vitalwire::framing::*;
use vitalwire::handshake::TicketKeys;
use vitalwire::identity::*;
use vitalwire::{Duration, Entropy, EntropyError, Instant, UnixSeconds};

/// SplitMix64: good enough to simulate a link, and the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5eed_0f7e_57aa)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(crate) fn chance(&mut self, share: f64) -> bool {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64 > 1.0 - share
    }

    pub(crate) fn between(&mut self, span: (u64, u64)) -> Duration {
        ms(span.0 + self.below(span.1 - span.0 + 1))
    }
}

impl Entropy for Rng {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A generator that is broken.
pub(crate) struct Broken;

impl Entropy for Broken {
    fn fill(&mut self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError)
    }
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// The seeds of a test: from 1 to `count` (or `VITALWIRE_SEEDS` times as many), or `VITALWIRE_SEED` alone. Each is
/// printed.
pub(crate) fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let times = number("VITALWIRE_SEEDS").unwrap_or(1);
    let range = number("VITALWIRE_SEED").map_or(1..=count * times, |seed| seed..=seed);
    range.inspect(|seed| println!("VITALWIRE_SEED={seed}"))
}

/// One authority, a backend and as many devices as are asked for.
pub(crate) struct Pki {
    pub(crate) authority: Authority,
    rng: Rng,
    /// The serial number of the latest credential: the backend's is 1.
    serial: u32,
}

pub(crate) const CLOCK: UnixSeconds = UnixSeconds(1_750_000_000);

impl Pki {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self { authority: Authority::new(SigningKey::generate(&mut rng).unwrap()), rng, serial: 0 }
    }

    pub(crate) fn anchors(&self) -> TrustAnchors {
        TrustAnchors::new(&[self.authority.public_key()]).unwrap()
    }

    /// A new credential for an identity, as `change` has it: it was issued a day later than the first one, which it
    /// outlasts.
    pub(crate) fn renewed(
        &mut self,
        identity: &LocalIdentity,
        change: impl FnOnce(&mut CredentialRequest),
    ) -> Credential {
        self.serial += 1;
        let (issued, not_after) = (UnixSeconds(1_700_086_400), UnixSeconds(1_900_000_000));
        let subject = identity.identity().unwrap().subject;
        let scopes = identity.credential().claimed_scopes();
        let mut request =
            CredentialRequest::new(self.serial, subject, Role::Device, scopes, issued, not_after);
        change(&mut request);
        self.authority.issue(&identity.public_key(), &request).unwrap()
    }

    /// A revocation list of these serials of devices.
    pub(crate) fn list(&self, number: u64, devices: &[std::ops::RangeInclusive<u32>]) -> Vec<u8> {
        let request = RevocationRequest { number, issued: CLOCK, issuers: &[], backends: &[], devices };
        self.authority.revoke(&request).unwrap()
    }

    pub(crate) fn time(&self) -> Time {
        Time::known(CLOCK)
    }

    pub(crate) fn identity(&mut self, subject: SubjectId, role: Role, scopes: Scopes) -> LocalIdentity {
        let (issued, not_after) = (UnixSeconds(1_700_000_000), UnixSeconds(1_800_000_000));
        self.serial += 1;
        let request = CredentialRequest::new(self.serial, subject, role, scopes, issued, not_after);
        let secret = StaticSecret::generate(&mut self.rng).unwrap();
        LocalIdentity::issue(&self.authority, secret, &request).unwrap()
    }

    pub(crate) fn device(&mut self, number: usize) -> LocalIdentity {
        self.identity(subject(number), Role::Device, Scopes::PUBLISH | Scopes::COMMANDS)
    }

    pub(crate) fn backend(&mut self) -> LocalIdentity {
        self.identity(SubjectId([0xbe; 16]), Role::Backend, Scopes::COMMANDS)
    }
}

pub(crate) fn subject(number: usize) -> SubjectId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
    SubjectId(id)
}

/// The number of a device that [`Pki::device`] made.
pub(crate) fn number_of(identity: &Identity) -> usize {
    u64::from_le_bytes(identity.subject.0[..8].try_into().unwrap()) as usize - 1
}

pub(crate) fn pin_of(identity: &LocalIdentity) -> vitalwire::device::BackendPin {
    vitalwire::device::BackendPin {
        key: identity.public_key(),
        identity: identity.identity().unwrap(),
        credential: None,
    }
}

/// The serial number of what [`Pki::device`] made, if the backend came first, and the devices in order.
pub(crate) const fn serial_of(number: usize) -> u32 {
    number as u32 + 2
}

/// The ticket keys of a service.
pub(crate) fn ticket_keys(number: u8) -> TicketKeys {
    TicketKeys::new(ServiceKey::from_bytes([0x5e; 32]), TicketKey::from_bytes([number; 32]), None)
}

pub(crate) fn psk(number: u8) -> Psk {
    Psk::from_bytes([number; 32])
}

/// Channel 1 heart rate, 2 key presses, 3 ECG; `more` further numeric channels make the set as long as one likes.
pub(crate) fn descriptors(more: u8) -> Vec<u8> {
    let rate = [Component::new(147_842, 264_864)];
    let ecg = [Component::new(131_329, 266_418)];
    let mut channels = vec![
        ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&rate).into()),
        ChannelDescriptor::new(2, ChannelKind::Event, 66_000, (&[]).into()),
        ChannelDescriptor::new(3, ChannelKind::Waveform, 131_329, (&ecg).into()),
    ];
    channels[2].rate = Some(Rate::per_second(360));
    for number in 0..more {
        channels.push(ChannelDescriptor::new(10 + number, ChannelKind::Numeric, 147_842, (&rate).into()));
    }
    let mut bytes = [0; 2048];
    let len = encode_descriptors(&channels, &mut bytes).unwrap();
    bytes[..len].to_vec()
}

/// Heart rate.
pub(crate) fn rate(value: i32) -> Record<'static> {
    Record::Measurement(Measurement::new(1, Values::valid(&[value]).unwrap()))
}

/// A value of one of the further channels of [`descriptors`].
pub(crate) fn further(number: u8, value: i32) -> Record<'static> {
    Record::Measurement(Measurement::new(10 + number, Values::valid(&[value]).unwrap()))
}

/// A key press.
pub(crate) fn event(code: u32) -> Record<'static> {
    Record::Event(Event { channel: 2, mode: Mode::Real, code, value: None })
}

/// A high alarm on the heart rate.
pub(crate) fn alarm(code: u32) -> Record<'static> {
    Record::Alarm(Alarm::new(1, AlarmKind::Physiological, Priority::High, Phase::Start, code))
}

/// Sample `index` of device `number`'s ECG.
pub(crate) fn sample(number: usize, index: u64) -> i32 {
    let mut rng = Rng::new(index / 3 + 1000 * number as u64);
    1024 + (rng.below(41) as i32 - 20) + (index % 7) as i32
}
