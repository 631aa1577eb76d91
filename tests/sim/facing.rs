//! One real end against a puppet that authenticates and says what the test wants.

use crate::kit::*;
use crate::link::To;
use crate::puppet::{PuppetBackend, PuppetDevice};
use crate::world::{Setup, World};
use vitalwire::backend::BackendEvent;
use vitalwire::device::{Device, DeviceConfig, DeviceEvent, DeviceMemory, Link};
use vitalwire::framing::*;
use vitalwire::identity::{Role, Scopes, SubjectId};
use vitalwire::{CloseReason, Instant};

pub(crate) const PATH: u64 = 4;

/// A backend with an honest device 0 and a puppet that has a session.
pub(crate) struct Against {
    pub(crate) world: World,
    pub(crate) puppet: PuppetDevice,
}

impl Against {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, |_| {})
    }

    pub(crate) fn with(seed: u64, change: impl FnOnce(&mut PuppetDevice)) -> Self {
        let mut world = Setup::new(seed).connected();
        let identity = world.pki.device(500);
        world.app.store.register(identity.identity().unwrap());
        let mut puppet = PuppetDevice::new(identity, world.pki.anchors(), None);
        change(&mut puppet);
        world.link.log = Some(Vec::new());
        let hello = puppet.hello();
        let reply = Self::exchange(&mut world, hello).remove(0);
        let finish = puppet.reply(world.now, &reply).unwrap();
        let session = Self::exchange(&mut world, finish).remove(0);
        assert!(puppet.open(world.now, &session).is_some());
        Self { world, puppet }
    }

    pub(crate) fn exchange(world: &mut World, packet: Vec<u8>) -> Vec<Vec<u8>> {
        world.link.log.as_mut().unwrap().clear();
        world.deliver(To::Backend(PATH), packet);
        world.settle();
        let log = world.link.log.as_ref().unwrap();
        log.iter()
            .filter(|(_, to, _)| *to == To::Device(usize::MAX))
            .map(|(.., packet)| packet.clone())
            .collect()
    }

    /// Sends a payload and returns the frames that come back.
    pub(crate) fn send(&mut self, payload: &[u8]) -> Vec<String> {
        let packet = self.puppet.payload(self.world.now, payload);
        let answers = Self::exchange(&mut self.world, packet);
        let mut frames = Vec::new();
        for answer in answers {
            let payload = self.puppet.open(self.world.now, &answer).unwrap();
            frames.extend(Frames::parse(&payload).unwrap().map(|frame| format!("{frame:?}")));
        }
        frames
    }

    pub(crate) fn frames(&mut self, frames: &[Frame<'_>]) -> Vec<String> {
        let mut out = [0; 1400];
        let mut writer = FrameWriter::new(&mut out);
        frames.iter().for_each(|frame| writer.push(frame).unwrap());
        self.send(writer.finish())
    }

    pub(crate) fn named(&mut self, set: &[u8], entries: &[StreamEntry], boot: u32) -> Vec<String> {
        let mut out = [0; 256];
        let mut writer = FrameWriter::new(&mut out);
        let hash = hash_of(set);
        writer.frame_with(FrameKind::Streams, |body| {
            let mut streams = StreamsWriter::new(body, true).ok()?;
            streams.push(boot, BootTag([1; 4]), hash, entries).ok()?;
            Some(streams.finish())
        });
        let payload = writer.finish().to_vec();
        self.send(&payload)
    }

    pub(crate) fn described(&mut self, set: &[u8]) -> Vec<String> {
        self.described_as(TREND.index, set)
    }

    pub(crate) fn described_as(&mut self, stream: u8, set: &[u8]) -> Vec<String> {
        let frame = DescriptorsFrame { stream, total: set.len() as u16, offset: 0, bytes: set };
        self.frames(&[Frame::Descriptors(frame)])
    }

    /// The session is over, with this reason; the honest device notices nothing.
    #[track_caller]
    pub(crate) fn assert_closed(mut self, frames: &[String], reason: CloseReason) {
        assert_eq!(frames, [format!("{:?}", Frame::Close(reason))]);
        let end = |event: &BackendEvent| {
            matches!(event, BackendEvent::Disconnected { identity, reason: r }
            if number_of(identity) == 500 && *r == reason)
        };
        assert!(self.world.backend_events.iter().any(end));
        self.assert_unharmed();
    }

    #[track_caller]
    pub(crate) fn assert_unharmed(&mut self) {
        self.world.record(0, Lane::Trend, &rate(1)).unwrap();
        self.world.wait_all_drained_and_check(secs(5));
        assert_eq!(self.world.nodes[0].events.len(), 1);
    }
}

pub(crate) fn hash_of(set: &[u8]) -> SetHash {
    SetHash::from_digest(vitalwire::crypto::hazmat::blake2s(set))
}

pub(crate) const TREND: StreamEntry = StreamEntry { index: 2, lane: Lane::Trend, oldest: 0 };

pub(crate) fn records(stream: u8, first: u64, records: &[Record<'_>]) -> Vec<u8> {
    let set = descriptors(0);
    let set = DescriptorSet::parse(&set).unwrap();
    let mut out = [0; 1200];
    let mut batch = BatchWriter::new(&mut out, stream, first);
    for record in records {
        let mut encoded = [0; 200];
        let len = encode_record(record, &set, &mut encoded).unwrap();
        batch.push(at(5), &encoded[..len]).unwrap();
    }
    let body = batch.finish();
    [&[FrameKind::Records as u8][..], body].concat()
}

/// A device against a puppet that is the backend.
pub(crate) struct Facing {
    pub(crate) device: Device<'static>,
    pub(crate) puppet: PuppetBackend,
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
}

impl Facing {
    pub(crate) fn new(pinned: bool) -> Self {
        Self::between(pinned, Scopes::PUBLISH, Scopes::NONE)
    }

    /// A device and a backend whose credentials have these scopes.
    pub(crate) fn between(pinned: bool, device: Scopes, backend: Scopes) -> Self {
        Self::make(pinned, device, backend, |_| {})
    }

    /// A device with a changed configuration.
    pub(crate) fn with(change: impl FnOnce(&mut DeviceConfig)) -> Self {
        Self::make(false, Scopes::PUBLISH, Scopes::NONE, change)
    }

    fn make(pinned: bool, device: Scopes, backend: Scopes, change: impl FnOnce(&mut DeviceConfig)) -> Self {
        let mut pki = Pki::new(1);
        let backend = pki.identity(SubjectId([0xbe; 16]), Role::Backend, backend);
        let device = pki.identity(subject(0), Role::Device, device);
        let mut config = DeviceConfig::new(device, pki.anchors(), pki.time(), u32::MAX, 8192);
        config.policies = [vitalwire::delivery::LanePolicy::Refuse; 4];
        if pinned {
            config.pin = Some(pin_of(&backend));
        }
        change(&mut config);
        let memory = DeviceMemory {
            outbox: vec![0; 8192].leak(),
            descriptors: descriptors(0).leak(),
            backlog: &mut [],
        };
        let mut device = Device::new(config, memory).unwrap();
        device.handle_link(at(0), Link::Up { max_packet: 1200 });
        let puppet = PuppetBackend::new(backend, pki.anchors());
        Self { device, puppet, now: at(10), rng: Rng::new(1) }
    }

    pub(crate) fn connected() -> Self {
        Self::new(false).connect()
    }

    pub(crate) fn connect(self) -> Self {
        let mut facing = self;
        facing.device.connect(facing.now);
        let hello = facing.poll().unwrap();
        let reply = facing.puppet.reply(facing.now, &hello, None);
        facing.give(&reply);
        let finish = facing.poll().unwrap();
        facing.puppet.finish(facing.now, &finish);
        facing.frames(&[Frame::Ack(AckFrame::of_packet(0))]);
        assert!(facing.device.is_connected());
        assert!(matches!(facing.device.poll_event(), Some(DeviceEvent::Connected { .. })));
        facing
    }

    pub(crate) fn poll(&mut self) -> Option<Vec<u8>> {
        let mut out = [0; 1500];
        self.device.poll_transmit(self.now, &mut self.rng, &mut out).unwrap().map(<[u8]>::to_vec)
    }

    pub(crate) fn give(&mut self, packet: &[u8]) {
        self.device.handle_packet(self.now, &mut packet.to_vec(), &mut |_| {});
    }

    pub(crate) fn frames(&mut self, frames: &[Frame<'_>]) {
        let packet = self.puppet.frames(self.now, frames);
        self.give(&packet);
    }

    /// Reads what the device says now, and acknowledges all of it.
    pub(crate) fn take_and_acknowledge(&mut self) {
        let mut told = std::collections::BTreeMap::new();
        while let Some(packet) = self.poll() {
            let payload = self.puppet.open(self.now, &packet).unwrap();
            for frame in Frames::parse(&payload).unwrap() {
                if let Frame::Records(records) = frame {
                    told.insert(records.stream, records.first + u64::from(records.count));
                }
            }
        }
        let mut body = [0; 100];
        let mut ack =
            AckWriter::new(&mut body, self.puppet.session.as_ref().unwrap().0.highest_received()).unwrap();
        for (stream, cumulative) in told {
            ack.push(&StreamAck { stream, cumulative, settled: Settled::NONE }).unwrap();
        }
        let len = ack.finish();
        let packet = self.puppet.payload(self.now, &[&[3][..], &body[..len]].concat());
        self.give(&packet);
    }

    /// The payloads of all packets that the device sends now.
    pub(crate) fn payloads(&mut self) -> Vec<Vec<u8>> {
        let packets: Vec<_> = std::iter::from_fn(|| self.poll()).collect();
        packets.iter().filter_map(|packet| self.puppet.open(self.now, packet)).collect()
    }

    /// All that the device says now, frame by frame.
    pub(crate) fn said(&mut self) -> Vec<String> {
        let payloads = self.payloads();
        let frames = payloads.iter().flat_map(|payload| Frames::parse(payload).unwrap());
        frames.map(|frame| format!("{frame:?}")).collect()
    }

    /// Tells the device how far a stream has come.
    pub(crate) fn ack(&mut self, stream: u8, cumulative: u64) {
        let mut body = [0; 100];
        let packet = self.puppet.session.as_ref().unwrap().0.highest_received();
        let mut ack = AckWriter::new(&mut body, packet).unwrap();
        ack.push(&StreamAck { stream, cumulative, settled: Settled::NONE }).unwrap();
        let len = ack.finish();
        let packet = self.puppet.payload(self.now, &[&[3][..], &body[..len]].concat());
        self.give(&packet);
    }
}
