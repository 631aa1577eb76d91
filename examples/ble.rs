//! A device on a BLE link of 20 bytes, a phone that relays, and a backend: what a handshake and a record take.
//!
//! The phone holds no key. It puts fragments together, forwards whole packets, and cuts the backend's answers for the
//! link. Then the same for other sizes of the link. Nothing is random in what is printed.
//!
//! `cargo run --example ble`

use vitalwire::backend::{Backend, BackendConfig, BackendEvent, Grant, Inbound, Received};
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::device::{BackendPin, Device, DeviceConfig, DeviceEvent, DeviceMemory, Link};
use vitalwire::framing::{
    ChannelDescriptor, ChannelKind, Component, Lane, Measurement, Record, Values, encode_descriptors,
};
use vitalwire::handshake::Limits;
use vitalwire::identity::{
    Authority, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::wire::link::{Fragmenter, LinkError, Reassembler};
use vitalwire::wire::{PacketKind, Side};
use vitalwire::{Duration, Instant, OsEntropy, UnixSeconds};

type Error = Box<dyn std::error::Error>;
const TODAY: UnixSeconds = UnixSeconds(1_750_000_000);
const TOMORROW: UnixSeconds = UnixSeconds(TODAY.0 + 86_400);
/// The least that BLE carries in a notification or a write: an ATT MTU of 23 less 3.
const SMALLEST: u16 = 20;
/// Sizes of links, and of the device's packets on them: ATT MTUs of 23, 53, 185 (usual on phones), 188 and 247 (one
/// packet of BLE's link layer).
const SIZES: [(u16, u16); 7] = [(20, 64), (20, 244), (50, 64), (50, 244), (182, 182), (185, 185), (244, 244)];

/// One direction of the link between the device and the phone: a sender's and a receiver's end.
struct Direction {
    fragmenter: Fragmenter,
    reassembler: Reassembler<512>,
}

/// What crossed the link for one packet or several.
#[derive(Clone, Copy, Default)]
struct Cost {
    packets: usize,
    pieces: usize,
    bytes: usize,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.pieces += other.pieces;
        self.bytes += other.bytes;
    }
}

impl Direction {
    fn new(max_packet: u16) -> Result<Self, LinkError> {
        Ok(Self { fragmenter: Fragmenter::new(max_packet)?, reassembler: Reassembler::new() })
    }

    /// Sends a packet over the link; returns what the other end puts together of it.
    fn carry(&mut self, now: Instant, packet: &[u8]) -> Result<(Vec<u8>, Cost), Error> {
        let mut cost = Cost { packets: 1, ..Cost::default() };
        let (mut piece, mut whole) = ([0u8; 512], None);
        let mut outgoing = self.fragmenter.split(packet)?;
        while let Some(piece) = self.fragmenter.next(&mut outgoing, &mut piece)? {
            cost.pieces += 1;
            cost.bytes += piece.len();
            if let Some(packet) = self.reassembler.handle(now, piece) {
                whole = Some(packet.to_vec());
            }
        }
        Ok((whole.ok_or("the link lost a piece, and this one loses none")?, cost))
    }
}

/// Makes a key pair and has the authority sign who holds it.
fn identity(authority: &Authority, subject: &[u8; 16], role: Role) -> Result<LocalIdentity, Error> {
    let request = CredentialRequest::new(1, SubjectId(*subject), role, Scopes::PUBLISH, TODAY, TOMORROW);
    Ok(LocalIdentity::issue(authority, StaticSecret::generate(&mut OsEntropy)?, &request)?)
}

/// Who trusts whom.
struct World {
    anchors: TrustAnchors,
    patch: LocalIdentity,
    service: LocalIdentity,
    descriptors: Vec<u8>,
}

/// What a session has taken of the link: its handshake, and all that followed.
struct Taken {
    handshake: Cost,
    records: Cost,
    pin: Option<BackendPin>,
}

/// Connects, sends `count` heart rates, and returns when the device knows that they are stored. Prints each packet if
/// `verbose`.
fn session(
    world: &World,
    (link, max_packet): (u16, u16),
    pin: Option<BackendPin>,
    count: i32,
    verbose: bool,
) -> Result<Taken, Error> {
    let mut outbox = [0u8; 16_384];
    let mut config =
        DeviceConfig::new(world.patch.clone(), world.anchors, Time::floor_only(TODAY), 1, outbox.len());
    // The size of the packets that the device builds, not that of the link.
    (config.pin, config.smallest_packet) = (pin, max_packet);
    // What the backend may send: no more than the link can carry and the device's buffer holds.
    config.limits = Limits::SMALL_LINK;
    let memory = DeviceMemory { outbox: &mut outbox, descriptors: &world.descriptors, backlog: &mut [] };
    let mut device = Device::new(config, memory)?;
    let config = BackendConfig::new(world.service.clone(), world.anchors, Time::known(TODAY));
    let mut backend = Backend::<()>::new(config)?;
    let (mut up, mut down) = (Direction::new(link)?, Direction::new(link)?);

    let mut now = Instant::ZERO;
    device.handle_link(now, Link::Up { max_packet });
    device.connect(now);
    for beat in 0..count {
        let rate = Measurement::new(1, Values::valid(&[70 + beat % 5])?);
        device.record(now, Lane::Event, &Record::Measurement(rate))?;
    }
    let mut taken = Taken { handshake: Cost::default(), records: Cost::default(), pin: None };
    let mut note = |packet: &[u8], from: Side, cost: Cost| {
        let kind = PacketKind::parse(packet, from);
        let of = if kind == Ok(PacketKind::Data) { &mut taken.records } else { &mut taken.handshake };
        *of += cost;
        if verbose {
            let way = if from == Side::Device { "device -> phone" } else { "phone -> device" };
            let kind = kind.map_or_else(|discard| discard.to_string(), |kind| format!("{kind:?}"));
            let Cost { pieces, bytes, .. } = cost;
            println!("{way}  {kind:<6} {:>3} bytes in {pieces:>2} pieces, {bytes:>3} bytes", packet.len());
        }
    };
    let mut out = [0u8; 1500];
    while !device.is_drained() {
        while let Some(packet) = device.poll_transmit(now, &mut OsEntropy, &mut out)? {
            let (mut whole, cost) = up.carry(now, packet)?;
            note(&whole, Side::Device, cost);
            // The phone forwards it over its network.
            let mut stored = Vec::new();
            let inbound = Inbound { path: (), packet: &mut whole };
            backend.handle_packets(now, &mut [inbound], &mut |received| {
                if let Received::Batch(batch) = received {
                    stored.push(batch.handle());
                }
            });
            for batch in stored {
                backend.commit(now, batch);
            }
        }
        while let Some(job) = backend.poll_handshake() {
            backend.handle_handshake(now, job.run(&mut OsEntropy));
        }
        while let Some(event) = backend.poll_event() {
            if let BackendEvent::Pending { pending, credential, .. } = event {
                backend.accept(now, pending, Grant { scopes: credential.scopes(), ..Grant::default() })?;
            }
        }
        while let Some(transmit) = backend.poll_transmit(now, &mut OsEntropy, &mut out)? {
            let (mut whole, cost) = down.carry(now, transmit.packet)?;
            note(&whole, Side::Backend, cost);
            device.handle_packet(now, &mut whole, &mut |_| {});
        }
        now = now + Duration::from_millis(10);
    }
    while let Some(event) = device.poll_event() {
        if let DeviceEvent::Connected { backend, .. } = event {
            taken.pin = Some(backend);
        }
    }
    Ok(taken)
}

fn main() -> Result<(), Error> {
    let authority = Authority::new(SigningKey::generate(&mut OsEntropy)?);
    let component = [Component::new(147_842, 264_864)];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&component).into());
    let mut descriptors = [0u8; 64];
    let len = encode_descriptors(&[channel], &mut descriptors)?;
    let world = World {
        anchors: TrustAnchors::new(&[authority.public_key()])?,
        patch: identity(&authority, b"patch-0000000001", Role::Device)?,
        service: identity(&authority, b"service-00000001", Role::Backend)?,
        descriptors: descriptors[..len].to_vec(),
    };

    println!("first contact (XX), a heart rate, a link of {SMALLEST} bytes");
    let first = session(&world, (SMALLEST, 64), None, 1, true)?;
    println!("\nthe backend's key is known (IK)");
    session(&world, (SMALLEST, 64), first.pin, 1, true)?;

    println!("\nbytes on the link, both ways, in so many pieces");
    println!(
        "link  packets  XX handshake  IK handshake  IK, credential known  60 heart rates with all answers"
    );
    for sizes in SIZES {
        let xx = session(&world, sizes, None, 60, false)?;
        let ik = session(&world, sizes, xx.pin, 60, false)?;
        let credential = Some(*world.service.credential());
        let pin = xx.pin.map(|pin| BackendPin { credential, ..pin });
        let known = session(&world, sizes, pin, 60, false)?;
        let show = |cost: Cost| format!("{} in {}", cost.bytes, cost.pieces);
        let [xx, ik, short] = [xx.handshake, ik.handshake, known.handshake].map(show);
        let (link, packets) = sizes;
        let records = known.records;
        println!(
            "{link:>4}  {packets:>7}  {xx:<12}  {ik:<12}  {short:<20}  {} ({} packets)",
            show(records),
            records.packets
        );
    }
    Ok(())
}
