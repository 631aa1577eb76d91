//! What C records is what the backend gets; what had no room arrives as a gap; and to a pinned backend, too.
#![allow(clippy::undocumented_unsafe_blocks)] // each block hands over memory of this test

mod common;

use common::{Service, World};
use core::ptr::null_mut;
use std::mem::MaybeUninit;
use vitalwire::backend::{BackendEvent, BatchRef, Grant, Inbound, Received};
use vitalwire::framing::{AlarmLimits, Annotation, ExtensionRecord, Lane, Record, RecordBuf};
use vitalwire::identity::Scopes;
use vitalwire::{Instant, OsEntropy};
use vitalwire_c::vw_status::*;
use vitalwire_c::*;

/// A device and a backend, joined in memory.
struct Pair {
    world: World,
    service: Service,
    now: u64,
    pattern: u8,
    got: Vec<(Lane, RecordBuf)>,
}

impl Pair {
    fn new(world: World) -> Self {
        Self { service: world.service(), world, now: 1000, pattern: 0, got: Vec::new() }
    }

    fn events(&mut self) -> Vec<vw_event> {
        let mut all = Vec::new();
        loop {
            let mut event = MaybeUninit::<vw_event>::uninit();
            assert_eq!(unsafe { vw_poll_event(self.world.device(), event.as_mut_ptr()) }, VW_OK);
            match unsafe { event.assume_init() } {
                event if event.kind == VW_EVENT_NONE => return all,
                event => all.push(event),
            }
        }
    }

    fn turn(&mut self) {
        let (device, now) = (self.world.device(), Instant::from_millis(self.now));
        let backend = &mut self.service.backend;
        loop {
            let (mut out, mut len) = ([0; 1500], 0);
            let status = unsafe { vw_poll_transmit(device, self.now, out.as_mut_ptr(), out.len(), &mut len) };
            assert_eq!(status, VW_OK);
            if len == 0 {
                break;
            }
            let mut stored: Vec<BatchRef> = Vec::new();
            let got = &mut self.got;
            backend.handle_packets(now, &mut [Inbound { path: (), packet: &mut out[..len] }], &mut |what| {
                if let Received::Batch(batch) = what {
                    let lane = batch.stream().lane;
                    got.extend(batch.records().map(|record| (lane, RecordBuf::from(&record.record))));
                    stored.push(batch.handle());
                }
            });
            for batch in stored {
                backend.commit(now, batch);
            }
        }
        for _ in 0..2 {
            while let Some(job) = backend.poll_handshake() {
                backend.handle_handshake(now, job.run(&mut OsEntropy));
            }
            while let Some(event) = backend.poll_event() {
                if let BackendEvent::Pending { pending, .. } = event {
                    let grant = Grant { scopes: Scopes::PUBLISH, ..Grant::default() };
                    backend.accept(now, pending, grant).unwrap();
                }
            }
        }
        let mut out = [0; 1500];
        backend.handle_timeout(now);
        while let Some(transmit) = backend.poll_transmit(now, &mut OsEntropy, &mut out).unwrap() {
            let mut packet = transmit.packet.to_vec();
            let status = unsafe { vw_handle_packet(device, self.now, packet.as_mut_ptr(), packet.len()) };
            assert_eq!(status, VW_OK);
        }
        for event in self.events() {
            if event.kind == VW_EVENT_CONNECTED {
                self.pattern = event.pattern;
            }
        }
        self.now += 20;
    }

    /// Connects, and turns the loops until everything is committed.
    fn deliver(&mut self) {
        unsafe {
            assert_eq!(vw_handle_link(self.world.device(), self.now, 1232), VW_OK);
            assert_eq!(vw_connect(self.world.device(), self.now), VW_OK);
        }
        let end = self.now + 30_000;
        while self.pattern == 0 || unsafe { vw_is_drained(self.world.device()) } != VW_YES {
            assert!(self.now < end, "nothing arrives");
            self.turn();
        }
    }
}

#[test]
fn what_a_pinned_device_records_arrives() {
    let mut pair = Pair::new(World::new());
    let mut pin = MaybeUninit::<vw_pin>::uninit();
    let (key, credential) = (pair.service.key.as_ptr(), &pair.service.credential);
    let made = unsafe { vw_pin_init(pin.as_mut_ptr(), key, credential.as_ptr(), credential.len()) };
    assert_eq!(made, VW_OK);
    let pin = unsafe { pin.assume_init() };
    let mut config = pair.world.config();
    (config.pin, config.authority_count) = (&raw const pin, 0);
    assert_eq!(pair.world.init(&config), VW_OK);

    let device = pair.world.device();
    let own = [0xc0, 0xff, 0xee];
    let limits =
        vw_alarm_limits { channel: 1, component: 0, mode: 0, has_low: 1, has_high: 0, low: 50, high: 150 };
    let text = "lead II";
    let remark = vw_annotation {
        has_channel: 1,
        channel: 1,
        mode: 0,
        code: 7,
        span_ms: 0,
        text: text.as_ptr(),
        text_len: text.len(),
    };
    unsafe {
        let lane = VW_LANE_EVENT;
        assert_eq!(vw_record_alarm_limits(device, 5, lane, 5, &limits, null_mut()), VW_OK);
        assert_eq!(vw_record_annotation(device, 5, lane, 5, &remark, null_mut()), VW_OK);
        assert_eq!(vw_record_extension(device, 5, lane, 5, 200, own.as_ptr(), 3, null_mut()), VW_OK);
    }
    pair.deliver();
    assert_eq!(pair.pattern, 2, "the backend is known from the start");
    let mut remark = Annotation::new(7);
    (remark.channel, remark.text) = (Some(1), text);
    let records: [Record<'_>; 3] = [
        AlarmLimits { low: Some(50), ..AlarmLimits::new(1) }.into(),
        remark.into(),
        ExtensionRecord { kind: 200, bytes: &own }.into(),
    ];
    let expected = records.map(|record| (Lane::Event, RecordBuf::from(&record)));
    assert_eq!(pair.got, expected);
}

#[test]
fn what_had_no_room_arrives_as_a_gap() {
    let mut pair = Pair::new(World::new());
    let config = pair.world.config();
    assert_eq!(pair.world.init(&config), VW_OK);
    let device = pair.world.device();
    let (mut recorded, mut dropped) = (0, 0);
    while dropped < 20 {
        let status =
            unsafe { vw_record_values(device, 5, VW_LANE_TREND, 5, 1, &raw const recorded, 1, null_mut()) };
        assert_eq!(status, VW_OK);
        recorded += 1;
        assert!(recorded < 10_000, "the lane never fills");
        for event in pair.events() {
            if event.kind == VW_EVENT_RECORDS_DROPPED {
                assert_eq!((event.lane, event.sequence), (VW_LANE_TREND, dropped));
                dropped += u64::from(event.count);
            }
        }
    }
    pair.deliver();
    let (mut missing, mut values) = (0, Vec::new());
    for (lane, record) in &pair.got {
        match record {
            RecordBuf::Gap(gap) if gap.lane.unwrap_or(*lane) == Lane::Trend => missing += gap.count,
            RecordBuf::Measurement(measurement) => values.push(measurement.values),
            other => panic!("{other:?}"),
        }
    }
    assert!(missing >= dropped, "{missing} of {dropped}");
    let first = i32::try_from(missing).unwrap();
    let kept = (first..recorded).map(|value| vitalwire::framing::Values::valid(&[value]).unwrap());
    assert_eq!(values, kept.collect::<Vec<_>>());
}
