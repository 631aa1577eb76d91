//! One device with its firmware, its power, and its end of the link.

mod radio;

use crate::kit::*;
use crate::link::Faults;
use crate::orders::{Order, Orders, TOO_LATE};
use crate::plan::UnitPlan;
use crate::storage::Storage;
use crate::store::{Due, Store, content};
use std::collections::BTreeSet;
use vitalwire::delivery::LanePolicy;
use vitalwire::device::{BackendPin, Device, DeviceConfig, DeviceEvent, DeviceMemory, StorageConfig};
use vitalwire::framing::{Lane, Record, WaveformBlock};
use vitalwire::handshake::Limits;
use vitalwire::identity::LocalIdentity;
use vitalwire::storage::StorageKey;
use vitalwire::wire::link::{Fragmenter, Outgoing, Reassembler};
use vitalwire::wire::{ConnectionId, PskId};
use vitalwire::{CallError, Instant};

/// What a device with storage has to read back into, in bytes.
pub(crate) const BACKLOG: usize = 6144;

/// The memory of one device: an outbox and a backlog for each boot, and its descriptor set.
pub(crate) struct Memory {
    pub(crate) outboxes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) set: Vec<u8>,
}

pub(crate) struct Unit<'m> {
    pub(crate) number: usize,
    pub(crate) plan: UnitPlan,
    identity: LocalIdentity,
    anchors: vitalwire::identity::TrustAnchors,
    memory: std::slice::IterMut<'m, (Vec<u8>, Vec<u8>)>,
    pub(crate) storage: Storage,
    /// One above the highest sequence of each lane that is stored.
    safe: [u64; 4],
    set: &'m [u8],
    pin: Option<BackendPin>,
    /// None while it is off.
    device: Option<Device<'m>>,
    pub(crate) boot: u32,
    started: Instant,
    pub(crate) off_until: Instant,
    pub(crate) asleep_until: Instant,
    pub(crate) down_until: Instant,
    is_down: bool,
    pub(crate) faults: (Faults, Instant),
    pub(crate) path: u64,
    pub(crate) also: (Option<u64>, Instant),
    /// The node to which its packets go.
    pub(crate) node: usize,
    busy_until: Instant,
    up: Option<Fragmenter>,
    sending: Option<Outgoing<Vec<u8>>>,
    down: Option<Fragmenter>,
    pub(crate) relay: Reassembler<512>,
    radio: Reassembler<512>,
    /// What its records say goes up.
    value: u32,
    samples: u64,
    hellos: BTreeSet<Vec<u8>>,
    pub(crate) events: Vec<DeviceEvent>,
    /// What it was told to do and has not done yet.
    orders: Vec<(Instant, Order)>,
    /// How often something was done to it, and until when.
    pub(crate) disturbed: u32,
    pub(crate) disturbed_until: Instant,
    pub(crate) air: Air,
}

/// Packets and their bytes that went up and down.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Air {
    pub(crate) packets: [u64; 2],
    pub(crate) bytes: [u64; 2],
}

impl<'m> Unit<'m> {
    pub(crate) fn new(number: usize, plan: UnitPlan, memory: &'m mut Memory, pki: &mut Pki) -> Self {
        let Memory { outboxes, set } = memory;
        let piece = |link: u16| Fragmenter::new(link).unwrap();
        let mut storage = Storage::default();
        for lane in [Lane::Trend, Lane::Waveform] {
            storage.memory.set_capacity(lane, plan.capacity.unwrap_or(usize::MAX));
        }
        Self {
            number,
            identity: pki.device(number),
            anchors: pki.anchors(),
            memory: outboxes.iter_mut(),
            storage,
            safe: [0; 4],
            set,
            pin: None,
            device: None,
            boot: 0,
            started: Instant::ZERO,
            off_until: Instant::ZERO,
            asleep_until: Instant::ZERO,
            down_until: Instant::ZERO,
            is_down: false,
            faults: (plan.faults, Instant::FAR_FUTURE),
            path: 1000 * (number as u64 + 1),
            also: (None, Instant::ZERO),
            node: 0,
            busy_until: Instant::ZERO,
            up: plan.piece.map(piece),
            sending: None,
            down: plan.piece.map(piece),
            relay: Reassembler::new(),
            radio: Reassembler::new(),
            value: 0,
            samples: 0,
            hellos: BTreeSet::new(),
            events: Vec::new(),
            orders: Vec::new(),
            disturbed: 0,
            disturbed_until: Instant::ZERO,
            air: Air::default(),
            plan,
        }
    }

    pub(crate) fn identity(&self) -> vitalwire::identity::Identity {
        self.identity.identity().unwrap()
    }

    pub(crate) fn psk_id(&self) -> PskId {
        PskId([self.number as u8; 8])
    }

    pub(crate) fn pin(&mut self, pin: BackendPin) {
        self.pin = Some(pin);
    }

    /// Time since boot: all that a device knows.
    fn local(&self, now: Instant) -> Instant {
        Instant::ZERO + now.since(self.started)
    }

    pub(crate) fn is_awake(&self, now: Instant) -> bool {
        self.device.is_some() && self.asleep_until <= now
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.device.as_ref().is_some_and(Device::is_drained)
    }

    pub(crate) fn hellos(&self) -> usize {
        self.hellos.len()
    }

    pub(crate) fn note(&mut self, until: Instant) {
        self.disturbed += 1;
        self.disturbed_until = self.disturbed_until.max(until);
    }

    fn start(&mut self, now: Instant) {
        let (outbox, backlog) = self.memory.next().expect("the plan has that many boots");
        self.boot += 1;
        self.started = now;
        let time = vitalwire::identity::Time::known(CLOCK);
        let mut config =
            DeviceConfig::new(self.identity.clone(), self.anchors, time, self.boot, outbox.len());
        config.pin = self.pin;
        config.psk = self.plan.psk.then(|| (self.psk_id(), psk(self.number as u8)));
        config.connection_id = ConnectionId::new(&[7; 8][..self.plan.connection_id]).unwrap();
        config.smallest_packet = 64;
        config.limits = Limits::new(512, 128, secs(7200)).unwrap();
        config.linger = [ms(0), ms(self.plan.linger), ms(self.plan.linger), ms(0)];
        config.listen = self.plan.listen.map(ms);
        config.policies = self.plan.policies;
        if self.plan.storage {
            config.boot = 1;
            let key = StorageKey::from_bytes([self.number as u8; 32]);
            config.storage = Some(StorageConfig::new(key, BACKLOG));
        }
        self.safe = [0; 4];
        let memory = DeviceMemory { outbox, descriptors: self.set, backlog };
        let mut device = Device::new(config, memory).unwrap();
        device.connect(Instant::ZERO);
        self.device = Some(device);
        self.set_link(now);
    }

    pub(crate) fn power_cut(&mut self, store: &mut Store) {
        self.note_events(store);
        self.check_freed(store);
        if self.device.take().is_some() {
            let safe = self.safe;
            store.power_cut(self.number, self.boot, safe);
        }
        (self.sending, self.radio) = (None, Reassembler::new());
        self.orders.clear();
    }

    /// Goes off and on once more, if it has storage, which works now.
    pub(crate) fn restart(&mut self, store: &mut Store) {
        if self.plan.storage {
            self.storage.mishap = None;
            self.note_events(store);
            // It is drained: nothing is in its memory only.
            self.safe = [u64::MAX; 4];
            self.power_cut(store);
        }
    }

    /// What a lane that refuses has freed, the application has stored.
    pub(crate) fn check_freed(&self, store: &Store) {
        let Some(device) = self.device.as_ref().filter(|_| !self.plan.storage) else { return };
        // What another lane gave up in flight is neither dropped nor stored until the flight ends.
        let refuses = |lane: &Lane| self.plan.policies[lane.code() as usize] == LanePolicy::Refuse;
        for lane in Lane::ALL.into_iter().filter(refuses) {
            let ids = (self.number, self.boot, lane, 0)..=(self.number, self.boot, lane, u64::MAX);
            let accepted = store.accepted.range(ids).map(|(id, _)| id);
            let (mut count, mut stored) = (0, 0);
            accepted.for_each(|id| (count, stored) = (count + 1, stored + usize::from(store.has(id))));
            let freed = count - device.fill(lane).records as usize;
            assert!(freed <= stored, "{lane:?} of device {}: {freed} freed, {stored} stored", self.number);
        }
    }

    pub(crate) fn with_device<R>(
        &mut self,
        now: Instant,
        act: impl FnOnce(&mut Device<'m>, Instant) -> R,
    ) -> Option<R> {
        let local = self.local(now);
        self.device.as_mut().map(|device| act(device, local))
    }

    /// Lets the device accept a record, or not if its lane is full.
    fn record(
        &mut self,
        now: Instant,
        lane: Lane,
        record: &Record<'_>,
        due: Option<Due>,
        store: &mut Store,
    ) -> bool {
        let local = self.local(now);
        let Some(device) = &mut self.device else { return false };
        match device.record(local, lane, record) {
            Ok(accepted) => {
                assert_eq!((accepted.lane, accepted.count), (lane, 1));
                for sequence in accepted.first..accepted.first + u64::from(accepted.count) {
                    let alarm = (lane == Lane::Alarm).then_some((now, due));
                    let id = (self.number, self.boot, lane, sequence);
                    store.accept(id, content(self.number, local, record), alarm);
                }
                true
            }
            Err(CallError::LaneFull | CallError::QuotaExceeded | CallError::Thinned) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Half a second's records.
    pub(crate) fn records(&mut self, now: Instant, rng: &mut Rng, store: &mut Store) {
        if !self.is_awake(now) {
            return;
        }
        for lane in [Lane::Event, Lane::Trend, Lane::Waveform] {
            let pace = self.plan.pace[lane.code() as usize];
            let count = (pace + rng.below(2000)) / 2000;
            for _ in 0..count {
                self.value += 1;
                let accepted = match lane {
                    Lane::Event => self.record(now, lane, &event(self.value), None, store),
                    Lane::Trend => self.record(now, lane, &rate(self.value as i32), None, store),
                    _ => {
                        // Of one sample: more might become two records where the lane's memory ends.
                        let count = 1;
                        let samples = self.samples..self.samples + count;
                        let samples: Vec<i32> = samples.map(|index| sample(self.number, index)).collect();
                        let block = Record::Waveform(WaveformBlock::new(3, self.samples, &samples));
                        self.samples += count;
                        self.record(now, lane, &block, None, store)
                    }
                };
                if !accepted {
                    break;
                }
            }
        }
    }

    pub(crate) fn alarm(&mut self, now: Instant, due: Option<Due>, store: &mut Store) {
        if self.device.is_some() {
            // What is urgent wakes it.
            self.asleep_until = self.asleep_until.min(now);
            self.value += 1;
            self.record(now, Lane::Alarm, &alarm(self.value), due, store);
        }
    }

    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let Some(device) = &self.device else { return Some(self.off_until) };
        if self.asleep_until > now {
            return Some(self.asleep_until);
        }
        let due = device.poll_timeout().map(|due| self.started + due.since(Instant::ZERO));
        let due = due.into_iter().chain(self.sending.is_some().then_some(now)).min();
        let due = due.map(|due| due.max(self.busy_until));
        assert!(due.is_none_or(|due| due > now), "device {} spins at {now:?}: {due:?}", self.number);
        let ends = [self.down_until, self.also.1, self.faults.1];
        let orders = self.orders.iter().map(|(due, _)| (*due).max(now + ms(1)));
        due.into_iter().chain(orders).chain(ends).filter(|at| *at > now).min()
    }

    /// Carries out what the device asks of its storage; `false` if its power went.
    fn serve(&mut self, now: Instant, rng: &mut Rng, store: &mut Store) -> bool {
        let local = self.local(now);
        loop {
            let Some(device) = &mut self.device else { return false };
            let Some(request) = device.poll_storage(local, rng) else { break };
            trace!("{now:?} device {} asks its storage: {request:?}", self.number);
            let Some(reply) = self.storage.handle(request) else {
                self.power_cut(store);
                self.off_until = now + ms(100);
                self.note(self.off_until);
                return false;
            };
            device.handle_storage(local, reply);
        }
        self.note_events(store);
        true
    }

    fn note_events(&mut self, store: &mut Store) {
        while let Some(event) = self.device.as_mut().and_then(Device::poll_event) {
            if let DeviceEvent::Connected { backend, .. } = event {
                self.pin = Some(backend);
            }
            if let DeviceEvent::Stored { lane, through } = event {
                self.safe[lane.code() as usize] = through + 1;
            }
            if let DeviceEvent::RecordsDropped { lane, count, .. } = event {
                assert_ne!(self.plan.policies[lane.code() as usize], LanePolicy::Refuse);
                *store.dropped.entry((self.number, self.boot, lane)).or_default() += count as usize;
            }
            assert!(
                !matches!(
                    event,
                    DeviceEvent::RecordsRefused { .. }
                        | DeviceEvent::EventsLost(_)
                        | DeviceEvent::TicketMisused
                ),
                "{event:?}"
            );
            trace!("device {}: {event:?}", self.number);
            self.events.push(event);
        }
    }

    /// Does what it was told to do, unless it is too late for it.
    fn obey(&mut self, now: Instant, orders: &mut Orders) {
        while let Some(at) = self.orders.iter().position(|(due, _)| *due <= now) {
            let Order { id, number, deadline } = self.orders.swap_remove(at).1;
            let in_time = now < deadline;
            if in_time {
                orders.done(now, number);
            }
            let body = number.to_le_bytes();
            // Nobody waits for the result any more if its session is over.
            self.with_device(now, |device, _| {
                let _ = device.command_result(id, if in_time { Ok(&body) } else { Err(TOO_LATE) });
            });
        }
    }

    pub(crate) fn print(&self) {
        let Some(device) = &self.device else { return println!("device {} is off", self.number) };
        let fills: Vec<_> = Lane::ALL.iter().map(|&lane| device.fill(lane)).collect();
        println!("device {} boot {}: connected {} {fills:?}", self.number, self.boot, device.is_connected());
        println!("  since boot: {:?}; {:?}", self.started, self.plan);
        println!("  events {:?}", &self.events[self.events.len().saturating_sub(8)..]);
        let discards: Vec<_> = device.discards().iter().filter(|(_, count)| *count > 0).collect();
        println!("  discards {discards:?}");
    }
}
