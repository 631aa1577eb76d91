//! A device's outbox and a backend's inbox over a link that loses, duplicates and reorders, in virtual time.

use super::*;
use crate::codec::Reader;
use crate::framing::{AckWriter, RefusedFrame, RefusedReason};
use crate::limits::MAX_STREAMS;
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

const BOOT: u32 = 6;
/// A record whose payload starts with this is refused by the backend.
const BAD: u8 = 0xee;

struct Rng(u64);

impl Rng {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

enum Happening {
    /// The device has something to say.
    Produce,
    /// The device looks at its timers and sends what it may.
    Wake,
    ToBackend {
        session: u32,
        packet: u64,
        payload: Vec<u8>,
    },
    ToDevice {
        session: u32,
        payload: Vec<u8>,
    },
    /// The application's store of a batch ends, well or not.
    Stored(Job),
    SendAck,
    NewSession,
    RestartBackend,
}

struct Job {
    batch: BatchNumber,
    mark: Mark,
    records: Vec<Vec<u8>>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug)]
struct Weather {
    loss: u64,
    duplicates: u64,
    failed_stores: u64,
    /// In milliseconds.
    delay: u64,
    /// In milliseconds.
    commit: u64,
    upheavals: bool,
    sleep: u64,
}

struct World {
    rng: Rng,
    weather: Weather,
    now: u64,
    serial: u64,
    agenda: BTreeMap<(u64, u64), Happening>,
    session: u32,
    packet: u64,
    /// Per lane, what the device has accepted: a record's sequence is its index.
    accepted: [Vec<Vec<u8>>; 4],
    refused: BTreeSet<(usize, u64)>,
    to_produce: u32,
    table: StreamTable,
    inbox: Inbox,
    generation: u32,
    /// The application's database: ledger and records in one.
    database: (Ledger, BTreeMap<(StreamKey, u64), Vec<u8>>),
    ack_planned: bool,
    /// Records frames sent, batches delivered, and records that came although they were known.
    counts: [u64; 3],
}

impl World {
    fn plan(&mut self, after: u64, happening: Happening) {
        self.serial += 1;
        self.agenda.insert((self.now + after, self.serial), happening);
    }

    fn transmit(&mut self, make: impl Fn(&mut Self) -> Happening) {
        let copies = if self.rng.chance(self.weather.duplicates) { 2 } else { 1 };
        for _ in 0..copies {
            if !self.rng.chance(self.weather.loss) {
                let after = 5 + self.rng.below(self.weather.delay);
                let packet = make(self);
                self.plan(after, packet);
            }
        }
    }

    fn at(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    fn produce(&mut self, outbox: &mut Outbox<'_>) {
        let lane = Lane::ALL[self.rng.below(4) as usize];
        let count = 1 + self.rng.below(6);
        let mut staged = Vec::new();
        let now = self.at();
        let mut tx = outbox.begin(now, lane);
        for _ in 0..count {
            // its length, so that the test can tell records apart, then noise
            let len = 8 + self.rng.below(24);
            let mut record = vec![len as u8];
            record.extend((1..len).map(|_| self.rng.next() as u8));
            record[1] = if self.rng.chance(2) { BAD } else { record[1] & 0x7f };
            if tx.append_bytes(now, &record).is_err() {
                break;
            }
            staged.push(record);
        }
        if staged.len() as u64 == count {
            let accepted = tx.commit();
            assert_eq!(accepted.first, self.accepted[lane.index()].len() as u64);
            self.to_produce = self.to_produce.saturating_sub(accepted.count);
            self.accepted[lane.index()].extend(staged);
        }
    }

    fn device_sends(&mut self, outbox: &mut Outbox<'_>) {
        outbox.handle_timeout(self.at());
        let now = self.at();
        loop {
            let mut payload = vec![0u8; 60 + self.rng.below(300) as usize];
            let mut writer = FrameWriter::new(&mut payload);
            let due = outbox.streams_due(now);
            if due {
                let entries: Vec<_> = outbox
                    .streams()
                    .map(|(lane, oldest)| StreamEntry { index: lane.code() * 3, lane, oldest })
                    .collect();
                assert!(entries.len() <= MAX_STREAMS);
                writer.frame_with(FrameKind::Streams, |body| {
                    let mut streams = StreamsWriter::new(body, true).ok()?;
                    streams.push(BOOT, TAG, SetHash([0; 16]), &entries).ok()?;
                    Some(streams.finish())
                });
                outbox.streams_sent(now, Lane::ALL);
            }
            let space = writer.remaining().unwrap();
            if let Some(lane) = outbox.ready_lane(now, space) {
                let mut cut = None;
                writer.frame_with(FrameKind::Records, |body| {
                    cut = outbox.next_batch(lane, lane.code() * 3, body);
                    Some(cut?.len)
                });
                outbox.book(now, cut.expect("the lane is ready"), self.rng.next() as u32);
                self.counts[0] += 1;
            } else if !due {
                break;
            }
            let len = writer.finish().len();
            payload.truncate(len);
            let (session, packet) = (self.session, self.packet);
            self.packet += 1;
            self.transmit(|_| Happening::ToBackend { session, packet, payload: payload.clone() });
        }
    }

    fn backend_receives(&mut self, packet: u64, payload: &[u8]) {
        for frame in Frames::parse(payload).unwrap() {
            match frame {
                Frame::Streams(frame) => match self.table.handle_streams(packet, &frame) {
                    StreamsCheck::Taken => assert_eq!(self.inbox.handle_streams(&frame), Named::default()),
                    StreamsCheck::Overtaken => {}
                    StreamsCheck::Contradiction => panic!("the indices are constant"),
                },
                Frame::Records(frame) => {
                    let Some(stream) = self.table.get(frame.stream).map(|known| known.key) else { continue };
                    let records = split(frame.bytes, frame.count);
                    // What is refused never reaches the inbox; the rest comes in runs.
                    for (offset, record) in records.iter().enumerate() {
                        let sequence = frame.first + offset as u64;
                        if record[1] == BAD {
                            self.refused.insert((stream.lane.index(), sequence));
                            let refused = RefusedFrame {
                                stream: frame.stream,
                                first: sequence,
                                count: 1,
                                reason: RefusedReason::Undecodable,
                            };
                            self.backend_sends(|writer| writer.push(&Frame::Refused(refused)).unwrap());
                        }
                    }
                    let mut offset = 0;
                    for run in records.split(|record| record[1] == BAD) {
                        if !run.is_empty() {
                            self.offer(stream, frame.first + offset, run);
                        }
                        offset += run.len() as u64 + 1;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        self.plan_ack();
    }

    fn offer(&mut self, stream: StreamKey, first: u64, run: &[Vec<u8>]) {
        match self.inbox.offer(stream, first, run.len() as u8) {
            Offer::Deliver { batch, fresh } => {
                self.counts[1] += 1;
                let mark = self.inbox.mark(batch).unwrap();
                assert_eq!((mark.mask, mark.first), (fresh, first));
                let job = Job { batch, mark, records: run.to_vec() };
                let after = self.rng.below(self.weather.commit);
                self.plan(after, Happening::Stored(job));
            }
            Offer::Repeated | Offer::Awaiting => self.counts[2] += run.len() as u64,
            Offer::Unnamed | Offer::Full | Offer::Outside => {}
        }
    }

    /// One transaction of the application, then commit or release.
    fn store(&mut self, job: Job) {
        if self.rng.chance(self.weather.failed_stores) {
            self.inbox.release(job.batch);
            return;
        }
        let (ledger, records) = &mut self.database;
        let fresh = ledger.apply(&job.mark).expect("the mark brings what its ledger lacks");
        for (bit, record) in job.records.iter().enumerate() {
            if fresh >> bit & 1 == 1 {
                let id = (job.mark.stream, job.mark.first + bit as u64);
                assert_eq!(records.insert(id, record.clone()), None, "stored once");
            }
        }
        self.inbox.commit(job.batch);
        self.plan_ack();
    }

    fn plan_ack(&mut self) {
        if !std::mem::replace(&mut self.ack_planned, true) {
            self.plan(10, Happening::SendAck);
        }
    }

    fn send_ack(&mut self) {
        self.ack_planned = false;
        let mut streams: Vec<_> = self.table.iter().collect();
        streams.sort_unstable_by_key(|known| known.index);
        let acks: Vec<_> =
            streams.iter().filter_map(|known| self.inbox.ack_for(&known.key, known.index)).collect();
        let credit = self.inbox.credit();
        self.backend_sends(|writer| {
            writer.push(&Frame::Credit(credit)).unwrap();
            writer.frame_with(FrameKind::Ack, |body| {
                let mut frame = AckWriter::new(body, 0).ok()?;
                acks.iter().for_each(|ack| frame.push(ack).unwrap());
                Some(frame.finish())
            });
        });
    }

    fn backend_sends(&mut self, write: impl FnOnce(&mut FrameWriter<'_>)) {
        let mut payload = [0u8; 400];
        let mut writer = FrameWriter::new(&mut payload);
        write(&mut writer);
        let payload = writer.finish().to_vec();
        let session = self.session;
        self.transmit(|_| Happening::ToDevice { session, payload: payload.clone() });
    }

    fn device_receives(&mut self, outbox: &mut Outbox<'_>, payload: &[u8]) {
        let lane = |index: u8| Lane::from_code(index / 3).unwrap();
        for frame in Frames::parse(payload).unwrap() {
            match frame {
                Frame::Credit(credit) => outbox.handle_credit(credit),
                Frame::Ack(ack) => {
                    for stream in ack.streams() {
                        let outcome = outbox.handle_ack(self.at(), lane(stream.stream), &stream);
                        assert_ne!(outcome, AckOutcome::Contradiction);
                    }
                }
                Frame::Refused(refused) => {
                    outbox.handle_refused(lane(refused.stream), refused.first, refused.count);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn new_session(&mut self, outbox: &mut Outbox<'_>) {
        self.session += 1;
        self.packet = 0;
        self.table = StreamTable::default();
        self.inbox.handle_session();
        outbox.handle_session_lost();
    }

    fn run(&mut self, outbox: &mut Outbox<'_>) {
        const HOUR: u64 = 3_600_000;
        self.plan(0, Happening::Produce);
        if self.weather.upheavals {
            for _ in 0..6 {
                let (first, second) = (self.rng.below(60_000), self.rng.below(60_000));
                self.plan(first, Happening::NewSession);
                self.plan(second, Happening::RestartBackend);
            }
        }
        while let Some(((time, _), happening)) = self.agenda.pop_first() {
            self.now = time;
            assert!(time < 24 * HOUR, "it does not end");
            match happening {
                Happening::Produce => {
                    self.produce(outbox);
                    if self.to_produce > 0 {
                        let after = self.rng.below(100);
                        self.plan(after, Happening::Produce);
                    }
                    self.device_sends(outbox);
                    self.plan_wake(outbox);
                }
                Happening::Wake => {
                    self.device_sends(outbox);
                    self.plan_wake(outbox);
                }
                Happening::ToBackend { session, packet, payload } if session == self.session => {
                    self.backend_receives(packet, &payload);
                }
                Happening::ToDevice { session, payload } if session == self.session => {
                    self.device_receives(outbox, &payload);
                    self.device_sends(outbox);
                    self.plan_wake(outbox);
                }
                Happening::ToBackend { .. } | Happening::ToDevice { .. } => {}
                Happening::Stored(job) => self.store(job),
                Happening::SendAck => self.send_ack(),
                Happening::NewSession => {
                    self.new_session(outbox);
                    self.device_sends(outbox);
                    self.plan_wake(outbox);
                }
                // Stores that are under way go on: their batch numbers are stale, their transactions are not.
                Happening::RestartBackend => {
                    self.generation += 1;
                    self.inbox = Inbox::new(self.database.0.clone(), self.generation);
                    self.new_session(outbox);
                    self.device_sends(outbox);
                    self.plan_wake(outbox);
                }
            }
        }
    }

    /// Wakes at the next deadline, or long after it if the device sleeps.
    fn plan_wake(&mut self, outbox: &Outbox<'_>) {
        let Some(deadline) = outbox.poll_timeout().into_iter().chain(outbox.poll_ready(300)).min() else {
            return;
        };
        let after = deadline.as_millis().saturating_sub(self.now).max(1) + self.rng.below(self.weather.sleep);
        self.agenda.retain(|_, happening| !matches!(happening, Happening::Wake));
        self.plan(after, Happening::Wake);
    }
}

/// Takes the records of a batch apart.
fn split(bytes: &[u8], count: u8) -> Vec<Vec<u8>> {
    let mut reader = Reader::new(bytes);
    let mut records = Vec::new();
    for index in 0..count {
        if index > 0 {
            reader.signed().unwrap();
        }
        let len = reader.clone().u8().unwrap();
        records.push(reader.bytes(len.into()).unwrap().to_vec());
    }
    reader.finish().unwrap();
    records
}

/// Runs one world to its end, checks what was stored, and returns [`World::counts`].
fn deliver_all(seed: u64, weather: Weather, records: u32) -> [u64; 3] {
    let mut memory = [0u8; 6000];
    let mut outbox = Outbox::new(&mut memory, LaneShares::of_total(6000)).unwrap();
    outbox.set_linger(Lane::Waveform, Duration::from_millis(50));
    let mut world = World {
        rng: Rng(seed),
        weather,
        now: 1000,
        serial: 0,
        agenda: BTreeMap::new(),
        session: 0,
        packet: 0,
        accepted: Default::default(),
        refused: BTreeSet::new(),
        to_produce: records,
        table: StreamTable::default(),
        inbox: Inbox::new(Ledger::default(), 0),
        generation: 0,
        database: Default::default(),
        ack_planned: false,
        counts: [0; 3],
    };
    world.run(&mut outbox);

    assert!(outbox.is_empty() && !outbox.is_in_flight(), "seed {seed}, {weather:?}");
    let mut expected = BTreeMap::new();
    for lane in Lane::ALL {
        for (sequence, record) in world.accepted[lane.index()].iter().enumerate() {
            let bad = record[1] == BAD;
            assert_eq!(world.refused.contains(&(lane.index(), sequence as u64)), bad);
            if !bad {
                expected.insert((StreamKey { boot: BOOT, tag: TAG, lane }, sequence as u64), record.clone());
            }
        }
    }
    assert!(world.database.1 == expected, "seed {seed}, {weather:?}: stored is not what was accepted");
    world.counts
}

/// How many seeds each test takes: 60, or as many as `VITALWIRE_SEEDS` says.
fn seeds() -> u64 {
    std::env::var("VITALWIRE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60)
}

const FAIR: Weather =
    Weather { loss: 0, duplicates: 0, failed_stores: 0, delay: 40, commit: 100, upheavals: false, sleep: 1 };

#[test]
fn a_good_link_carries_everything_once() {
    for seed in 0..5 {
        let [_, _, repeats] = deliver_all(seed, FAIR, 500);
        assert_eq!(repeats, 0, "nothing is sent twice where nothing is lost");
    }
}

#[test]
fn a_bad_link_loses_nothing_and_repeats_nothing() {
    for seed in 0..seeds() {
        let weather = Weather {
            loss: 10 + seed % 4 * 10,
            duplicates: 30,
            failed_stores: 1 + seed % 5,
            delay: 400,
            commit: 500,
            upheavals: false,
            sleep: 1,
        };
        deliver_all(1_000_000 + seed, weather, 400);
    }
}

#[test]
fn new_sessions_restarts_and_sleep_lose_nothing_and_repeat_nothing() {
    for seed in 0..seeds() {
        let weather = Weather {
            loss: 20,
            duplicates: 30,
            failed_stores: 5,
            delay: 400,
            commit: 2000,
            upheavals: true,
            sleep: if seed % 2 == 0 { 1 } else { 30_000 },
        };
        deliver_all(2_000_000 + seed, weather, 400);
    }
}
