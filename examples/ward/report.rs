//! What there is to read at the end.

use crate::args::{self, Args};
use crate::device::{Life, Logbook};
use crate::flood::Sent;
use crate::oracle::{LOAD, Tally, Verdict};
use crate::relay::Deeds;
use crate::security::Guests;
use crate::service::Summary;
use crate::signals::Signal;
use std::collections::BTreeMap;
use vitalwire::framing::Lane;
use vitalwire::wire::Pattern;
use vitalwire::{Discard, Discards};

/// Rekeys that every device must have done; and as many of each kind, on the average: one that sleeps does fewer.
pub const REKEYS: u32 = 3;

/// Everything about one device.
pub struct DeviceReport {
    pub name: String,
    pub verdict: Verdict,
    pub log: Logbook,
    pub bytes_from_backend: u64,
    /// By signal and kind of record.
    pub kinds: BTreeMap<Kind, KindBytes>,
}

/// The signal, of records that have one of their own, and the kind of record.
pub type Kind = (Option<Signal>, &'static str);

/// What records take, and the same records in JSON and CBOR.
#[derive(Clone, Copy, Debug, Default)]
pub struct KindBytes {
    pub records: u64,
    /// Before sealing, without batch and packet.
    pub bytes: u64,
    pub json: u64,
    pub cbor: u64,
}

impl KindBytes {
    pub const fn add(&mut self, more: &Self) {
        self.records += more.records;
        self.bytes += more.bytes;
        self.json += more.json;
        self.cbor += more.cbor;
    }
}

/// The name of a lane, as it is printed and captured.
pub const fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Alarm => "alarm",
        Lane::Event => "event",
        Lane::Trend => "trend",
        Lane::Waveform => "waveform",
    }
}

/// Everything.
pub struct Report {
    pub args: Args,
    pub wall_seconds: f64,
    pub devices: Vec<DeviceReport>,
    pub impostors: Vec<Logbook>,
    pub guests: Guests,
    pub flood: Sent,
    pub service: Summary,
    pub stores_failed: u64,
    /// Charts of identities that the ward does not have.
    pub foreign_charts: usize,
    pub relay: Deeds,
}

impl Report {
    /// Lists what must not be; empty if all is well.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for DeviceReport { name, verdict, log, .. } in &self.devices {
            if !verdict.is_good() {
                let Verdict { lost, twice, altered, foreign, .. } = verdict;
                failures.push(format!(
                    "{name}: {lost} lost, {twice} twice, {altered} altered, {foreign} foreign"
                ));
            }
            if !log.drained {
                failures.push(format!("{name}: its outbox was not drained in time"));
            }
            if log.refused > 0 {
                failures.push(format!("{name}: {} genuine records were refused", log.refused));
            }
            let rekeys = log.hash_ratchets + log.dh_ratchets;
            if rekeys < REKEYS {
                failures.push(format!("{name}: {rekeys} rekeys, {REKEYS} are wanted"));
            }
        }
        let rekeys = |count: fn(&Logbook) -> u32| self.devices.iter().map(|device| count(&device.log)).sum();
        let (hash, dh): (u32, u32) = (rekeys(|log| log.hash_ratchets), rekeys(|log| log.dh_ratchets));
        let wanted = REKEYS * self.devices.len() as u32;
        if hash < wanted || dh < wanted {
            failures.push(format!("{hash} hash and {dh} DH rekeys, {wanted} each are wanted"));
        }
        let Summary { strangers, scope_refused, tag_conflicts, tickets_refused, .. } = self.service;
        let foreign_charts = self.foreign_charts;
        if strangers > 0 || foreign_charts > 0 {
            failures.push(format!(
                "{strangers} sessions, batches or verified credentials, {foreign_charts} charts of strangers"
            ));
        }
        if scope_refused > 0 || tag_conflicts > 0 || tickets_refused > 0 {
            failures.push(format!(
                "{scope_refused} scope refusals, {tag_conflicts} boot tag conflicts, {tickets_refused} tickets used twice"
            ));
        }
        let admitted: usize = self.impostors.iter().map(|log| log.sessions.len()).sum();
        if admitted > 0 {
            failures.push(format!("impostors got {admitted} sessions"));
        }
        failures.extend(self.security_failures());
        failures
    }

    /// Counts the records that were in RAM only when the power of their device failed, and did not arrive.
    pub fn unstored(&self) -> u64 {
        self.devices.iter().map(|device| device.verdict.unstored).sum()
    }

    pub fn print(&self) {
        let Args { devices, seed, speed, loss, duplicate, reorder, attack, .. } = self.args;
        println!(
            "\n== ward: {devices} devices, seed {seed}, {:.1} s by the clock on the wall",
            self.wall_seconds
        );
        println!(
            "   {} s of signal per device, {speed} times faster than life; loss {loss} %, duplication {duplicate} %, \
             reordering {reorder} %, attacks {attack} % of each kind",
            self.args.measured().as_secs()
        );
        println!("   {}", args::provider());
        self.print_records();
        self.print_channels();
        self.print_kinds();
        self.print_bytes();
        self.print_sessions();
        self.print_latencies();
        self.print_refusals();
        self.print_security();
    }

    fn print_records(&self) {
        println!("\n-- records, against the source files");
        println!(
            "{:<18}{:>9}{:>11}{:>7}{:>7}{:>9}{:>9}{:>10}",
            "", "accepted", "delivered", "lost", "twice", "altered", "foreign", "unstored"
        );
        let mut total = [0u64; 7];
        let line = |name: &str, row: [u64; 7]| {
            let [sent, delivered, lost, twice, altered, foreign, unstored] = row;
            println!(
                "{name:<18}{sent:>9}{delivered:>11}{lost:>7}{twice:>7}{altered:>9}{foreign:>9}{unstored:>10}"
            );
        };
        for device in &self.devices {
            let Verdict { sent, delivered, lost, twice, altered, foreign, unstored, .. } = device.verdict;
            let row = [sent, delivered, lost, twice, altered, foreign, unstored];
            line(&device.name, row);
            total = std::array::from_fn(|n| total[n] + row[n]);
        }
        line("total", total);
        println!(
            "unstored: in RAM only, as the device knew, when its power failed, and not delivered before"
        );
        println!(
            "stores that failed, were released and came again: {}; strangers' records: {}",
            self.stores_failed, self.foreign_charts
        );
    }

    fn print_channels(&self) {
        println!("\n-- by channel: measured, and delivered as they lie in the source");
        let mut channels: BTreeMap<_, Tally> = BTreeMap::new();
        for (key, tally) in self.devices.iter().flat_map(|device| &device.verdict.channels) {
            let sum = channels.entry(*key).or_default();
            sum.measured += tally.measured;
            sum.correct += tally.correct;
        }
        for ((signal, what), Tally { measured, correct }) in channels {
            let name = signal.map_or("", |signal| signal.name());
            println!("{:<22}{measured:>10}{correct:>10}", format!("{name} {what}").trim_start());
        }
    }

    fn print_kinds(&self) {
        println!(
            "\n-- by kind of record: bytes before sealing, without batch and packet; mean, and mean in JSON and CBOR"
        );
        println!("{:<26}{:>9}{:>11}{:>9}{:>9}{:>9}", "", "records", "bytes", "mean", "JSON", "CBOR");
        let mut kinds: BTreeMap<Kind, KindBytes> = BTreeMap::new();
        for (kind, bytes) in self.devices.iter().flat_map(|device| &device.kinds) {
            kinds.entry(*kind).or_default().add(bytes);
        }
        let mut total = KindBytes::default();
        let line = |name: &str, KindBytes { records, bytes, json, cbor }: KindBytes| {
            let [mean, json, cbor] = [bytes, json, cbor].map(|all| all as f64 / records.max(1) as f64);
            println!("{name:<26}{records:>9}{bytes:>11}{mean:>9.1}{json:>9.1}{cbor:>9.1}");
        };
        for ((signal, what), bytes) in kinds {
            let name = signal.map_or("", |signal| signal.name());
            line(format!("{name} {what}").trim_start(), bytes);
            total.add(&bytes);
        }
        line("all", total);
    }

    fn print_bytes(&self) {
        println!(
            "\n-- bytes on the wire, everything counted: headers, tags, acknowledgements, repeats, handshakes, rekeys"
        );
        println!(
            "{:<18}{:>11}{:>11}{:>11}{:>11}   per record: wire (to backend alone), JSON, CBOR",
            "", "to backend", "to device", "JSON", "CBOR"
        );
        let mut total = [0u64; 5];
        let line = |name: &str, row: [u64; 5]| {
            let [up, down, json, cbor, records] = row;
            let per = |bytes: u64| bytes as f64 / records.max(1) as f64;
            println!(
                "{name:<18}{up:>11}{down:>11}{json:>11}{cbor:>11}{:>9.1} ({:>5.1}) {:>8.1} {:>8.1}",
                per(up + down),
                per(up),
                per(json),
                per(cbor)
            );
        };
        for device in &self.devices {
            let (json, cbor) =
                device.kinds.values().fold((0, 0), |sum, kind| (sum.0 + kind.json, sum.1 + kind.cbor));
            let row =
                [device.log.bytes_sent, device.bytes_from_backend, json, cbor, device.verdict.delivered];
            line(&device.name, row);
            total = std::array::from_fn(|n| total[n] + row[n]);
        }
        line("total", total);
        println!(
            "JSON and CBOR: one map per record, encoded once, without TLS, acknowledgements or repeats."
        );
    }

    fn print_sessions(&self) {
        println!("\n-- sessions");
        println!(
            "{:<18}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>9}",
            "", "XX", "IK", "ticket", "failed", "hash", "DH", "packets"
        );
        let mut total = [0u64; 7];
        let line = |name: &str, row: [u64; 7], life: &str| {
            let [xx, ik, resumed, failed, hash, dh, packets] = row;
            println!("{name:<18}{xx:>8}{ik:>8}{resumed:>8}{failed:>8}{hash:>8}{dh:>8}{packets:>9}   {life}");
        };
        for (n, device) in self.devices.iter().enumerate() {
            let log = &device.log;
            let count = |pattern| log.sessions.iter().filter(|run| **run == pattern).count() as u64;
            let row = [
                count(Pattern::Xx),
                count(Pattern::Ik),
                count(Pattern::Resume),
                log.attempts_failed.into(),
                log.hash_ratchets.into(),
                log.dh_ratchets.into(),
                log.packets_sent,
            ];
            line(&device.name, row, Life::of(n).name());
            total = std::array::from_fn(|n| total[n] + row[n]);
        }
        line("total", total, "");
        let service = &self.service;
        println!(
            "backend: {} sessions proved, {} handshakes refused, {} out of time, {} packets sent",
            service.sessions.len(),
            service.handshakes_refused,
            service.expired,
            service.packets_sent
        );
        for (log, kind) in
            self.impostors.iter().zip(["of an authority of its own", "with a stolen credential"])
        {
            let packets = log.packets_sent;
            println!("impostor {kind}: {} sessions, {packets} packets tried", log.sessions.len());
        }
    }

    fn print_latencies(&self) {
        println!("\n-- from acceptance to commit, in milliseconds of the ward's clock");
        println!("{:<18}{:>9}{:>9}{:>9}{:>9}{:>9}", "", "records", "p50", "p90", "p99", "max");
        let all = self.devices.iter().flat_map(|device| &device.verdict.latencies);
        let line = |name: &str, mut millis: Vec<u64>| {
            millis.sort_unstable();
            let at =
                |part: usize| millis.get((millis.len() * part / 1000).min(millis.len().saturating_sub(1)));
            let [p50, p90, p99, max] = [500, 900, 990, 1000].map(|part| at(part).copied().unwrap_or(0));
            println!("{name:<18}{:>9}{p50:>9}{p90:>9}{p99:>9}{max:>9}", millis.len());
        };
        for lane in Lane::ALL {
            line(
                lane_name(lane),
                all.clone().filter(|(of, _)| *of == lane).map(|(_, millis)| *millis).collect(),
            );
        }
        line("all", all.map(|(_, millis)| *millis).collect());
        let behind = self.devices.iter().flat_map(|device| &device.verdict.alarms_behind_waveforms);
        line("alarm under load", behind.copied().collect());
        println!("under load: raised while {LOAD} waveforms or more of the device waited to be acknowledged");
    }

    fn print_refusals(&self) {
        let Deeds { received, sent, dropped, duplicated, reordered, corrupted, replayed, spliced, forged } =
            self.relay;
        println!("\n-- the relay: {received} packets received, {sent} sent on");
        println!(
            "dropped {dropped}, duplicated {duplicated}, reordered {reordered}, corrupted {corrupted}, \
             replayed {replayed}, spliced {spliced}, forged {forged}"
        );
        println!("\n-- refused, by the library's own discard counters");
        println!("{:<38}{:>10}{:>10}", "", "backend", "devices");
        for (kind, reasons) in KINDS {
            let count = |discards: &Discards| {
                reasons.iter().map(|reason| u64::from(discards.of(*reason))).sum::<u64>()
            };
            let of_devices = self.devices.iter().flat_map(|device| &device.log.discards);
            let devices: u64 = of_devices.map(count).sum();
            let backend: u64 = self.service.discards().map(count).sum();
            println!("{kind:<38}{backend:>10}{devices:>10}");
        }
        let listed = |reason: &Discard| KINDS.iter().any(|(_, reasons)| reasons.contains(reason));
        for &reason in Discard::ALL.iter().filter(|reason| !listed(reason)) {
            let backend = self.service.discarded(reason);
            let of_devices = self.devices.iter().flat_map(|device| &device.log.discards);
            let devices: u64 = of_devices.map(|discards| u64::from(discards.of(reason))).sum();
            if backend > 0 || devices > 0 {
                println!("{:<38}{backend:>10}{devices:>10}", format!("other: {reason}"));
            }
        }
    }
}

/// The reasons that belong together.
const KINDS: [(&str, &[Discard]); 4] = [
    ("replays and copies", &[Discard::Replayed, Discard::StaleCounter, Discard::DuplicateHello]),
    (
        "forgeries and altered packets",
        &[
            Discard::Forged,
            Discard::BadHelloMac,
            Discard::HandshakeFailed,
            Discard::BadCredential,
            Discard::UnknownConnection,
            Discard::UnknownEpoch,
            Discard::EpochOrder,
            Discard::Unsolicited,
        ],
    ),
    (
        "malformed packets",
        &[
            Discard::TooShort,
            Discard::TooLong,
            Discard::MalformedHeader,
            Discard::UnknownVersion,
            Discard::UnknownType,
            Discard::WrongDirection,
            Discard::ShortHello,
            Discard::MalformedPayload,
            Discard::MalformedFrames,
        ],
    ),
    ("records that had come already", &[Discard::RepeatedRecords, Discard::AwaitingCommit]),
];
