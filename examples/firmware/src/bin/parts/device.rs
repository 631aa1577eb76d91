//! A complete device against a bare backend in the same memory: XX, a session, records, and their acknowledgement.
//!
//! The backend's half is put together from `handshake` and `session` and does the least that a device can notice.

extern crate alloc;

use alloc::sync::Arc;
use cortex_m_semihosting::hprintln;
use firmware_measure::HeapGauge;
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::device::{Device, DeviceConfig, DeviceEvent, DeviceMemory, Link};
use vitalwire::framing::{
    AckFrame, ChannelDescriptor, ChannelKind, Component, Frame, FrameWriter, Frames, Lane, Measurement,
    Record, Values, encode_descriptors,
};
use vitalwire::handshake::{Limits, ReplyWritten, Responder};
use vitalwire::identity::{
    Authority, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, DataHeader, Finish};
use vitalwire::{Entropy, EntropyError, Instant, UnixSeconds};
use vitalwire_firmware::heap::HEAP;
use vitalwire_firmware::{Failure, measure::Counter};

/// A stand-in for a hardware generator, so that the figures are the same in every run. Never do this in a device.
struct Fixed(u64);

impl Entropy for Fixed {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
        Ok(())
    }
}

fn identity(authority: &Authority, seed: u8, role: Role) -> Result<LocalIdentity, Failure> {
    let secret = StaticSecret::from_bytes([seed; 32]);
    let public = secret.public_key();
    let time = UnixSeconds(1_750_000_000);
    let request = CredentialRequest {
        serial: seed.into(),
        subject: SubjectId([seed; 16]),
        role,
        scopes: Scopes::PUBLISH,
        issued: time,
        not_before: time,
        not_after: UnixSeconds(time.0 + 86_400),
    };
    let credential = authority.issue(&public, &request).map_err(|_| "issuing a credential")?;
    Ok(LocalIdentity::new(Arc::new(secret), public, credential))
}

/// Runs the device through its first session.
pub fn first_session(counter: &mut Counter) -> Result<(), Failure> {
    let mut rng = Fixed(7);
    let authority = Authority::new(SigningKey::from_bytes([9; 32]));
    let anchors = TrustAnchors::new(&[authority.public_key()]).map_err(|_| "anchors")?;
    let time = Time::floor_only(UnixSeconds(0));
    let responder = Responder::new(identity(&authority, 2, Role::Backend)?, anchors, Limits::BACKEND);
    let config = DeviceConfig::new(identity(&authority, 1, Role::Device)?, anchors, time, 1, 2048);

    let rate = [Component::new(147_842, 264_864)];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&rate).into());
    let mut set = [0u8; 64];
    let len = encode_descriptors(&[channel], &mut set).map_err(|_| "descriptors")?;
    let mut outbox = [0u8; 2048];
    let memory = DeviceMemory { outbox: &mut outbox, descriptors: &set[..len], backlog: &mut [] };
    let mut device = Device::new(config, memory).map_err(|_| "making the device")?;

    let now = Instant::from_millis(1);
    let before = HEAP.used();
    device.handle_link(now, Link::Up { max_packet: 247 });
    device.connect(now);
    let mut out = [0u8; 512];

    // Hello and Reply
    let hello = counter.report("XX: Hello", || transmit(&mut device, now, &mut rng, &mut out))?;
    HEAP.mark();
    let (authentic, _) = responder.check_hello(&out[..hello]).map_err(|_| "the Hello")?;
    let read = responder.read_hello(&authentic, None, time, &mut rng).map_err(|_| "reading the Hello")?;
    let id = ConnectionId::new(&[1, 2, 3, 4, 5]).ok_or("connection id")?;
    let written = read.write_reply(&responder, id, None, &mut out).map_err(|_| "writing the Reply")?;
    let (ReplyWritten::AwaitingFinish(waiting), reply) = written else { return Err("XX has three messages") };
    counter.report("XX: read Reply", || device.handle_packet(now, &mut out[..reply], &mut |_| {}));
    // Finish
    let finish = counter.report("XX: Finish", || transmit(&mut device, now, &mut rng, &mut out))?;
    let parsed = Finish::parse(&out[..finish], id.len()).map_err(|_| "the Finish")?;
    let established =
        waiting.read_finish(&responder, None, time, parsed.noise).map_err(|_| "reading the Finish")?;
    let mut backend: Session<16> = Session::new(
        now,
        Side::Backend,
        established.secrets,
        established.peer_limits.window(),
        RekeyPolicy::default(),
    );
    answer(&mut backend, &mut device, now, &mut out)?;
    let connected = core::iter::from_fn(|| device.poll_event())
        .any(|event| matches!(event, DeviceEvent::Connected { .. }));
    connected.then_some(()).ok_or("the device did not connect")?;
    drop(responder);
    hprintln!("peak heap, both ends {:>9} bytes", HEAP.since_mark());

    // A record, as the application gives it; then every packet of the session.
    let values = Values::valid(&[72]).map_err(|_| "values")?;
    let record = Record::Measurement(Measurement::new(1, values));
    counter
        .report("record", || device.record(now, Lane::Event, &record))
        .map_err(|_| "accepting a record")?;
    let len = counter.report("packet with a record", || transmit(&mut device, now, &mut rng, &mut out))?;
    let header = DataHeader::parse(&out[..len], id.len()).map_err(|_| "the header")?;
    let opened = backend.open(now, &header, &mut out[..len]).map_err(|_| "opening the packet")?;
    let frames = Frames::parse(opened.payload).map_err(|_| "the frames")?;
    let records = frames.filter_map(|frame| match frame {
        Frame::Records(records) => Some(records.count),
        _ => None,
    });
    (records.sum::<u8>() == 1).then_some(()).ok_or("the record did not arrive")?;
    hprintln!("heap after the handshake {:>5} bytes more than before", HEAP.used() as i64 - before as i64);
    Ok(())
}

fn transmit(
    device: &mut Device<'_>,
    now: Instant,
    rng: &mut Fixed,
    out: &mut [u8],
) -> Result<usize, Failure> {
    let packet = device.poll_transmit(now, rng, out).map_err(|_| "sending")?;
    packet.map(<[u8]>::len).ok_or("the device had nothing to send")
}

/// The backend's first packet: an Ack of nothing, which confirms the session.
fn answer(
    backend: &mut Session<16>,
    device: &mut Device<'_>,
    now: Instant,
    out: &mut [u8],
) -> Result<(), Failure> {
    let head = backend.header_len(&ConnectionId::EMPTY);
    let mut frames = FrameWriter::new(&mut out[head..]);
    frames.push(&Frame::Ack(AckFrame::of_packet(0))).map_err(|_| "the Ack")?;
    let len = frames.finish().len();
    let packet = backend.seal(now, &ConnectionId::EMPTY, out, len).map_err(|_| "sealing the answer")?;
    device.handle_packet(now, packet, &mut |_| {});
    Ok(())
}
