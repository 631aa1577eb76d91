//! The part of the report about those that must not get far, and about the audit log: what became of them, by the
//! library's counters and by the log.

use crate::auditor::{Logged, LoggedTerm, Term};
use crate::charts::Chart;
use crate::device::Logbook;
use crate::flood::Kind;
use crate::oracle::{self, Verdict};
use crate::report::Report;
use crate::signals::{Patient, Signal};
use vitalwire::audit::AuditEvent;
use vitalwire::framing::Lane;
use vitalwire::identity::Identity;
use vitalwire::{Discard, Duration};

/// What guests measure: as a bedside monitor, ECG among it.
pub fn monitor(device: usize, measured: Duration) -> Patient {
    Patient { device, ..Patient::of(0, measured) }
}

/// The device that is revoked, and the one whose scopes are narrow.
pub struct Guests {
    revoked: Identity,
    narrowed: Identity,
    /// What was stored of the revoked one.
    revoked_verdict: Verdict,
    revoked_log: Logbook,
    /// What was stored within the scopes of the other one.
    narrowed_verdict: Verdict,
    narrowed_log: Logbook,
    /// Its waveforms that it had stored before its credential was exchanged, and those that reached the chart.
    held: u64,
    waveforms_stored: u64,
}

type Played = (Patient, Option<Chart>, Logbook);

impl Guests {
    pub fn judge(revoked: Played, narrowed: Played, [revoked_as, narrowed_as]: [Identity; 2]) -> Self {
        let (patient, chart, revoked_log) = revoked;
        let revoked_verdict = oracle::judge(&patient, &chart.unwrap_or_default(), &revoked_log);
        let (patient, chart, mut narrowed_log) = narrowed;
        let chart = chart.unwrap_or_default();
        let is_waveform = |lane| lane == Lane::Waveform;
        let waveforms_stored = chart.stored.iter().filter(|stored| is_waveform(stored.lane)).count() as u64;
        let held = narrowed_log.accepted.iter().filter(|given| is_waveform(given.ids.lane));
        let held = held.map(|given| u64::from(given.ids.count)).sum();
        // What remains is what its scopes permit: of that, nothing may be lost.
        narrowed_log.accepted.retain(|given| !is_waveform(given.ids.lane));
        let patient = Patient { signals: &[Signal::HeartRate, Signal::Rr], ..patient };
        let narrowed_verdict = oracle::judge(&patient, &chart, &narrowed_log);
        let (revoked, narrowed) = (revoked_as, narrowed_as);
        Self {
            revoked,
            narrowed,
            revoked_verdict,
            revoked_log,
            narrowed_verdict,
            narrowed_log,
            held,
            waveforms_stored,
        }
    }
}

/// The kind of event of a command that was denied, where the library logs it.
const DENIED: &str = "command denied";
/// What the audit log must have of each backend, exactly as often as it was counted.
const AUDITED: [Discard; 24] = [
    Discard::TooShort,
    Discard::TooLong,
    Discard::MalformedHeader,
    Discard::UnknownVersion,
    Discard::UnknownType,
    Discard::WrongDirection,
    Discard::UnknownConnection,
    Discard::ShortHello,
    Discard::BadHelloMac,
    Discard::UnknownEpoch,
    Discard::EpochOrder,
    Discard::StaleCounter,
    Discard::Replayed,
    Discard::Forged,
    Discard::MalformedFrames,
    Discard::DuplicateHello,
    Discard::HandshakeFailed,
    Discard::BadCredential,
    Discard::Revoked,
    Discard::BadTicket,
    Discard::TicketReused,
    Discard::TooManyPending,
    Discard::RateLimited,
    Discard::CookieRequired,
];

impl Report {
    /// Lists what must not be, of all that this file reports.
    pub fn security_failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut claim = |holds: bool, otherwise: String| {
            if !holds {
                failures.push(otherwise);
            }
        };
        self.check_flood(&mut claim);
        self.check_revoked(&mut claim);
        self.check_narrowed(&mut claim);
        match &self.service.logged {
            Some(logged) => self.check_log(logged, &mut claim),
            None => claim(false, "there is no audit log".into()),
        }
        failures
    }

    fn check_flood(&self, claim: &mut dyn FnMut(bool, String)) {
        let flood = &self.service.flood;
        claim(flood.batches == 0, format!("{} batches came from strangers' ports", flood.batches));
        let taken = flood.taken;
        claim(taken == 0, format!("{taken} packets from strangers' ports were taken that are no Hellos"));
        let most = self.most_sent_back();
        claim(most <= 3.0, format!("a stranger's port was sent {most:.2} times what it had sent"));
        let silent = Kind::ALL.iter().filter(|kind| self.flood.packets[**kind as usize] == 0);
        for kind in silent.filter(|_| self.args.strangers > 0) {
            claim(false, format!("strangers have sent no {}", kind.name().trim_start()));
        }
    }

    /// The bytes that were sent to a port of the strangers for each one that came from it, at the most.
    fn most_sent_back(&self) -> f64 {
        let sent = |port| self.service.bytes_sent.get(port).copied().unwrap_or(0) as f64;
        self.service.flood.bytes.iter().map(|(port, came)| sent(port) / *came as f64).fold(0.0, f64::max)
    }

    fn check_revoked(&self, claim: &mut dyn FnMut(bool, String)) {
        let (guests, revocation) = (&self.guests, &self.service.revocation);
        let Verdict { twice, altered, foreign, delivered, .. } = guests.revoked_verdict;
        claim(delivered > 0, "the device that was to be revoked never delivered anything".into());
        claim(
            twice + altered + foreign == 0,
            format!("the revoked device: {twice} twice, {altered} altered, {foreign} foreign"),
        );
        claim(revocation.at.is_some(), "no device was revoked".into());
        claim(revocation.ended.is_some(), "the session of the revoked device was not ended".into());
        claim(revocation.kept, "the next backend has no revocation list".into());
        claim(revocation.rollback_refused, "an older revocation list was not refused".into());
        let (sessions, batches) = (revocation.sessions_after, revocation.batches_after);
        claim(
            sessions + batches == 0,
            format!("the revoked device got {sessions} sessions and {batches} batches in"),
        );
        claim(guests.revoked_log.revoked > 0, "the revoked device was not told so".into());
    }

    fn check_narrowed(&self, claim: &mut dyn FnMut(bool, String)) {
        let (guests, summary) = (&self.guests, &self.service.narrowed);
        let log = &guests.narrowed_log;
        let Verdict { lost, twice, altered, foreign, .. } = guests.narrowed_verdict;
        claim(
            guests.narrowed_verdict.is_good() && log.drained,
            format!(
                "the out-of-scope device, within its scopes: {lost} lost, {twice} twice, {altered} altered, {foreign} \
                 foreign, drained: {}",
                log.drained
            ),
        );
        let (held, stored) = (guests.held, guests.waveforms_stored);
        claim(held > 0, "the out-of-scope device held no waveforms".into());
        claim(stored == 0, format!("{stored} waveforms of the out-of-scope device were stored"));
        let told = u64::from(log.refused);
        claim(told == held, format!("of {held} waveforms out of scope {told} were refused"));
        claim(log.out_of_scope > 0, "the out-of-scope device took waveforms itself".into());
        let (commanded, denied) = (summary.commanded, summary.denied);
        claim(
            commanded == 0 && denied == summary.sessions && denied > 0,
            format!(
                "{denied} commands out of scope were denied and {commanded} taken, in {} sessions",
                summary.sessions
            ),
        );
    }

    fn check_log(&self, logged: &Logged, claim: &mut dyn FnMut(bool, String)) {
        let whole = logged
            .verified
            .as_ref()
            .is_some_and(|(report, is_head)| *is_head && report.unsigned == 0 && report.torn == 0);
        claim(whole, "the audit log is not signed up to the entry that the node wrote last".into());
        let (terms, in_log) = (&self.service.terms, &logged.terms);
        claim(
            terms.len() == in_log.len(),
            format!("the audit log is of {} backends, there were {}", in_log.len(), terms.len()),
        );
        for (number, (term, log)) in (1..).zip(terms.iter().zip(in_log)) {
            self.check_term(number, term, log, claim);
        }
        let of = |count: fn(&LoggedTerm, &Guests) -> u64| -> u64 {
            in_log.iter().map(|term| count(term, &self.guests)).sum()
        };
        let ended = of(|term, guests| term.ended_by_revocation.get(&guests.revoked).copied().unwrap_or(0));
        let revoked = of(|term, guests| term.revoked.get(&guests.revoked).copied().unwrap_or(0));
        let others = of(|term, _| term.revoked.values().sum()) - revoked;
        claim(
            ended > 0 && revoked > 0 && others == 0,
            format!(
                "in the audit log the device is revoked {revoked} times, its session ended {ended} times, others {others}"
            ),
        );
        claim(
            of(|term, _| term.lists) == 2,
            "the audit log has not one revocation list for each backend".into(),
        );
        if AuditEvent::KINDS.iter().any(|(_, name)| *name == DENIED) {
            let (logged, denied) =
                (logged.events.get(DENIED).copied().unwrap_or(0), self.service.narrowed.denied);
            claim(logged == denied, format!("{denied} commands were denied, the audit log has {logged}"));
        }
        let narrowed = of(|term, guests| term.out_of_scope.get(&guests.narrowed).copied().unwrap_or(0));
        let others = of(|term, _| term.out_of_scope.values().sum()) - narrowed;
        claim(
            narrowed > 0 && others == 0,
            format!(
                "in the audit log {narrowed} refusals of scope are the out-of-scope device's, {others} are not"
            ),
        );
    }

    /// Compares what one backend has logged with what it has counted.
    fn check_term(&self, number: u32, term: &Term, log: &LoggedTerm, claim: &mut dyn FnMut(bool, String)) {
        let mut same = |what: &str, logged: u64, counted: u64| {
            // One that died has taken the latest counts with it: those of less than a minute.
            let holds = if term.stopped { logged == counted } else { logged <= counted };
            claim(
                holds,
                format!("audit log of backend {number}: {logged} times {what}, counted {counted} times"),
            );
        };
        let counters = &term.counters;
        same("handshake refused", log.refused, counters.handshakes_refused);
        same("scope refused", log.scope_refused, counters.scope_refusals);
        claim(
            log.accepted == counters.accepted.iter().sum::<u64>(),
            format!("audit log of backend {number}: {} handshakes accepted", log.accepted),
        );
        for discard in AUDITED {
            let (logged, told) =
                (log.discards.get(discard.name()).copied().unwrap_or(0), term.told.of(discard));
            claim(
                logged == u64::from(told),
                format!(
                    "audit log of backend {number}: {logged} times {}, told {told} times",
                    discard.name()
                ),
            );
        }
        claim(log.lost == 0, format!("audit log of backend {number}: {} events lost", log.lost));
        claim(log.stopped == term.stopped, format!("audit log of backend {number}: no orderly stop"));
    }

    pub fn print_security(&self) {
        if self.args.strangers > 0 {
            self.print_flood();
        }
        self.print_revoked();
        self.print_narrowed();
        if let Some(logged) = &self.service.logged {
            self.print_log(logged);
        }
    }

    fn print_flood(&self) {
        let (sent, flood) = (self.flood, &self.service.flood);
        let all: u64 = sent.packets.iter().sum();
        let devices: u64 = self.devices.iter().map(|device| device.log.packets_sent).sum();
        println!(
            "\n-- strangers: {all} packets, {:.0} a second, from {} ports; {:.1} for each one of the ward's devices",
            all as f64 / self.wall_seconds,
            flood.bytes.len(),
            all as f64 / devices.max(1) as f64
        );
        for kind in Kind::ALL {
            println!("{:<50}{:>9} sent", kind.name(), sent.packets[kind as usize]);
        }
        let refused: u64 = flood.discards.values().sum();
        println!(
            "the backend read {} of them: it refused {refused} at once, and computed a handshake for {}; it sent {} \
             answers,\nto no port more than {:.2} times the bytes that came from there (3 are allowed)",
            flood.packets,
            flood.packets - refused,
            sent.answers,
            self.most_sent_back()
        );
        let mut reasons: Vec<_> = flood.discards.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for reasons in reasons.chunks(4) {
            let line: Vec<_> = reasons.iter().map(|(discard, count)| format!("{discard} {count}")).collect();
            println!("  {}", line.join(", "));
        }
        println!(
            "packets besides Hellos, sessions, records or credentials of theirs that were taken: {}",
            self.service.strangers + flood.batches + flood.taken
        );
    }

    fn print_revoked(&self) {
        let (guests, revocation) = (&self.guests, &self.service.revocation);
        let millis =
            |at: Option<vitalwire::Instant>| at.map_or("never".into(), |at| at.as_millis().to_string());
        println!("\n-- a revoked device");
        println!(
            "{} records stored before; list in force at {} ms, session ended at {} ms of the ward's clock",
            guests.revoked_verdict.delivered,
            millis(revocation.at),
            millis(revocation.ended)
        );
        println!(
            "it was told {} times and sent {} packets in all; sessions since {}, records since {}, at either backend",
            guests.revoked_log.revoked,
            guests.revoked_log.packets_sent,
            revocation.sessions_after,
            revocation.batches_after
        );
        let rollback = if revocation.rollback_refused { "refused" } else { "taken" };
        println!("an older list, brought later: {rollback}");
    }

    fn print_narrowed(&self) {
        let (guests, summary) = (&self.guests, &self.service.narrowed);
        let log = &guests.narrowed_log;
        println!(
            "\n-- an out-of-scope device: while it was off line, its credential lost the scope of waveforms"
        );
        println!(
            "within its scopes {} records accepted, {} delivered, {} lost",
            guests.narrowed_verdict.sent, guests.narrowed_verdict.delivered, guests.narrowed_verdict.lost
        );
        println!(
            "waveforms of before that it sent: {}, refused by the backend {}, stored {}; refused by the device itself \
             afterwards {}",
            guests.held, log.refused, guests.waveforms_stored, log.out_of_scope
        );
        println!("commands to it: {} denied, {} taken", summary.denied, summary.commanded);
    }

    fn print_log(&self, logged: &Logged) {
        if let Some((report, _)) = &logged.verified {
            println!(
                "\n-- audit log: {} entries, {} checkpoints, {} unsigned; verified from the key that was noted at its beginning",
                report.entries, report.checkpoints, report.unsigned
            );
        }
        let kinds: Vec<_> = logged.events.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        for kinds in kinds.chunks(4) {
            println!("  {}", kinds.join(", "));
        }
        let counted = |discard: Discard| -> u64 {
            logged.terms.iter().filter_map(|term| term.discards.get(discard.name())).sum()
        };
        let all: u64 = AUDITED.iter().map(|discard| counted(*discard)).sum();
        let unlogged: u64 = self
            .service
            .terms
            .iter()
            .map(|term| {
                let missing =
                    |discard: &Discard| term.counters.discards.of(*discard) - term.told.of(*discard);
                AUDITED.iter().map(|discard| u64::from(missing(discard))).sum::<u64>()
            })
            .sum();
        println!(
            "  packets counted in it: {all}; {unlogged} more were counted in the last minute of the backend that died"
        );
        if let Some(file) = &logged.kept {
            println!("  cargo run --example audit -- verify {}", file.display());
        }
    }
}
